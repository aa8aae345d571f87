"""Every command once, on real profiles: the keys of its JSON, and what it does on the other devices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sync.service.api import KithkinError
from sync.service.models import Message
from tests.support.processes import Profile, Stage, Trio, writable

Three = Callable[[], AbstractAsyncContextManager[Trio]]
MESSAGE = set("id author author_name device text at state edited deleted reply_to reactions files".split())


async def sees(one: Profile, chat: str, good: Callable[[dict[str, Message]], bool], what: str) -> dict[str, Message]:
    """Waits until the messages of a chat, by id, are as they should be."""

    async def look() -> dict[str, Message]:
        return {message.id: message for message in await one.seen(chat)}

    return await one.until(look, good, what)


async def refused(call: object) -> str:
    try:
        await call  # type: ignore[misc]
    except KithkinError as error:
        return error.code
    return "done"


def test_commands_about_myself_answer_with_their_documented_keys(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = stage.profile("ada")
            made = await ada.ask("init", "--name", "Ada")
            assert made.keys() == {"identity", "device", "phrase"} and len(made["phrase"].split()) == 24
            shown = await ada.ask("profile", "show")
            assert {k: shown[k] for k in ("identity", "name", "about")} == {
                "identity": made["identity"],
                "name": "Ada",
                "about": "",
            }
            about = "born 1815"
            assert (await ada.ask("profile", "set", "--name", "Ada L", "--about", about))["about"] == about
            devices = (await ada.ask("device", "list"))["devices"]
            assert [set(d) >= {"id", "name", "this", "added", "last_seen", "state"} for d in devices] == [True]
            assert (await ada.ask("device", "rename", made["device"], "Loom"))["device"] == made["device"]
            assert (await ada.ask("device", "list"))["devices"][0]["name"] == "Loom"
            chats = (await ada.ask("chat", "list"))["chats"]
            assert [(c["kind"], c["state"]) for c in chats] == [("self", "active")]
            assert chats[0].keys() >= {"id", "title", "kind", "state", "members", "unread", "last"}
            me = chats[0]["id"]
            sent = await ada.ask("send", me, "-", stdin=b"to myself\n")
            assert sent.keys() == {"id", "state"} and sent["state"] == "queued"
            page = await ada.ask("read", me)
            assert page.keys() == {"messages", "more"} and set(page["messages"][0]) >= MESSAGE
            assert page["messages"][0]["text"] == "to myself" and page["messages"][0]["at"].endswith("Z")
            assert await ada.ask("mark", me) == {"read_upto": sent["id"]}
            hits = await ada.ask("search", "MYSELF")
            assert hits.keys() == {"hits", "total", "took_ms"} and hits["total"] == 1
            assert hits["hits"][0].keys() >= {"id", "chat", "author", "text", "snippet", "at", "score"}
            assert await ada.ask("outbox") == {"pending": []}
            status = await ada.ask("status")
            assert status.keys() >= {"identity", "device", "online", "peers", "dht", "pending", "feeds", "entries"}
            assert status["online"] is False and status["pending"] == 0
            stats = await ada.ask("stats")
            assert stats.keys() == {"messages", "storage"}
            assert [row["messages"] for row in stats["messages"]] == [1]
            checks = (await ada.ask("doctor"))["checks"]
            assert checks and all(c.keys() == {"name", "ok", "detail"} and c["ok"] for c in checks)
            assert all(c["ok"] for c in (await ada.ask("doctor", "--repair"))["checks"])
            assert (await ada.ask("search", "myself"))["total"] == 1
            invite = await ada.ask("contact", "invite", "--expires", "60")
            assert invite["invite"].startswith("kithkin:invite/")
            assert await ada.ask("contact", "list") == {"contacts": []}
            alone = (await ada.ask("chat", "new", "--title", "Alone"))["chat"]
            members = (await ada.ask("chat", "members", alone))["members"]
            assert [(m["id"], m["role"], m["state"]) for m in members] == [(made["identity"], "creator", "active")]
            assert members[0].keys() >= {"id", "name", "role", "state", "proved"}
            # Another passphrase: the old one is refused from then on, nothing else changes.
            new = tmp_path / "new"
            new.write_text("staple battery\n")
            assert await ada.ask("passphrase", "--new-file", str(new)) == {"changed": True}
            assert (await ada.cli("status")).code == "wrong_passphrase"
            ada.environment["KITHKIN_PASSPHRASE_FILE"] = str(new)
            assert (await ada.ask("read", me))["messages"][0]["id"] == sent["id"]

    asyncio.run(story())


@pytest.mark.parametrize(
    "words",
    [
        ("relay", "run"),
        ("relay", "use", "kithkin:relay/x"),
        ("send", "chat_0", "x", "--file", "f"),
        ("file", "save", "chat_0", "msg_0", "f"),
        ("profile", "set", "--picture", "f"),
    ],
    ids=" ".join,
)
def test_commands_of_later_versions_are_refused_with_a_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            said = await stage.profile("nobody").cli(*words)
            assert (said.status, said.code) == (1, "not_available_yet") and len(said.last["error"]["message"]) > 20
            assert not stage.profile("nobody").folder.exists()

    asyncio.run(story())


def test_edits_reactions_and_deletions_reach_all_devices(three: Three, tmp_path: Path) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, desktop, friend = trio.all
            for one in trio.all:
                await one.run()
            chat = trio.group
            first = (await phone.ask("send", chat, "the first draft"))["id"]
            answer = (await friend.until(lambda: friend.seen(chat), lambda s: len(s) == 4, "it"))[-1]
            assert answer.id == first and answer.state == "received" and answer.author_name == "Phone"
            reply = (await friend.ask("send", chat, "an answer", "--reply", first))["id"]
            await sees(desktop, chat, lambda m: reply in m and m[reply].reply_to == first, "the reply")

            # Edit, from another device of the same person; only the author may.
            assert await desktop.ask("edit", chat, first, "the final draft") == {"id": first}
            assert (await friend.cli("edit", chat, first, "mine")).code == "not_allowed"
            for one in trio.all:
                seen = await sees(one, chat, lambda m: m[first].edited, "the edit")
                assert seen[first].text == "the final draft"
                await one.until(lambda one=one: one.node.search("final"), lambda h: h.total == 1, "it found")  # type: ignore[misc]
                assert (await one.node.search("first draft")).total == 0

            # Reactions toggle.
            for one in (phone, friend):
                await sees(one, chat, lambda m: reply in m, "the reply")
                assert await one.ask("react", chat, reply, "👍") == {"id": reply}
            both = {phone.ready["identity"], friend.ready["identity"]}
            for one in trio.all:
                await sees(one, chat, lambda m: set(m[reply].reactions.get("👍", ())) == both, "two marks")
            await desktop.ask("react", chat, reply, "👍")
            only = [friend.ready["identity"]]
            for one in trio.all:
                await sees(one, chat, lambda m: m[reply].reactions == {"👍": only}, "one mark")

            # Read marks: the unread count of all my devices, and "read" at the author.
            assert [c.unread for c in (await phone.node.chats()).chats if c.id == chat] == [2]
            assert await desktop.ask("mark", chat, "--upto", reply) == {"read_upto": reply}
            await phone.until(
                phone.node.chats, lambda s: all(c.unread == 0 for c in s.chats if c.id == chat), "nothing unread"
            )
            await sees(friend, chat, lambda m: m[reply].state == "read", "a receipt")

            # Hidden on my devices alone.
            assert await phone.ask("delete", chat, reply) == {"id": reply}
            await sees(desktop, chat, lambda m: reply not in m, "it hidden")
            assert reply in {m.id for m in await friend.messages(chat)}
            assert (await desktop.node.search("answer")).total == 0

            # Deleted for everyone: no text anywhere, not in searches, not in exports.
            assert (await friend.cli("delete", chat, first, "--everyone")).code == "not_allowed"
            assert await phone.ask("delete", chat, first, "--everyone") == {"id": first}
            for one in trio.all:
                seen = await sees(one, chat, lambda m: m[first].deleted, "the deletion")
                assert (seen[first].text, seen[first].reactions) == ("", {})
                await one.until(lambda one=one: one.node.search("final"), lambda h: h.total == 0, "nothing")  # type: ignore[misc]
                out = tmp_path / f"{one.name}.jsonl"
                await one.ask("export", chat, str(out))
                assert "draft" not in out.read_text("utf-8")
                pages = tmp_path / f"{one.name}.pages"
                await one.ask("export", chat, "--format", "yjs", str(pages))
                joined = b"".join(page.read_bytes() for page in pages.iterdir())
                assert b"draft" not in joined and b"first 0" in joined
            assert (await phone.cli("edit", chat, first, "again")).code == "not_allowed"
            assert (await phone.cli("react", chat, first, "x")).code == "not_allowed"
            # A group's creator deletes what a member wrote.
            bad = (await friend.ask("send", chat, "rude words"))["id"]
            await sees(desktop, chat, lambda m: bad in m, "it")
            assert await desktop.ask("delete", chat, bad, "--everyone") == {"id": bad}
            await sees(friend, chat, lambda m: m[bad].deleted, "the deletion")

            # Delivered messages cannot be withdrawn; ones nobody has can.
            await phone.delivered()
            mine = (await phone.ask("send", chat, "too late"))["id"]
            await sees(friend, chat, lambda m: mine in m, "it")
            await phone.delivered()
            assert (await phone.cli("cancel", chat, mine)).code == "not_allowed"
            for one in (desktop, friend):
                await one.stop()
            gone = (await phone.ask("send", chat, "never mind"))["id"]
            assert await phone.ask("cancel", chat, gone) == {"id": gone}
            assert gone not in {m.id for m in await phone.messages(chat)}
            assert not [p for p in (await phone.node.outbox()).pending if p.id == gone]
            for one in (desktop, friend):
                await one.run()
            after = (await phone.ask("send", chat, "after it"))["id"]
            for one in (desktop, friend):
                seen = await sees(one, chat, lambda m: after in m, "it")
                assert "never mind" not in [m.text for m in seen.values()]

    asyncio.run(story())


def test_contacts_are_verified_renamed_and_blocked_on_all_devices(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, desktop, friend = trio.all
            for one in trio.all:
                await one.run()
            bob = (await phone.ask("contact", "list"))["contacts"][0]
            assert bob.keys() >= {"id", "name", "state", "verified", "blocked"}
            assert (bob["name"], bob["state"], bob["verified"], bob["blocked"]) == ("Friend", "active", False, False)
            ada = (await friend.ask("contact", "list"))["contacts"][0]
            assert (ada["id"], ada["name"]) == (phone.ready["identity"], "Phone")

            # Safety numbers are equal on both sides; a confirmation reaches my other devices.
            one_side = await phone.ask("contact", "verify", bob["id"])
            other = await friend.ask("contact", "verify", ada["id"])
            digits = one_side["safety_number"]
            assert digits == other["safety_number"] and len([c for c in digits if c.isdigit()]) == 60
            assert one_side["verified"] is False
            assert (await phone.ask("contact", "verify", bob["id"], "--confirm"))["verified"] is True
            await desktop.until(desktop.node.contacts, lambda s: s.contacts[0].verified, "it verified")

            # My name for them, on all my devices; theirs comes back.
            assert await desktop.ask("contact", "rename", bob["id"], "Bobby") == {"contact": bob["id"]}
            await phone.until(phone.node.contacts, lambda s: s.contacts[0].name == "Bobby", "the new name")
            await phone.ask("contact", "rename", bob["id"], "")
            await desktop.until(desktop.node.contacts, lambda s: s.contacts[0].name == "Friend", "their own name")

            # What a person says about itself reaches its contacts and its own devices.
            await friend.ask("profile", "set", "--name", "Robert", "--about", "sails")
            for one in (phone, desktop):
                await one.until(
                    one.node.contacts, lambda s: (s.contacts[0].name, s.contacts[0].about) == ("Robert", "sails"), "it"
                )

            # Blocked: nothing from them is shown, the group goes on; unblocked, what was sent is there.
            assert await phone.ask("contact", "block", bob["id"]) == {"contact": bob["id"]}
            await desktop.until(desktop.node.contacts, lambda s: s.contacts[0].blocked, "the block")
            await friend.ask("send", trio.direct, "can you hear me")
            await friend.ask("send", trio.group, "hello group")
            for one in (phone, desktop):
                await sees(one, trio.group, lambda m: "hello group" in [x.text for x in m.values()], "the group")
                assert "can you hear me" not in [x.text for x in await one.messages(trio.direct)]
                assert (await one.node.search("hear")).total == 0
            assert (await phone.ask("contact", "list"))["contacts"][0]["state"] == "blocked"
            assert await desktop.ask("contact", "unblock", bob["id"]) == {"contact": bob["id"]}
            for one in (phone, desktop):
                await sees(one, trio.direct, lambda m: "can you hear me" in [x.text for x in m.values()], "it")

    asyncio.run(story())


def test_groups_are_offered_joined_declined_left_and_administered(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, desktop, friend = trio.all
            for one in trio.all:
                await one.run()
            bob = (await phone.node.contacts()).contacts[0].id
            chat = trio.group
            members = (await friend.ask("chat", "members", chat))["members"]
            assert [(m["role"], m["state"]) for m in members] == [("creator", "active"), ("member", "active")]

            # Rights: a member may not, an admin may.
            for words in (("rename", chat, "Mine"), ("set", chat, "history", "all"), ("admin", chat, bob)):
                assert (await friend.cli("chat", *words)).code in ("not_allowed", "not_found"), words
            assert await desktop.ask("chat", "rename", chat, "The trip") == {"chat": chat}
            for one in (phone, friend):
                await one.until(one.node.chats, lambda s: "The trip" in [c.title for c in s.chats], "the new title")
            assert await phone.ask("chat", "admin", chat, bob) == {"chat": chat}

            async def role() -> str:
                return next(m.role for m in (await friend.node.chat_members(chat)).members if m.id == bob)

            await friend.until(role, lambda seen: seen == "admin", "the promotion")
            assert await friend.ask("chat", "set", chat, "lifetime", "86400") == {"chat": chat}
            assert await friend.ask("chat", "set", chat, "history", "all") == {"chat": chat}
            assert (await friend.cli("chat", "set", chat, "colour", "red")).code == "usage"
            assert (await friend.cli("chat", "set", chat, "lifetime", "-1")).code == "usage"

            # Declined: it is not listed, and the maker sees nobody.
            other = (await phone.ask("chat", "new", "--title", "Elsewhere", bob))["chat"]
            offered = await friend.until(friend.node.chats, lambda s: any(c.id == other for c in s.chats), "the offer")
            assert [(c.title, c.state) for c in offered.chats if c.id == other] == [("Elsewhere", "invited")]
            assert [m["state"] for m in (await phone.ask("chat", "members", other))["members"]] == ["active", "invited"]
            assert (await friend.cli("send", other, "x")).code == "not_allowed"
            assert await friend.ask("chat", "decline", other) == {"chat": other}
            assert other not in [c.id for c in (await friend.node.chats()).chats]
            await phone.until(
                lambda: phone.node.chat_members(other), lambda s: len(s.members) == 1, "nobody invited any more"
            )

            # Added later, from the other device, and joined.
            late = (await phone.ask("chat", "new", "--title", "Late"))["chat"]
            await writable(desktop, late)
            assert await desktop.ask("chat", "add", late, bob) == {"chat": late}
            await friend.until(friend.node.chats, lambda s: any(c.id == late for c in s.chats), "the offer")
            assert await friend.ask("chat", "join", late) == {"chat": late}
            await writable(friend, late)
            await friend.ask("send", late, "here I am")
            await sees(phone, late, lambda m: len(m) == 1, "it")

            # Left: no more writing; the others see it.
            assert await friend.ask("chat", "leave", late) == {"chat": late}
            assert (await friend.cli("send", late, "still here")).code == "not_allowed"
            assert [c.state for c in (await friend.node.chats()).chats if c.id == late] == ["left"]

            async def standing() -> str | None:
                members = (await phone.node.chat_members(late)).members
                return next((m.state for m in members if m.id == bob), None)

            await phone.until(standing, lambda seen: seen == "left", "that they left")
            await phone.ask("send", late, "alone again")
            assert "alone again" not in [m.text for m in await friend.seen(late)]

            # A deleted chat is gone from my list on all my devices until something new is said.
            assert await desktop.ask("delete-chat", chat) == {"chat": chat}
            for one in (phone, desktop):
                await one.until(one.node.chats, lambda s: chat not in [c.id for c in s.chats], "it gone")
            await friend.ask("send", chat, "anybody there")
            for one in (phone, desktop):
                seen = await one.until(one.node.chats, lambda s: chat in [c.id for c in s.chats], "it back")
                assert seen.chats
                assert [m.text for m in await one.messages(chat)] == ["anybody there"]

    asyncio.run(story())


def test_message_past_its_lifetime_is_gone_everywhere(three: Three) -> None:
    """A message that has outlived its chat's lifetime is gone for its reader, and out of exports."""

    async def story() -> None:
        async with three() as trio:
            await trio.phone.run()
            chat = trio.group
            await trio.phone.node.chat_set(chat, "lifetime", "1")
            sent = (await trio.phone.node.send(chat, "short lived")).id
            seen = await trio.phone.until(
                lambda: trio.phone.messages(chat),
                lambda s: all(m.deleted or not m.text for m in s if m.id == sent),
                "its end",
            )
            assert "short lived" not in [m.text for m in seen]
            out = trio.stage.root / "out.jsonl"
            await trio.phone.ask("export", chat, str(out))
            assert "short lived" not in out.read_text("utf-8")
            assert (await trio.phone.node.search("lived")).total == 0

    asyncio.run(story())


