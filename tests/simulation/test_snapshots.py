"""A start reads the fold of a space's control entries where it stands in the store, and folds where it does not fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crdt.space import snapshot
from crdt.space.control import Set
from sync.space import members
from sync.space.epochs import open_epoch, write_control
from sync.store.port import Batch, Table
from tests.simulation.test_attacks import nothing_broke
from tests.support.device import Device
from tests.support.three import three
from tests.support.world import World

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def small_groups_too(monkeypatch: Patch) -> None:
    monkeypatch.setattr(members, "MIN_SNAPSHOT", 1)


def says(device: Device, motto: bytes) -> None:
    device.do(lambda engine: write_control(device.space("club"), [Set("motto", motto)], int(device.now * 1000)))


def old_club(seed: int) -> tuple[World, Device, Device, Device]:
    """A group in which things happened, known to all, with a snapshot of it at Bob's."""
    world, ada, mal, bob = three(seed)
    world.grouped("club", ada, mal, bob)
    for number in range(10):
        ada.do(lambda engine: open_epoch(ada.space("club"), int(ada.now * 1000)))
        says(ada, b"club %d" % number)
        world.run(5)
    mal.send("club", "hello")
    world.run(90)
    mal.send("club", "again")
    world.run(10)
    assert bob.store.get(Table.FOLD, bob.space("club").id) is not None
    return world, ada, mal, bob


def loaded(device: Device) -> bool:
    return device.space("club").members._graph is not None


def test_start_reads_the_state_and_opens_no_control_entry() -> None:
    world, ada, mal, bob = old_club(1)
    before, tips = bob.space("club").state, bob.space("club").members.tips()
    bob.stop()
    bob.boot()
    club = bob.space("club")
    assert not loaded(bob) and club.state == before and club.members.tips() == tips
    assert club.members.admitted < 1 << 64 and club.members.arrived
    bob.send("club", "after the start")
    world.run(20)
    assert not loaded(bob), "writing a message needs the state alone"
    assert world.texts(ada, "club")[-1] == "after the start"
    says(ada, b"new")
    world.run(10)
    assert loaded(bob) and bob.space("club").state.settings["motto"] == b"new"
    assert bob.space("club").state == ada.space("club").state
    nothing_broke(ada, mal, bob)


def other_rules(value: bytes) -> bytes:
    return (int.from_bytes(value[:2], "little") + 1).to_bytes(2, "little") + value[2:]


@pytest.mark.parametrize("spoil", [other_rules, lambda v: v[:-9], lambda v: v[:40] + v[41:], lambda v: b""])
def test_snapshot_of_other_rules_or_damaged_is_left_and_made_anew(spoil: Callable[[bytes], bytes]) -> None:
    world, ada, mal, bob = old_club(2)
    before, id_ = bob.space("club").state, bob.space("club").id
    kept = bob.store.get(Table.FOLD, id_)
    bob.stop()
    batch = Batch()
    batch.put(Table.FOLD, id_, spoil(kept or b""))
    bob.store.write(batch, durable=True)
    bob.boot()
    assert loaded(bob) and bob.space("club").state == before
    bob.send("club", "goes on")
    world.run(70)
    mal.send("club", "and on")
    world.run(10)
    found = bob.store.get(Table.FOLD, id_) or b""
    assert found[:2] == snapshot.RULES.to_bytes(2, "little")
    assert snapshot.decode_snapshot(found, lambda *ends: True) is not None
    nothing_broke(ada, mal, bob)


def test_entry_that_came_after_the_snapshot_is_not_forgotten() -> None:
    """The power goes before the next snapshot: the store has one entry more than it."""
    world, ada, mal, bob = old_club(3)
    says(ada, b"last word")
    world.run(5)
    assert bob.space("club").state.settings["motto"] == b"last word"
    bob.stop()
    bob.boot()
    assert bob.space("club").state.settings["motto"] == b"last word"
    nothing_broke(ada, mal, bob)
