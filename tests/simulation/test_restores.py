"""A store that is put back lives on as a new device: nobody writes a feed twice, and nothing is lost or made up.

The attacks of an old backup, and of a restore beside other devices of the same person, stand here as stories.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt.space.control import Succeed
from sync.engine.peer import Peer, SpaceLink
from sync.engine.profile import Profile
from sync.replicate.messages import Blocks, Fetched, Frontier, Tips
from sync.replicate.messages import Message as Wire
from sync.service.ids import device_id as shown_id
from sync.service.ids import message_id
from sync.store.memory import MemoryStore
from tests.support.device import Device
from tests.support.liar import Liar, honest
from tests.support.three import device_id
from tests.support.world import Message, World

SEEDS = range(3)


def no_fork(*devices: Device) -> None:
    """Nobody holds a proof that somebody wrote two histories of one feed."""
    spaces = {d.name: d.engine.profile.spaces.values() for d in devices}
    found = {name: [proof for s in held for proof in s.feed_store.proofs] for name, held in spaces.items()}
    assert found == {d.name: [] for d in devices}


def writes(device: Device, chat: str | Device) -> bool:
    return device.space(chat).may_write


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restored_backup_goes_on_as_a_new_device(seed: int) -> None:
    world = World(f"restored {seed}")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "before")
    world.settle()
    old, backup = device_id(ada), ada.store.reopen()
    ada.stop()
    world.forget(ada.name)

    new = world.restored(backup, "Ada", "new phone")
    world.settle()
    new.send(bob, "after")
    bob.send(new, "welcome back")
    world.settle()

    everything = ["before", "after", "welcome back"]
    assert world.texts(new, bob) == world.texts(bob, new) == everything
    assert Message("after", "delivered") in world.of(new, bob)
    assert device_id(new) != old
    directory = bob.engine.profile.directory
    assert directory.is_active(device_id(new)) and not directory.is_active(old)
    no_fork(new, bob)


def written_on(world: World) -> tuple[Device, Device, MemoryStore]:
    """Ada and Bob, and Ada's store as it was after three of her seven messages to him."""
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    for number in range(3):
        ada.send(bob, f"old {number}")
    world.settle()
    backup = ada.store.reopen()
    for number in range(4):
        ada.send(bob, f"newer {number}")
    world.settle()
    return ada, bob, backup


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_written_after_the_backup_comes_back_from_a_friend(seed: int) -> None:
    world = World(f"old backup {seed}")
    ada, bob, backup = written_on(world)
    ada.stop()
    world.forget(ada.name)

    new = world.restored(backup, "Ada", "new phone", away_from=[bob])
    new.send("Bob", "first after the restore")
    new.send("Bob", "second after the restore")
    world.heal()
    world.settle()

    assert sorted(world.texts(new, "Bob")) == sorted(world.texts(bob, "Ada"))
    states = {message.text: message.state for message in world.of(new, "Bob")}
    assert len(states) == 9 and set(states.values()) <= {"delivered", "read"}
    # The old feed is closed where it ends: what stands in it shows everywhere.
    succeeded = [e for e in bob.space("Ada").graph.entries() if any(isinstance(op, Succeed) for op in e.ops)]
    assert len(succeeded) == 1
    assert bob.space("Ada").state.ends == new.space("Bob").state.ends
    no_fork(new, bob)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restore_beside_the_old_device_puts_it_out(seed: int) -> None:
    world = World(f"beside {seed}")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "before")
    world.settle()
    new = world.restored(ada.store.reopen(), "Ada", "new phone")
    world.settle()
    new.send("Bob", "from the new phone")
    bob.send(new, "which of you is it?")
    world.settle()
    world.run(20)

    assert "which of you is it?" in world.texts(new, "Bob")
    assert "from the new phone" in world.texts(bob, new)
    assert not writes(ada, "Bob"), "the old phone heard that it is out"
    no_fork(ada, new, bob)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_restores_of_one_backup_are_two_devices(seed: int) -> None:
    world = World(f"twice {seed}")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "before")
    world.settle()
    backup = ada.store.reopen()
    ada.stop()
    world.forget(ada.name)
    one = world.restored(backup, "Ada", "one", away_from=[])
    two = world.restored(backup, "Ada", "two", away_from=[one])
    one.send("Bob", "from one")
    two.send("Bob", "from two")
    world.heal()
    world.settle()
    world.run(30)
    world.settle()

    everything = sorted(["before", "from one", "from two"])
    assert [sorted(world.texts(d, "Ada" if d is bob else "Bob")) for d in (one, two, bob)] == [everything] * 3
    assert writes(one, "Bob") and writes(two, "Bob")
    no_fork(one, two, bob)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restore_beside_another_device_of_the_same_person(seed: int) -> None:
    world = World(f"own device {seed}")
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone.send(bob, "before")
    world.settle()
    backup = phone.store.reopen()
    phone.stop()
    world.forget(phone.name)

    new = world.restored(backup, "Ada", "new phone")
    world.settle()
    new.send("Bob", "from the new phone")
    desk.send("Bob", "from the desk")
    bob.send(new, "both of you")
    world.settle()

    everything = sorted(["before", "from the new phone", "from the desk", "both of you"])
    assert [sorted(world.texts(d, "Ada" if d is bob else "Bob")) for d in (new, desk, bob)] == [everything] * 3
    no_fork(new, desk, bob)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restored_member_comes_back_into_its_group(seed: int) -> None:
    world = World(f"group {seed}")
    ada, bob, carol = world.person("Ada"), world.person("Bob"), world.person("Carol")
    world.friends(ada, bob)
    world.friends(ada, carol)
    world.grouped("Boats", ada, bob, carol)
    ada.send("Boats", "before")
    world.settle()
    backup = ada.store.reopen()
    ada.stop()
    world.forget(ada.name)
    new = world.restored(backup, "Ada", "new phone")
    world.settle()
    new.send("Boats", "the creator is back")
    carol.send("Boats", "hello")
    world.settle()
    everything = sorted(["before", "the creator is back", "hello"])
    assert [sorted(world.texts(d, "Boats")) for d in (new, bob, carol)] == [everything] * 3
    no_fork(new, bob, carol)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_backup_from_before_a_deletion_brings_nothing_back(seed: int) -> None:
    world = World(f"deleted {seed}")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    said = ada.send(bob, "a secret")
    world.settle()
    backup = ada.store.reopen()
    ada.delete(bob, said)
    world.settle()
    ada.stop()
    world.forget(ada.name)
    new = world.restored(backup, "Ada", "new phone")
    world.settle()
    assert world.texts(bob, "Ada") == world.texts(new, "Bob") == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_backup_from_before_leaving_does_not_come_back_in(seed: int) -> None:
    world = World(f"left {seed}")
    ada, bob, carol = world.person("Ada"), world.person("Bob"), world.person("Carol")
    world.friends(ada, bob)
    world.friends(bob, carol)
    world.grouped("Boats", bob, ada, carol)
    backup = ada.store.reopen()
    ada.leave("Boats")
    world.settle()
    ada.stop()
    world.forget(ada.name)
    new = world.restored(backup, "Ada", "new phone")
    world.settle()
    world.run(30)
    carol.send("Boats", "without Ada")
    world.settle()
    assert not writes(new, "Boats")
    assert "without Ada" not in [message.text for message in world.of(new)]
    assert "without Ada" in world.texts(bob, "Boats")