def test_pages_before_and_after_a_message_have_these_messages(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            ada = await (await stage.init("ada")).run()
            chat = (await ada.node.chats()).chats[0].id
            ids = [(await ada.node.send(chat, f"message {number}")).id for number in range(10)]
            for words, wanted, more in (
                ((), ids, False),
                (("--limit", "3"), ids[-3:], True),
                (("--limit", "10"), ids, False),
                (("--before", ids[4]), ids[:4], False),
                (("--before", ids[4], "--limit", "2"), ids[2:4], True),
                (("--after", ids[4]), ids[5:], False),
                (("--after", ids[4], "--limit", "2"), ids[5:7], True),
                (("--after", ids[-1]), [], False),
                (("--before", ids[0]), [], False),
            ):
                page = await ada.ask("read", chat, *words)
                assert ([m["id"] for m in page["messages"]], page["more"]) == (wanted, more), words
            assert (await ada.cli("read", chat, "--before", "msg_NOTHING")).code == "not_found"

    asyncio.run(story())


def test_events_of_a_node_are_lines(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            phone, _, friend = trio.all
            await friend.run()
            await phone.run()
            sent = await friend.node.send(trio.direct, "an event")
            await phone.holds(trio.direct, 4)
            await friend.until(
                friend.node.outbox, lambda box: all(one.delivered for one in box.pending), "that it was opened"
            )
            await asyncio.gather(phone.stop(), friend.stop())
            said = [e for e in phone.events if e["event"] == "message" and e["message"]["id"] == sent.id]
            assert said and said[0]["chat"] == trio.direct and set(said[0]["message"]) >= MESSAGE
            assert any(e["event"] == "peer" and e["connected"] for e in phone.events)
            moved = [e for e in friend.events if e["event"] == "status" and e["id"] == sent.id]
            assert moved and moved[-1]["state"] == "delivered"
            assert json.dumps(moved[-1])

    asyncio.run(story())
