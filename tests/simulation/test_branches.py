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
from tests.simulation.test_attacks import ms, nothing_broke, shown
from tests.support.device import NOTES, Device
from tests.support.three import three
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


def forked_names(device: Device) -> list[str]:
    """Whom the list of members shows with a copy that runs."""
    chat = shown(device, "club")
    return [one.name for one in device.call(lambda calls: calls.chat_members(chat)).members if one.forked]


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
    assert forked_names(ada) == forked_names(bob) == ["Mal"]
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


@pytest.mark.parametrize("mode", ["messages", "control"])
def test_messages_of_the_branch_that_a_close_decided_come_to_who_had_kept_the_other(mode: str) -> None:
    world, ada, bob, mal, copy = forked(43, mode)
    copy.send("club", "more from the copy")
    world.run(10)
    meet(world, mal, copy)
    assert "from the copy" not in world.texts(ada, "club")
    remove(bob, "Mal")
    world.run(60)
    decided = ["from the copy", "more from the copy"]
    assert [text for text in world.texts(bob, "club") if "copy" in text] == decided
    assert [text for text in world.texts(ada, "club") if "copy" in text] == decided
    # Ada had opened the other branch: she bears witness, and keeps what she saw.
    assert "from the original" in world.texts(ada, "club")
    ada.restart()
    world.run(30)
    assert [text for text in world.texts(ada, "club") if "copy" in text] == decided
    writers = {row.member for row in ada.rows("club") if row.text in decided}
    assert len(writers) == 1
    nothing_broke(ada, bob)


def test_a_third_member_that_was_away_folds_the_same_group_from_either_side() -> None:
    world, ada, mal, bob = three(44)
    carl = world.person("Carl")
    world.friends(bob, carl)
    world.grouped("club", bob, ada, mal, carl)
    carl.stop()
    copy = clone(world, mal)
    world.cut([mal, ada], [copy, bob])
    mal.boot()
    copy.boot()
    world.run(10)
    new_epoch(mal)
    new_epoch(copy)
    mal.send("club", "from the original")
    copy.send("club", "from the copy")
    world.run(20)
    ada.send("club", "ada answers")
    bob.send("club", "bob answers")
    world.run(10)
    for device in (mal, copy, bob):
        device.stop()
    carl.boot()
    world.wires.heal()
    world.run(20)
    assert "ada answers" in world.texts(carl, "club")
    ada.stop()
    bob.boot()
    world.run(40)
    assert "bob answers" in world.texts(carl, "club")
    ada.boot()
    world.run(60)
    for device in (ada, bob, carl):
        device.send("club", f"{device.owner} after")
    world.run(60)
    for device in (ada, bob, carl):
        assert {"Ada after", "Bob after", "Carl after"} <= set(world.texts(device, "club"))
        assert club(device).state == club(bob).state
        assert club(device).graph.missing() == ()
    nothing_broke(ada, bob, carl)


def test_a_group_goes_on_while_both_copies_are_about() -> None:
    world, ada, bob, mal, copy = forked(45, "control")
    world.wires.heal()
    world.run(60)
    for turn in range(3):
        ada.send("club", f"ada {turn}")
        bob.send("club", f"bob {turn}")
        world.run(20)
    said = {f"{name} {turn}" for name in ("ada", "bob") for turn in range(3)}
    assert said <= set(world.texts(ada, "club")) and said <= set(world.texts(bob, "club"))
    remove(bob, "Mal")
    world.run(60)
    bob.send("club", "among us")
    world.run(30)
    assert "among us" in world.texts(ada, "club")
    assert "among us" not in world.texts(mal, "club") + world.texts(copy, "club")
    nothing_broke(ada, bob)


def test_the_decided_branch_is_had_later_when_its_only_holder_is_away_at_first() -> None:
    world, ada, mal, bob = three(46)
    carl = world.person("Carl")
    world.friends(bob, carl)
    world.grouped("club", bob, ada, mal, carl)
    copy = clone(world, mal)
    world.cut([mal, ada, carl], [copy, bob])
    mal.boot()
    copy.boot()
    world.run(10)
    mal.send("club", "from the original")
    copy.send("club", "from the copy")
    world.run(20)
    mal.stop()
    copy.stop()
    remove(bob, "Mal")
    world.run(1)
    world.wires.heal()
    world.cut(carl, bob)
    world.run(60)
    assert not is_in(carl, "Mal")  # Ada passed the close on, and its proof
    assert "from the copy" in world.texts(ada, "club")
    world.wires.heal()
    world.run(60)
    assert "from the copy" in world.texts(carl, "club")
    nothing_broke(ada, bob, carl)


def test_a_copied_profile_of_ones_own_keeps_the_personal_space_together() -> None:
    """Ada's phone runs twice; her desktop hears both copies, one after the other."""
    world = World(47)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    copy = clone(world, phone)
    world.cut(phone, copy)
    world.cut(copy, desk)
    phone.boot()
    phone.send(NOTES, "written on the original")
    phone.group("from the original")
    world.run(20)
    phone.stop()
    world.wires.heal()
    world.cut(phone, [copy, desk])
    copy.boot()
    copy.group("from the copy")
    world.run(60)
    desk.send(NOTES, "the desktop goes on")
    world.run(20)
    assert "the desktop goes on" in world.texts(desk, NOTES)
    desk.restart()
    world.run(20)
    assert set(world.texts(desk, NOTES)) >= {"written on the original", "the desktop goes on"}
    nothing_broke(desk, bob)
