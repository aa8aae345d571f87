"""Revocation, removal and recovery as real processes over a DHT of our own, killed (SIGKILL) at every step.

Each story is one chain: the process dies at a step, what is there is looked at, and the same process, started again,
dies at the next.  What was found goes to `docs/evidence/flow-kills.md`; the long stories run in `make soak`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from identity.errors import KithkinError
from sync.service.testnet import open_testnet
from tests.apps.test_lost import notices, writes
from tests.support.processes import Profile, Stage

WRITE = "sync.store.sqlite:SqliteStore.write>1"  # the first durable write from then on
CONTACTS, CHATS, PROFILES = "sync.service.contacts", "sync.service.chats", "sync.service.profiles"
RETURNING, HELLO = "sync.engine.recovery.returning", "sync.engine.hello:DeviceHandshake"


@dataclass
class People:
    """Ada with a phone and a desktop, Bob, their chat and a group; all run, and Bob keeps Ada's recovery copy."""

    stage: Stage
    phone: Profile
    desk: Profile
    bob: Profile
    words: bytes
    chat: str
    trip: str
    bootstrap: str
    rows: list[tuple[str, str]] = field(default_factory=list)  # (where it was killed, what was there afterwards)

    def found(self, step: str, there: str) -> None:
        self.rows.append((step, there))
        print(f"| {step} | {there} |")


@asynccontextmanager
async def people(folder: Path) -> AsyncIterator[People]:
    async with open_testnet(8) as net, Stage(folder) as stage:
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
        trip = await stage.group(phone, "Trip", bob)
        await bob.node.send(chat, "before")
        await desk.holds(chat, 1)
        await writes(desk, chat)
        await writes(desk, trip)
        yield People(stage, phone, desk, bob, made["phrase"].encode(), chat, trip, net.bootstrap)


async def dies_at(profile: Profile, dies: str) -> None:
    """Runs the node until that step; it may come before anybody is answered."""
    with suppress(KithkinError, AssertionError, EOFError, OSError):
        await profile.run(dies=dies)
    if profile.process is not None:
        await profile.fell()


async def state_of(profile: Profile, device: str) -> str:
    """How a device stands in the list of another one that is off."""
    listed = (await profile.ask("device", "list"))["devices"]
    return next((str(one["state"]) for one in listed if one["id"] == device), "unknown")


async def revocation(one: People) -> None:
    desk, bob, lost = one.desk, one.bob, one.phone.ready["device"]
    await one.phone.kill()
    await desk.stop()
    for step, dies in (
        ("asked, nothing signed", f"{CONTACTS}:shut_out<1"),
        ("signed, not durable", f"{CONTACTS}:shut_out>1"),
    ):
        await desk.run(dies=dies)
        await desk.cli("device", "revoke", lost, "--yes")
        await desk.fell()
        assert await state_of(desk, lost) == "active"
        one.found(step, "the phone is in, with everything as it was; asked again, it is shut out")
    await desk.run(dies="sync.engine.tasks.schedule:Schedule.devices_out<1")
    await desk.cli("device", "revoke", lost, "--yes")
    await desk.fell()
    one.found("statement durable, no chat keyed anew", "the phone is out; chats are keyed anew at the start")
    for step, dies, there in (
        (
            "some chats keyed anew, in an open commit",
            "sync.engine.tasks.epochs:open_epoch>2",
            "the phone is out; all of them are keyed anew at the next start",
        ),
        (
            "all chats keyed anew, nobody told",
            f"sync.engine.tasks.epochs:open_epoch>4,{WRITE}",
            "the phone is out, new keys are in use; contacts are told at the next start",
        ),
    ):
        await dies_at(desk, dies)
        one.found(step, there)
    assert await state_of(desk, lost) == "revoked"
    assert (await desk.cli("device", "revoke", lost, "--yes")).code == "not_allowed"
    await desk.run()
    await bob.until(lambda: notices(bob), lambda told: "shut a device out" in told, "a notice")
    await bob.node.send(one.chat, "between us")
    await bob.node.send(one.trip, "and here")
    await desk.holds(one.chat, 2)
    await desk.holds(one.trip, 1)
    await one.phone.run()
    await one.phone.until(lambda: notices(one.phone), lambda told: "shut out of" in told, "being told")
    assert await one.phone.texts(one.chat) == ["before"] and await one.phone.texts(one.trip) == []