def test_the_old_keys_are_gone_from_a_restored_store() -> None:
    world = World("keys")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    profile = ada.engine.profile
    seeds = [space.mine.key.seed for space in profile.spaces.values() if space.mine is not None and space.mine.key]
    secrets = [*seeds, profile.account.keys.signing.seed]
    assert len(seeds) == 3
    new = world.restored(ada.store.reopen(), "Ada", "new phone")
    kept = b"".join(value for table in new.store._tables.values() for value in table.values.values())
    assert [secret in kept for secret in secrets] == [False] * 4
    assert isinstance(new.engine.profile, Profile)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_store_set_back_unnoticed_goes_on_as_a_new_device_once_the_fork_shows(seed: int) -> None:
    """A virtual machine set back as a whole: nothing says so, and the device writes before it meets anybody."""
    world = World(f"set back {seed}")
    ada, bob, backup = written_on(world)
    before = device_id(ada)
    ada.stop()
    ada.store = backup.reopen(ada.misfortune)
    world.cut(ada, bob)
    ada.boot()
    first = ada.send("Bob", "first after the restore")
    ada.send("Bob", "second after the restore")
    world.heal()
    world.run(60)
    world.settle()

    assert device_id(ada) != before
    theirs = world.texts(bob, "Ada")
    assert {"first after the restore", "second after the restore"} <= set(theirs), theirs
    assert len(theirs) == len(set(theirs)), "a message that was published again is one message"
    lost = [m.text for m in world.of(ada, "Bob") if m.state in ("delivered", "read") and m.text not in theirs]
    assert lost == [], "nothing is shown as delivered that the other side never gets"
    assert first in [message_id(row.id) for row in bob.rows("Ada")]
    ada.send("Bob", "and on")
    bob.send("Ada", "do you read me")
    world.settle()
    assert "and on" in world.texts(bob, "Ada") and "do you read me" in world.texts(ada, "Bob")


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_sealed_to_a_device_that_gave_way_while_the_new_feed_is_on_its_way(seed: int) -> None:
    """Ada hears from Cem that Bob's old phone gave way, and the feed of the new one does not come; she writes."""
    world = World(f"on its way {seed}")
    ada, bob, cem = world.person("Ada"), world.person("Bob"), world.person("Cem")
    for one, other in ((ada, bob), (ada, cem), (bob, cem)):
        world.friends(one, other)
    world.grouped("club", ada, bob, cem)
    old = device_id(bob)
    backup = bob.store.reopen()
    known = set(cem.space("club").feed_store.by_writer)

    def keeps_back(peer: Peer, link: SpaceLink, said: Wire) -> list[Wire]:
        if isinstance(said, Frontier):
            return [replace(said, heads=tuple(head for head in said.heads if head.writer in known))]
        return [] if isinstance(said, Blocks | Fetched | Tips) and getattr(said, "writer", b"") not in known else [said]

    liar = Liar(cem, says=keeps_back)
    world.cut(bob, [ada, cem])
    new = world.restored(backup, "Bob", "new phone", away_from=[ada, bob])
    world.run(1)
    assert device_id(new) != old
    while not ada.engine.profile.directory.is_out(old):
        world.run(0.2)
    assert not any(writer.device == device_id(new) for writer in ada.space("club").state.writers.values())
    ada.send("club", "for those who are in")
    world.run(20)
    world.keeps_promises()
    liar.says = honest
    liar.restart()
    world.heal().settle()
    assert [world.texts(device, "club") for device in (ada, cem, new)] == [["for those who are in"]] * 3
    assert writes(new, "club") and not writes(bob, "club")
    no_fork(ada, cem, new)


