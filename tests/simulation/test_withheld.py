"""Who keeps blocks back and says that they are deleted, and what comes of it: nothing, without the right.

Mal runs production code, but for what he does to his own store: he clears blocks there and shows others hashes alone.
"""

from __future__ import annotations

import pytest

from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.log.entry import Kind, decode_plaintext, open_entry
from crdt.log.merkle import Leaf, leaf_of
from crdt.space import moves
from crdt.space.control import Admin, Set
from crdt.space.lineage import End
from sync.engine.engine import Engine
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.encoding import encode
from sync.replicate.messages import Fetch
from sync.service.ids import identity_id
from sync.space.epochs import open_epoch, write_control
from sync.space.feed import EntryState, Feed, encode_leaf
from sync.space.outbound import Draft
from tests.simulation.test_attacks import ms, must, nothing_broke, shown
from tests.support.device import Device
from tests.support.three import identity, three
from tests.support.world import Message, World

FETCH = encode(Fetch(()))[0]  # the message type

Place = tuple[bytes, int, Leaf]  # core key, seq, leaf


def entitle(device: Device, title: str) -> None:
    """A control entry: the group gets another title."""
    device.do(lambda engine: write_control(device.space("club"), [Set("title", title.encode())], ms(device)))


def newest(device: Device, count: int = 1) -> list[Place]:
    """The last entries of a device's own feed in the club, merges left out."""
    club = device.space("club")
    feed = must(club.mine)
    found: list[Place] = []
    for seq in range(feed.length - 1, -1, -1):
        entry = club.feed_store.entry(feed, seq)
        assert entry is not None
        if decode_plaintext(open_entry(entry.key, feed.core, club.id, entry.block)).kind is not Kind.MERGE:
            found.append((feed.core, seq, leaf_of(entry.block)))
    return found[:count][::-1]


def delete(device: Device, places: list[Place]) -> None:
    """A deletion entry that names these blocks, whoever wrote them."""
    blocks = tuple(sorted(Block(core, seq, leaf[1]) for core, seq, leaf in places))
    body = encode_deletion(Deletion(bytes(32), blocks))
    club = device.space("club")
    device.do(lambda engine: club.append([Draft(Kind.DELETION, lambda seq: body)], ms(device)))


def withhold(device: Device, places: list[Place]) -> None:
    """From now on the device shows others the hashes of these blocks alone."""
    club = device.space("club")

    def clear(engine: Engine) -> None:
        for core, seq, leaf in places:
            row = encode_leaf(EntryState.CLEARED, leaf)
            club.feed_store.put_entry(engine.profile.context.batch, club.feed_store.feeds[core], seq, row)

    device.do(clear)


def states(device: Device, places: list[Place]) -> list[EntryState]:
    club = device.space("club")
    found = []
    for core, seq, _ in places:
        entry = club.feed_store.entry(club.feed_store.feeds[core], seq)
        assert entry is not None
        found.append(entry.state)
    return found


def feed_of(device: Device, other: Device) -> Feed:
    return device.space("club").feed_store.feeds[must(other.space("club").mine).core]


def appoint(device: Device, other: Device) -> None:
    """Makes another member an admin of the club."""
    club = device.space("club")
    member = next(m.id for m in club.state.members.values() if m.identity == identity(other))
    device.do(lambda engine: write_control(club, [Admin(member)], ms(device)))


def remove(device: Device, other: Device, *, length: int | None = None) -> None:
    """Removes a member from the club; length: what ends its feed, all that is here unless given."""
    club = device.space("club")
    member = next(m for m in club.state.members.values() if m.identity == device.world.identities[other.owner])
    frontiers = {core: End(f.length, f.tree.hash()) for core, f in club.feed_store.feeds.items() if f.length}
    if length is not None:
        feed = club.feed_store.feeds[member.core]
        root = club.feed_store.root_at(feed, length)
        assert root is not None
        frontiers[feed.core] = End(length, root)
    device.do(lambda engine: open_epoch(club, ms(device), moves.remove(club.graph, member.id, frontiers)))