async def removal(one: People) -> None:
    phone, desk, bob = one.phone, one.desk, one.bob
    who = next(contact.id for contact in (await phone.node.contacts()).contacts)
    await phone.stop()

    async def listed() -> str:
        members = (await phone.ask("chat", "members", one.trip))["members"]
        return next(str(member["state"]) for member in members if member["name"] == "Bob")

    for step, dies, state, there in (
        ("asked, nothing written", "crdt.space.moves:remove<1", "active", "Bob is a member; again, he is out"),
        ("written, not durable", "crdt.space.moves:remove>1", "active", "Bob is a member; again, he is out"),
        (
            "durable, nobody told",
            f"crdt.space.moves:remove>1,{WRITE}",
            "removed",
            "Bob is out, and new keys are in use; the others learn it at the next start",
        ),
    ):
        await phone.run(dies=dies)
        await phone.cli("chat", "remove", one.trip, who)
        await phone.fell()
        assert await listed() == state, step
        one.found(step, there)
    await bob.stop()
    await bob.run(dies=f"{HELLO}._removed>1")
    await phone.run()
    await bob.fell()
    chats = {chat["id"]: chat["state"] for chat in (await bob.ask("chat", "list"))["chats"]}
    assert chats[one.trip] == "active"
    one.found("Bob was told, not durable", "the group is in his list as before; he is told on the next connection")
    await bob.run(dies=f"{HELLO}._removed>1,{WRITE}")
    await bob.fell()
    chats = {chat["id"]: chat["state"] for chat in (await bob.ask("chat", "list"))["chats"]}
    assert chats[one.trip] == "removed"
    one.found("Bob was told, durable", "the group is in his list as one that he was removed from")
    await bob.run()
    await phone.node.send(one.trip, "without Bob")
    await desk.holds(one.trip, 1)
    await bob.node.send(one.chat, "still friends")
    await desk.holds(one.chat, 2)
    assert await bob.texts(one.trip) == []