@pytest.mark.parametrize("seed", SEEDS)
def test_shutting_a_restored_device_out_ends_the_backup_it_came_from(seed: int) -> None:
    world = World(f"again {seed}")
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    backup = phone.store.reopen()
    first = world.restored(backup, "Ada", "box")
    world.settle()
    desk.call(lambda calls: calls.device_revoke(shown_id(device_id(first))))
    world.settle()
    again = world.restored(backup, "Ada", "second box")
    world.run(20)
    world.settle()
    for device in (desk, bob):
        active = [one.id for one in device.engine.profile.directory.active(world.identities["Ada"])]
        assert active == [device_id(desk)], device.name
    assert again.engine.profile.out and first.engine.profile.out and not desk.engine.profile.out
    bob.send("Ada", "for the desktop")
    world.settle()
    assert "for the desktop" in world.texts(desk, bob) and "for the desktop" not in world.texts(again)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_device_that_gave_way_is_shut_out_by_name_before_its_backup_is_used_again(seed: int) -> None:
    world = World(f"by name {seed}")
    phone, desk = world.linked("Ada", devices=2)
    old, backup = device_id(phone), phone.store.reopen()
    phone.stop()
    world.forget(phone.name)
    new = world.restored(backup, "Ada", "new phone")
    world.settle()
    desk.call(lambda calls: calls.device_revoke(shown_id(old)))
    world.settle()
    active = {one.id for one in desk.engine.profile.directory.active(world.identities["Ada"])}
    assert active == {device_id(desk), device_id(new)}, "what it let in stays"
    thief = world.restored(backup, "Ada", "box")
    world.run(20)
    world.settle()
    assert thief.engine.profile.out and not new.engine.profile.out
