"""The whole product in real processes: a phone, its desktop and a contact, from the first `init` on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.processes import HOST, Profile, Stage, Trio, make_trio, writable

Three = Callable[[], AbstractAsyncContextManager[Trio]]


def test_phone_desktop_and_contact_converge_after_sending_offline(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            trio = await make_trio(stage)
            phone, desktop, friend = trio.all
            chats = (trio.direct, trio.group)

            # Offline: no node runs, so each command opens the profile itself.
            for one in trio.all:
                assert one.process is None
                for chat, word in zip(chats, ("kestrel", "marmot"), strict=True):
                    sent = await one.ask("send", chat, f"{word} from {one.name}")
                    assert sent["state"] == "queued"
            for one in trio.all:
                pending = (await one.ask("outbox"))["pending"]
                assert [(p["state"], p["delivered"], p["devices"]) for p in pending] == [("queued", 0, 2)] * 2
                assert [len((await one.ask("read", chat))["messages"]) for chat in chats] == [4, 4]

            # All nodes run, the contact's first.
            for one in (friend, phone, desktop):
                await one.run()
            seen = {}
            for one in trio.all:
                seen[one.name] = [await one.holds(chat, 6) for chat in chats]
                await one.delivered()
            orders = {name: [[m.id for m in chat] for chat in of] for name, of in seen.items()}
            assert orders["phone"] == orders["desktop"] == orders["friend"]
            assert [len(set(ids)) for ids in orders["phone"]] == [6, 6]
            for chat, word in zip(chats, ("kestrel", "marmot"), strict=True):
                texts = set((await phone.texts(chat))[3:])
                assert texts == {f"{word} from {one.name}" for one in trio.all}

            # The messages in the outbox became delivered, and events said so.
            for one in trio.all:
                mine = [m.state for m in await one.messages(trio.direct) if m.mine and m.device == one.ready["device"]]
                assert mine == ["delivered", "delivered"]
                told = [e for e in one.events if e["event"] == "status" and e["state"] == "delivered"]
                assert {e["chat"] for e in told} >= set(chats)

            # The desktop has the phone's contacts, profile and history.
            assert (await desktop.node.contacts()).contacts == (await phone.node.contacts()).contacts
            assert await desktop.node.profile() == await phone.node.profile()
            assert len((await phone.node.devices()).devices) == len((await desktop.node.devices()).devices) == 2
            titles = [{(c.title, c.kind) for c in (await one.node.chats()).chats} for one in (phone, desktop)]
            assert titles[0] == titles[1] == {("Friend", "direct"), ("Trip", "group"), ("Notes to self", "self")}

            # Every device finds the words.
            for one in trio.all:
                hits = await one.node.search("kestrel from")
                assert hits.total == 3 and {h.text for h in hits.hits} == {f"kestrel from {p.name}" for p in trio.all}
                assert (await one.node.search("marm*", chat=trio.group)).total == 3
                assert (await one.node.search("kestrel", chat=trio.group)).total == 0
                assert (await one.node.search("kestrel phone")).total == 1

            # The desktop and the contact chat while the phone is off.
            await phone.stop()
            await desktop.node.send(trio.direct, "the phone is off")
            assert (await friend.holds(trio.direct, 7))[-1].text == "the phone is off"
            await friend.node.send(trio.direct, "so it is")
            assert (await desktop.holds(trio.direct, 8))[-1].text == "so it is"
            waiting = (await desktop.node.outbox()).pending
            assert [(p.state, p.delivered, p.devices) for p in waiting] == [("delivered", 1, 2)]
            await phone.run()
            assert [m.text for m in await phone.holds(trio.direct, 8)][-2:] == ["the phone is off", "so it is"]
            await desktop.delivered()
            for one in trio.all:
                assert await one.stop() == 0

    asyncio.run(story())


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1::2], ids=str)
def test_nodes_converge_whatever_the_order_of_their_starts(three: Three, order: tuple[int, ...]) -> None:
    async def story() -> None:
        async with three() as trio:
            for one in trio.all:
                await one.ask("send", trio.group, f"alone {one.name}")
            for place in order:
                await trio.all[place].run()
            orders = [[m.id for m in await one.holds(trio.group, 6)] for one in trio.all]
            assert orders[0] == orders[1] == orders[2]
            for one in trio.all:
                await one.delivered()

    asyncio.run(story())


@pytest.mark.parametrize("other", ["desktop", "friend"])
def test_desktop_and_contact_connect_while_the_phone_is_off(three: Three, other: str) -> None:
    """They have connected only to the phone before, and start without it, in either order."""

    async def story() -> None:
        async with three() as trio:
            pair = [trio.desktop, trio.friend]
            if other == "friend":
                pair.reverse()
            for one in pair:
                await one.run()
            for number, one in enumerate(pair):
                await one.node.send(trio.direct, f"without it {number}")
            orders = [[m.id for m in await one.holds(trio.direct, 5)] for one in pair]
            assert orders[0] == orders[1]

    asyncio.run(story())


def test_device_linked_later_gets_all_past_messages_or_none(tmp_path: Path) -> None:
    """The approver chooses whether the new device gets the messages from before the link."""

    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            phone, friend = await stage.init("phone"), await stage.init("friend")
            await asyncio.gather(phone.run(), friend.run())
            chat = await stage.befriend(phone, friend)
            for number in range(30):
                await (phone, friend)[number % 2].node.send(chat, f"before {number}")
            before = [m.id for m in await phone.holds(chat, 30)]
            await friend.holds(chat, 30)
            tablet = await stage.link("tablet", phone)
            watch = await stage.link("watch", phone, "--history", "none")
            await asyncio.gather(tablet.run(), watch.run())
            assert [m.id for m in await tablet.holds(chat, 30)] == before
            await writable(watch, chat)
            await friend.node.send(chat, "after")
            for one in (tablet, watch):
                await one.until(lambda one=one: one.seen(chat), lambda seen: "after" in [m.text for m in seen], "it")  # type: ignore[misc]
            assert await watch.texts(chat) == ["after"]
            assert [c.title for c in (await watch.node.chats()).chats if c.kind == "direct"] == ["Friend"]

    asyncio.run(story())


async def read_wait(reader: Profile, chat: str, after: str) -> dict[str, object]:
    return await reader.ask("read", chat, "--after", after, "--wait", "60")


def test_read_wait_returns_as_soon_as_a_message_arrives(three: Three) -> None:
    async def story() -> None:
        async with three() as trio:
            await asyncio.gather(trio.phone.run(), trio.friend.run())
            newest = (await trio.friend.messages(trio.direct))[-1].id
            waiting = asyncio.create_task(read_wait(trio.friend, trio.direct, newest))
            # A message that is sent before the reader's process has connected is found as well.
            sent = await trio.phone.node.send(trio.direct, "here")
            page = await waiting
            assert [m["id"] for m in page["messages"]] == [sent.id]  # type: ignore[attr-defined]
            assert page["more"] is False
            # Without a node the command connects to peers itself.
            await trio.friend.stop()
            again = asyncio.create_task(read_wait(trio.friend, trio.direct, sent.id))
            sent = await trio.phone.node.send(trio.direct, "and here")
            assert [m["id"] for m in (await again)["messages"]] == [sent.id]  # type: ignore[attr-defined]

    asyncio.run(story())


def test_link_and_approve_print_their_lines_of_json(tmp_path: Path) -> None:
    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            phone = await stage.init("phone")
            await phone.run()
            new = stage.profile("desktop")
            async with contextlib.AsyncExitStack() as stack:
                link = await stack.enter_async_context(new.dialogue("link", "--name", "Desk", "--host", HOST))
                text = (await link.line())["payload"]
                assert text.startswith("kithkin:pair/")
                approve = await stack.enter_async_context(phone.dialogue("device", "approve", text, "--yes"))
                code = (await approve.line())["code"]
                assert len(code) == 6 and code.isdigit()
                link.type(f"{(int(code) + 1) % 1_000_000:06}")
                assert await link.line() == {"wrong": True, "left": 2}
                link.type(code)
                linked = await link.line()
                assert linked == {"linked": True, "identity": phone.ready["identity"], "device": linked["device"]}
                assert await approve.line() == {"approved": True, "device": linked["device"]}
            devices = (await phone.node.devices()).devices
            assert [(d.name, d.this, d.state) for d in devices] == [
                ("device", True, "active"),
                ("Desk", False, "active"),
            ]

    asyncio.run(story())