def bob_writes_while_ada_is_away(seed: int) -> tuple[World, Device, Device, Device, list[Place]]:
    """Bob made the club.  Ada has not seen his message and his new title yet; Mal has."""
    world, ada, mal, bob = three(seed)
    world.grouped("club", bob, ada, mal)
    world.cut(ada, [bob, mal])
    bob.send("club", "important")
    entitle(bob, "renamed")
    world.run(20)
    return world, ada, mal, bob, newest(bob, 2)


def test_a_member_without_the_right_cannot_clear_anything_from_a_late_device() -> None:
    world, ada, mal, bob, places = bob_writes_while_ada_is_away(1)
    delete(mal, places)
    withhold(mal, places)
    world.heal()
    world.cut(ada, bob)
    world.run(30)
    assert feed_of(ada, bob).length == must(bob.space("club").mine).length
    assert EntryState.CLEARED not in states(ada, places)
    assert Message("important", "delivered") not in world.of(bob, "club")
    world.heal()
    world.settle()
    assert world.texts(ada, "club") == ["important"]
    assert ada.space("club").state.title == "renamed"
    ada.restart()
    world.settle()
    assert world.texts(ada, "club") == ["important"]
    assert world.of(bob, "club") == [Message("important", "delivered")]
    nothing_broke(ada, bob)


def test_what_was_kept_back_is_had_of_a_third_device_that_cannot_read_it() -> None:
    """Carl came later and holds Bob's old entries sealed: they are handed on by hash, without a key."""
    world, ada, mal, bob, (message, _) = bob_writes_while_ada_is_away(2)
    places = [message]
    carl = world.person("Carl")
    world.friends(bob, carl)
    world.cut(carl, [mal, ada])
    bob.call(lambda calls: calls.chat_add(shown(bob, "renamed"), identity_id(identity(carl))))
    world.run(10)
    carl.join("renamed")
    world.run(20)
    assert "important" not in world.texts(carl, "renamed")
    delete(mal, places)
    withhold(mal, places)
    world.heal()
    world.cut(ada, [bob, carl])
    world.run(30)
    assert states(ada, places) == [EntryState.WITHHELD]
    bob.stop()
    world.wires.heal()
    world.run(60)
    assert world.texts(ada, "club") == ["important"]
    nothing_broke(ada, carl)


def test_a_late_device_keeps_asking_for_what_was_kept_back_after_a_restart() -> None:
    world, ada, mal, bob, places = bob_writes_while_ada_is_away(3)
    delete(mal, places)
    withhold(mal, places)
    bob.stop()
    world.wires.heal()
    world.run(30)
    for _ in range(2):
        ada.restart()
        world.run(10)
    assert world.texts(ada, "club") == []
    assert EntryState.CLEARED not in states(ada, places)
    mal.stop()
    bob.boot()
    world.run(30)
    assert world.texts(ada, "club") == ["important"]
    nothing_broke(ada, bob)


def test_a_pack_brings_what_was_kept_back() -> None:
    """Ada's desktop is linked while only Mal and her phone are about; the phone has read everything."""
    world, ada, mal, bob = three(4)
    world.grouped("club", bob, ada, mal)
    bob.send("club", "important")
    world.settle()
    places = newest(bob)
    delete(mal, places)
    withhold(mal, places)
    world.settle()
    bob.stop()
    desk = world.link(ada, "desktop", settle=False)
    world.run(60)
    assert world.texts(desk, "club") == ["important"]
    assert world.texts(ada, "club") == ["important"]
    nothing_broke(ada, desk)