async def recovery(one: People) -> None:
    phone, desk, bob = one.phone, one.desk, one.bob
    await phone.until(phone.node.status, lambda status: status.kept_by == 1, "Bob keeping a copy")
    await desk.node.send("self", "milk")
    await phone.kill()
    new = one.stage.profile("new")
    new.environment["KITHKIN_BOOTSTRAP"] = one.bootstrap
    for step, dies, whole in (
        ("`init`: words read, nothing written", f"{PROFILES}:found_profile<1", False),
        ("`init`: profile written", f"{PROFILES}:found_profile>1", False),
        ("`init`: before the keystore", f"{PROFILES}:replace_keystore<1", False),
        ("`init`: keystore written", f"{PROFILES}:replace_keystore>1", True),
    ):
        await new.cli("init", "--name", "Ada", "--recover", stdin=one.words, dies=dies)
        assert ((await new.cli("status")).status == 0) is whole
        one.found(
            step, "the identity, and this device as its only one" if whole else "no profile; the words make it again"
        )
    looks = "identity and notes; the search goes on at the next start"
    for step, dies, known, there in (
        ("record found, its holder dialled", "sync.engine.recovery.drops:Drops.sought>1", False, looks),
        ("copy came, not opened", f"{RETURNING}:Returning.found<1", False, looks),
        ("copy read, not durable", f"{RETURNING}:Returning.found>1", False, looks),
        (
            "copy durable",
            f"{RETURNING}:Returning.found>1,{WRITE}",
            True,
            "contacts and chats; each chat is asked to let this device in",
        ),
        ("asked to be let into a chat", f"{RETURNING}:encode_rejoin>1", True, "the same; it asks again"),
    ):
        await dies_at(new, dies)
        assert (await contacts_offline(new) == ["Bob"]) is known, step
        one.found(step, there)
    for step, dies in (
        ("Bob lets it in, not durable", f"{RETURNING}:Returning.let_back>1"),
        ("Bob lets it in, durable, nobody told", f"{RETURNING}:Returning.let_back>1,{WRITE}"),
    ):
        await new.kill()
        await bob.kill()
        await bob.run(dies=dies)
        await new.run()
        await bob.fell()
        one.found(step, "at Bob: the lost devices in, and asked again; or the new one in their place")
    await bob.run()
    await writes(new, one.chat)
    await new.holds(one.chat, 1)

    # The desktop is kept by name.
    await new.node.send("self", "written alone")
    await new.stop()
    await desk.until(lambda: notices(desk), lambda told: "shut out of" in told, "being out")
    kept = desk.ready["device"]
    for step, dies, state in (
        ("`device keep`: asked, nothing signed", f"{CONTACTS}:keep_devices<1", "revoked"),
        ("`device keep`: signed, not durable", f"{CONTACTS}:keep_devices>1", "revoked"),
        ("`device keep`: durable", f"{CONTACTS}:keep_devices>1,{WRITE}", "active"),
    ):
        await new.run(dies=dies)
        await new.cli("device", "keep", "desk", stdin=one.words)
        await new.fell()
        assert await state_of(new, kept) == state, step
        one.found(step, "the desktop is out; the words are typed again" if state == "revoked" else "the desktop is in")
    await desk.stop()
    for step, dies, there in (
        (
            "the desktop hears of it, not durable",
            "sync.engine.recovery.recovery:Recovery.introduced>1",
            "out, and told again",
        ),
        ("it lets the new device into its list, not durable", f"{HELLO}._late_join>1", "in; it is asked again"),
        ("the same, durable, nobody told", f"{HELLO}._late_join>1,{WRITE}", "in, with the new device in its list"),
    ):
        await new.kill()
        await desk.run(dies=dies)
        await new.run()
        await desk.fell()
        one.found(step, f"at the desktop: {there}")
    await new.kill()
    await desk.run()
    for step, dies, there in (
        (
            "the new device has the old list, not moved",
            "sync.engine.recovery.recovery:move<1",
            "its own list; it moves again",
        ),
        ("moved, not durable", "sync.engine.recovery.recovery:move>1", "the same"),
        (
            "moved, durable",
            f"sync.engine.recovery.recovery:move>1,{WRITE}",
            "the old list, with what it had noted alone",
        ),
    ):
        await dies_at(new, dies)  # and is not looked at meanwhile: whatever opens the profile moves it
        one.found(step, there)
    assert await contacts_offline(new) == ["Bob"]
    await new.run()
    for device in (new, desk):
        await device.until(lambda device=device: device.texts("self"), lambda texts: len(texts) == 2, "notes of both")  # type: ignore[misc]
    await writes(new, one.trip)
    await bob.node.send(one.chat, "to both")
    await desk.node.send(one.trip, "from the desk")
    for device in (new, desk):
        await device.holds(one.chat, 2)
        await device.holds(one.trip, 1)
        assert sorted(await device.texts("self")) == ["milk", "written alone"]
    await bob.holds(one.trip, 1)
    states = {device.id: device.state for device in (await new.node.devices()).devices}
    assert states.pop(kept) == "active" and sorted(states.values()) == ["active", "revoked"]


async def contacts_offline(profile: Profile) -> list[str]:
    return [contact["name"] for contact in (await profile.ask("contact", "list"))["contacts"]]


def test_a_revocation_killed_at_any_step_is_not_begun_or_finished(tmp_path: Path) -> None:
    async def story() -> None:
        async with people(tmp_path / "stage") as one:
            await revocation(one)

    asyncio.run(story())


@pytest.mark.soak
def test_a_removal_killed_at_any_step_is_not_begun_or_finished(tmp_path: Path) -> None:
    async def story() -> None:
        async with people(tmp_path / "stage") as one:
            await removal(one)

    asyncio.run(story())


@pytest.mark.soak
def test_a_recovery_killed_at_any_step_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    async def story() -> None:
        async with people(tmp_path / "stage") as one:
            await recovery(one)

    asyncio.run(story())
