"""Lost devices, as real processes over a DHT of our own: one is shut out; all are lost, and the words help."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sync.service.testnet import open_testnet
from tests.support.processes import HOST, Profile, Stage


async def contacts(profile: Profile) -> list[str]:
    return [contact.name for contact in (await profile.node.contacts()).contacts]


async def standing(profile: Profile, chat: str) -> str:
    """Why a message cannot be written there yet; empty where it can."""
    try:
        me = profile.ready["identity"]
        members = (await profile.node.chat_members(chat)).members
        return "" if any(m.id == me and m.state == "active" for m in members) else "outside"
    except Exception as error:
        return str(error)


async def writes(profile: Profile, chat: str) -> None:
    await profile.until(lambda: standing(profile, chat), lambda why: not why, f"itself in {chat}")


def test_a_lost_phone_is_shut_out_then_all_is_lost_and_the_words_bring_it_back(tmp_path: Path) -> None:
    """Killed as by a power cut after each main step; what was acknowledged is there at the next start."""

    async def story() -> None:
        async with open_testnet(8) as net, Stage(tmp_path / "stage") as stage:
            phone, bob = stage.profile("phone"), stage.profile("bob")
            made = await phone.ask("init", "--name", "Ada")
            await bob.ask("init", "--name", "Bob")
            for one in (phone, bob):
                one.environment["KITHKIN_BOOTSTRAP"] = net.bootstrap
                await one.run()
            chat = await stage.befriend(phone, bob)
            desk = await stage.link("desk", phone)
            desk.environment["KITHKIN_BOOTSTRAP"] = net.bootstrap
            await desk.run()
            await bob.node.send(chat, "before")
            await desk.holds(chat, 1)
            trip = await stage.group(bob, "Trip", phone)
            await writes(desk, trip)

            # The phone is lost; the desktop shuts it out, is killed at once, and the friend goes on.
            lost = phone.ready["device"]
            await phone.kill()
            asked = await desk.cli("device", "revoke", lost, stdin=b"no\n")
            assert asked.status == 1 and asked.code == "not_allowed"
            said = await desk.ask("device", "revoke", lost, "--yes")
            assert said == {"revoked": lost, "spaces": 4, "told": ["Bob"], "waiting": []}
            await desk.kill()
            await desk.run()
            states = {device.id: device.state for device in (await desk.node.devices()).devices}
            assert states == {lost: "revoked", desk.ready["device"]: "active"}
            again = await desk.cli("device", "revoke", lost, "--yes")
            assert again.code == "not_allowed"
            await bob.node.send(chat, "between us")
            await desk.holds(chat, 2)
            await bob.until(lambda: notices(bob), lambda told: "shut a device out" in told, "a notice")

            # It comes back, learns it, says so, and shows what it has.
            await phone.run()
            await phone.until(lambda: notices(phone), lambda told: "shut out of" in told, "being told")
            assert await phone.texts(chat) == ["before"]
            refused = await phone.cli("send", chat, "hello?")
            assert refused.code == "not_allowed" and "shut out" in refused.last["error"]["message"]
            await phone.kill()

            # Everything is lost.
            words = made["phrase"].encode()
            assert (await desk.ask("phrase", "check", stdin=words))["ok"]
            await desk.until(desk.node.status, lambda status: status.kept_by == 1, "Bob keeping a copy")
            await desk.kill()
            wrong = " ".join(["zebra", *made["phrase"].split()[1:-1], "zebra"]).encode()
            new = stage.profile("new")
            assert (await new.cli("init", "--name", "Ada", "--recover", stdin=wrong)).code == "phrase_invalid"
            back = await new.ask("init", "--name", "Ada", "--recover", stdin=words)
            assert back["identity"] == made["identity"] and "phrase" not in back
            new.environment["KITHKIN_BOOTSTRAP"] = net.bootstrap
            await new.run()
            await new.kill()
            await new.run()
            await new.until(lambda: contacts(new), lambda found: found == ["Bob"], "its contact")
            await new.kill()
            await new.run()
            await writes(new, chat)
            await new.kill()
            await new.run()
            await new.holds(chat, 2)
            assert await new.texts(chat) == ["before", "between us"]
            await writes(new, trip)
            await new.node.send(chat, "it is me")
            await bob.holds(chat, 3)
            await bob.node.send(trip, "welcome back")
            await new.holds(trip, 1)
            stand = [device.state for device in (await new.node.devices()).devices]
            assert stand == ["active", "revoked"], "the desktop is known from the copy, and out"

    asyncio.run(story())


def test_a_group_goes_on_when_its_creator_lost_everything(tmp_path: Path) -> None:
    """Whoever restarts is killed as soon as it is told that it is done; what was promised is there afterwards."""

    async def story() -> None:
        async with open_testnet(8) as net, Stage(tmp_path / "stage") as stage:
            ada, bob, cem = (stage.profile(name) for name in ("ada", "bob", "cem"))
            made = await ada.ask("init", "--name", "Ada")
            await bob.ask("init", "--name", "Bob")
            await cem.ask("init", "--name", "Cem")
            for one in (ada, bob, cem):
                one.environment["KITHKIN_BOOTSTRAP"] = net.bootstrap
                await one.run()
            await stage.befriend(ada, bob)
            await stage.befriend(ada, cem)
            trip = await stage.group(ada, "Trip", bob, cem)
            await ada.node.send(trip, "from Ada's phone")
            await bob.holds(trip, 1)
            await cem.holds(trip, 1)
            await ada.until(ada.node.status, lambda status: status.kept_by == 2, "copies")
            await ada.kill()
            refused = await cem.cli("chat", "restart", trip)
            assert refused.code == "not_allowed", "the creator is there, as far as anybody knows"

            new = stage.profile("new")
            await new.ask("init", "--name", "Ada", "--recover", stdin=made["phrase"].encode())
            new.environment["KITHKIN_BOOTSTRAP"] = net.bootstrap
            await new.run()
            await bob.until(lambda: told(bob, trip), lambda notice: "Restart the group" in notice, "being told")
            await cem.kill()
            said = await bob.ask("chat", "restart", trip)
            assert said == {"chat": trip, "asks": ""}
            await bob.kill()
            await bob.run()
            await cem.run()
            await bob.until(lambda: inside(bob, trip), lambda names: {"Bob", "Cem"} <= names, "Cem in the new group")
            await bob.node.send(trip, "on we go")
            await cem.holds(trip, 2)
            assert await cem.texts(trip) == ["from Ada's phone", "on we go"]
            listed = [chat for chat in (await cem.node.chats()).chats if chat.kind == "group"]
            assert [(chat.id, chat.state) for chat in listed] == [(trip, "active")]
            found = [(await cem.node.search(word, chat=trip)).hits for word in ("phone", "go")]
            assert [(hit.text, hit.chat) for hits in found for hit in hits] == [
                ("from Ada's phone", trip),
                ("on we go", trip),
            ]
            roles = {m.name: m.role for m in (await cem.node.chat_members(trip)).members if m.state == "active"}
            assert roles["Bob"] == "creator" and roles["Cem"] == "member"

    asyncio.run(story())


async def told(profile: Profile, chat: str) -> str:
    return next((one.notice for one in (await profile.node.chats()).chats if one.id == chat), "")


async def inside(profile: Profile, chat: str) -> set[str]:
    return {m.name for m in (await profile.node.chat_members(chat)).members if m.state == "active"}


@pytest.mark.soak  # it times out on a quiet machine: docs/evidence/trust.md, recovery
def test_words_keep_a_desktop_by_name_which_goes_on_with_the_new_phone(tmp_path: Path) -> None:
    """`init --recover --keep`: the list of devices is found, the words keep the desktop, and both are one again."""

    async def story() -> None:
        async with open_testnet(8) as net, Stage(tmp_path / "stage") as stage:
            phone, new = stage.profile("phone"), stage.profile("new")
            words = (await phone.ask("init", "--name", "Ada"))["phrase"].encode()
            await phone.run()
            desk = await stage.link("desk", phone)
            for one in (phone, desk, new):
                one.environment["KITHKIN_BOOTSTRAP"] = net.bootstrap
            await phone.stop()
            for one in (phone, desk):
                await one.run()
            await writes(desk, "self")
            await desk.node.send("self", "milk")
            await phone.holds("self", 1)
            await phone.kill()
            keep = ("init", "--name", "Ada", "--recover", "--keep", "desk", "--host", HOST)
            kept = await new.ask(*keep, stdin=words)
            assert kept == {"kept": [desk.ready["device"]], "out": [phone.ready["device"]]}
            await new.run()
            await new.holds("self", 1)
            await new.node.send("self", "bread")
            await desk.holds("self", 2)
            states = [device.state for device in (await desk.node.devices()).devices]
            assert states == ["active", "active", "revoked"]

    asyncio.run(story())


async def notices(profile: Profile) -> str:
    return " ".join(str(event["notice"]) for event in profile.events if event.get("notice"))