def test_an_author_clears_its_own_message_from_a_late_device() -> None:
    world, ada, mal, bob = three(5)
    world.grouped("club", mal, ada, bob)
    world.cut(ada, [mal, bob])
    mal.send("club", "a slip")
    places = newest(mal)
    world.run(10)
    delete(mal, places)
    withhold(mal, places)
    world.run(10)
    world.heal()
    world.cut(ada, bob)
    world.run(30)
    assert states(ada, places) == [EntryState.CLEARED]
    world.heal()
    world.run(60)  # Bob has the block still, and nobody asks him for it
    assert states(ada, places) == [EntryState.CLEARED]
    assert feed_of(ada, mal).opened == feed_of(ada, mal).length
    assert world.texts(ada, "club") == []
    nothing_broke(ada, bob)


@pytest.mark.parametrize("restarts", [False, True])
def test_an_admins_deletion_stops_clearing_once_the_admin_is_removed_from_before_it(restarts: bool) -> None:
    """Within the seven days the others still have the block: what does not count any more is asked for again."""
    world, ada, mal, bob = three(6)
    carl = world.person("Carl")
    world.friends(bob, carl)
    world.grouped("club", bob, ada, mal, carl)
    appoint(bob, mal)
    world.settle()
    world.cut(ada, [bob, mal, carl])
    world.cut(carl, mal)
    carl.send("club", "important")
    world.run(10)
    places = newest(carl)
    before = must(mal.space("club").mine).length
    delete(mal, places)
    withhold(mal, places)
    world.run(10)
    bob.stop()
    carl.stop()
    world.wires.heal()
    world.run(30)
    assert states(ada, places) == [EntryState.CLEARED]
    if restarts:
        ada.restart()
        world.run(10)
    mal.stop()
    bob.boot()
    remove(bob, mal, length=before)
    world.run(30)
    assert states(ada, places) == [EntryState.OPENED]
    assert world.texts(ada, "club") == world.texts(bob, "club") == ["important"]
    nothing_broke(ada, bob)


def test_a_member_cannot_erase_its_own_control_entry_from_a_late_device() -> None:
    """Others built upon it: whoever comes later needs it, whatever its author says."""
    world, ada, mal, bob = three(7)
    world.grouped("club", mal, ada, bob)
    world.cut(ada, [mal, bob])
    entitle(mal, "renamed")
    places = newest(mal)
    world.run(10)
    bob.do(lambda engine: open_epoch(bob.space("club"), ms(bob)))
    bob.send("club", "after it")
    world.run(10)
    delete(mal, places)
    withhold(mal, places)
    world.run(10)
    world.cut(bob, [mal, ada])
    world.wires.heal()
    world.cut(ada, bob)
    world.run(40)
    assert feed_of(ada, mal).length == must(mal.space("club").mine).length
    world.wires.heal()
    mal.stop()
    world.run(60)
    assert ada.space("club").state.title == "renamed"
    assert ada.space("club").graph.missing() == ()
    ada.send("club", "mine")
    world.run(30)
    assert sorted(world.texts(ada, "club")) == sorted(world.texts(bob, "club")) == ["after it", "mine"]
    nothing_broke(ada, bob)


def test_a_peer_that_never_answers_does_not_keep_others_from_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    world, ada, mal, bob, places = bob_writes_while_ada_is_away(8)
    delete(mal, places)
    withhold(mal, places)
    replication, asked = mal.engine.replication, list[int]()
    receive = replication.receive

    def deaf(peer: Peer, link: SpaceLink, type: int, body: bytes, now: float) -> None:
        if type == FETCH:
            asked.append(type)
        else:
            receive(peer, link, type, body, now)

    monkeypatch.setattr(replication, "receive", deaf)
    world.heal()
    world.cut(ada, bob)
    world.run(5)
    assert asked
    world.heal()
    world.run(30)
    assert world.texts(ada, "club") == ["important"]
    nothing_broke(ada, bob)


def test_nothing_is_asked_of_anybody_while_nothing_is_kept_back() -> None:
    world, ada, mal, bob = three(9)
    world.grouped("club", bob, ada, mal)
    for device in (ada, mal, bob):
        device.send("club", f"of {device.owner}")
    world.settle()
    assert [device.engine.replication.fetching.asked for device in (ada, mal, bob)] == [0, 0, 0]
