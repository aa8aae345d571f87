"""A profile that was copied and run twice signs two histories: the group of the others stays one group.

Mal's phone is cloned; both copies run production code and do not know of each other.
"""

from __future__ import annotations

import pytest

from crdt.space import moves
from crdt.space.control import Set
from crdt.space.lineage import End
from sync.space.epochs import open_epoch, write_control
from sync.space.space import Space
from sync.store.memory import MemoryStore
from tests.simulation.test_attacks import ms, nothing_broke, three
from tests.support.device import Device
from tests.support.world import World


def club(device: Device) -> Space:
    return device.space("club")


def clone(world: World, device: Device) -> Device:
    """A second process on a copy of the profile's folder; the first one is off until somebody starts it."""
    device.stop()
    made = world._device(device.owner, "clone")
    made.store = MemoryStore(made.misfortune)
    made.store._tables = {table: rows.copy() for table, rows in device.store._tables.items()}
    return made


def new_epoch(device: Device) -> None:
    """A control entry that everybody in the roster can open: it gives them a key."""
    device.do(lambda engine: open_epoch(club(device), ms(device)))


def entitle(device: Device, title: str) -> None:
    device.do(lambda engine: write_control(club(device), [Set("motto", title.encode())], ms(device)))


def motto(device: Device) -> bytes | None:
    return club(device).state.settings.get("motto")


def remove(device: Device, owner: str) -> None:
    """Removes a member, and names its feed as far as it is here."""
    space = club(device)
    member = next(m.id for m in space.state.members.values() if m.identity == device.world.identities[owner])
    frontiers = {core: End(f.length, f.tree.hash()) for core, f in space.feed_store.feeds.items() if f.length}
    device.do(lambda engine: open_epoch(space, ms(device), moves.remove(space.graph, member, frontiers)))


def is_in(device: Device, owner: str) -> bool:
    state = club(device).state
    return any(state.active(m.id) for m in state.members.values() if m.identity == device.world.identities[owner])


def forked(seed: int, mode: str) -> tuple[World, Device, Device, Device, Device]:
    """(world, Ada, Bob, Mal, his clone): Ada has heard one of them, Bob, who made the club, the other; both are on."""
    world, ada, mal, bob = three(seed)
    world.grouped("club", bob, ada, mal)
    copy = clone(world, mal)
    world.cut([mal, ada], [copy, bob])
    mal.boot()
    copy.boot()
    world.run(30)
    if mode == "control":
        new_epoch(mal)
        new_epoch(copy)
    mal.send("club", "from the original")
    copy.send("club", "from the copy")
    world.run(30)
    ada.send("club", "ada answers")
    bob.send("club", "bob answers")
    world.run(30)
    return world, ada, bob, mal, copy


def meet(world: World, *gone: Device) -> None:
    """Both copies go; the honest rest meets again."""
    for device in gone:
        device.stop()
    world.wires.heal()
    world.run(60)


@pytest.mark.parametrize("mode", ["messages", "control"])
def test_two_members_stay_one_group_after_somebody_elses_fork(mode: str) -> None:
    world, ada, bob, mal, copy = forked(41, mode)
    meet(world, mal, copy)
    assert len(club(ada).feed_store.proofs) == len(club(bob).feed_store.proofs) == 1
    ada.send("club", "ada after")
    bob.send("club", "bob after")
    world.run(60)
    for device in (ada, bob):
        texts = world.texts(device, "club")
        assert {"ada after", "bob after", "ada answers", "bob answers"} <= set(texts)
    assert club(ada).state == club(bob).state
    assert club(ada).graph.missing() == club(bob).graph.missing() == ()
    nothing_broke(ada, bob)


@pytest.mark.parametrize("mode", ["messages", "control"])
def test_removing_the_forked_member_repairs_the_group(mode: str) -> None:
    world, ada, bob, mal, copy = forked(42, mode)
    meet(world, mal, copy)
    remove(bob, "Mal")
    world.run(60)
    assert not is_in(bob, "Mal") and not is_in(ada, "Mal")
    bob.send("club", "bob after removal")
    ada.send("club", "ada after removal")
    world.run(60)
    for device in (ada, bob):
        assert {"bob after removal", "ada after removal"} <= set(world.texts(device, "club"))
    assert club(ada).graph.questions() == []
    ada.restart()
    bob.restart()
    world.run(30)
    assert club(ada).state == club(bob).state
    assert not is_in(ada, "Mal")
    nothing_broke(ada, bob)
