"""Frontier exchange ends with equal frontiers: any split, any order of delivery, connections that break anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.replicate.effects import SendMessage
from tests.unit.replicate.nodes import World, writer_key

NAMES = ("Ada", "Bo", "Cy", "Di")
pairs = st.sampled_from([(a, b) for a in NAMES for b in NAMES if a < b])


@dataclass(frozen=True)
class Write:
    name: str
    sizes: tuple[int, ...]
    push: bool


@dataclass(frozen=True)
class Note:
    name: str
    counter: int


@dataclass(frozen=True)
class Join:
    pair: tuple[str, str]


@dataclass(frozen=True)
class Cut:
    pair: tuple[str, str]


@dataclass(frozen=True)
class Deliver:
    count: int


@dataclass(frozen=True)
class Erase:
    name: str
    place: int


Move = Write | Note | Join | Cut | Deliver | Erase
names = st.sampled_from(NAMES)
sizes = st.lists(st.sampled_from([0, 1, 40, 3000, 90_000]), min_size=1, max_size=9).map(tuple)
moves = st.lists(
    st.one_of(
        st.builds(Write, names, sizes, st.booleans()),
        st.builds(Note, names, st.integers(1, 9)),
        st.builds(Join, pairs),
        st.builds(Cut, pairs),
        st.builds(Deliver, st.integers(1, 40)),
        st.builds(Erase, names, st.integers(0, 30)),
    ),
    max_size=40,
)


def play(world: World, script: list[Move]) -> None:
    for move in script:
        match move:
            case Write(name, lengths, push):
                held = len(world[name].read(name))
                blocks = [bytes([held + place & 255]) * size for place, size in enumerate(lengths)]
                world[name].write(*blocks, push=push)
            case Note(name, counter):
                mine = world[name].view.records().get(writer_key(name).public, 0)
                world[name].record(mine + counter)
            case Join((first, second)):
                if second not in world[first].links:
                    world.link(first, second)
            case Cut((first, second)):
                world.cut(first, second)
            case Deliver(count):
                for _ in range(count):
                    world.step()
            case Erase(name, place):
                feed = world[name].view.of(writer_key(name).public)
                if place < len(feed.blocks):
                    feed.withhold(place)


def heal(world: World) -> None:
    """Everybody hangs on one chain; claims of links that are gone do not bind."""
    for first in NAMES:
        for second in NAMES:
            world.cut(first, second)
    for first, second in pairwise(NAMES):
        world.link(first, second)
    world.run()


@settings(max_examples=150)
@given(moves, st.integers(0, 2**32))
def test_all_peers_hold_the_same_after_links_heal(script: list[Move], seed: int) -> None:
    world = World(*NAMES, seed=seed)
    play(world, script)
    heal(world)
    first = world["Ada"].view
    for peer in world.peers.values():
        assert peer.view.heads() == first.heads()
        assert peer.view.held_records == first.held_records
        assert not [line for line in peer.seen if "broke" in line or "fork" in line]
        assert all(link.replicator.caught_up for link in peer.links.values())
        for name in NAMES:
            # what its author erased may still be elsewhere; never anything else than what was written
            truth = world[name].view.of(writer_key(name).public).leaves
            assert peer.view.of(writer_key(name).public).leaves == truth or "Erase" in str(script)
            assert [hash_ for _, hash_ in peer.view.of(writer_key(name).public).leaves] == [hash_ for _, hash_ in truth]


@settings(max_examples=150)
@given(moves, st.integers(0, 2**32), st.data())
def test_peer_with_altered_messages_changes_no_stored_block(script: list[Move], seed: int, data: st.DataObject) -> None:
    world = World(*NAMES, seed=seed)

    def lie(message: SendMessage) -> SendMessage:
        if not message.body or data.draw(st.integers(0, 2)):
            return message
        at = data.draw(st.integers(0, len(message.body) - 1))
        change = data.draw(st.integers(1, 255))
        body = message.body[:at] + bytes([message.body[at] ^ change]) + message.body[at + 1 :]
        return SendMessage(message.type, body[: data.draw(st.sampled_from([len(body), at]))])

    world["Di"].tamper = lie
    play(world, script)
    heal(world)
    for name in ("Ada", "Bo", "Cy"):
        truth = [hash_ for _, hash_ in world[name].view.of(writer_key(name).public).leaves]
        for other in ("Ada", "Bo", "Cy"):
            held = world[other].view.of(writer_key(name).public)
            assert [hash_ for _, hash_ in held.leaves] == truth[: held.tree.length]
            assert world[other].view.heads().get(writer_key(name).public) == world[name].view.heads().get(
                writer_key(name).public
            )
        for other in ("Ada", "Bo", "Cy"):
            assert not [line for line in world[other].seen if "broke" in line and not line.startswith("Di")]
            assert world[other].view.forks() == {}


@settings(max_examples=150)
@given(moves, st.integers(0, 2**32), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6))
def test_forked_author_closes_no_connection_between_honest_peers(
    script: list[Move], seed: int, common: int, left: int, right: int
) -> None:
    world = World(*NAMES, "Eve", seed=seed)
    world["Ada"].write(*[b"%d" % n for n in range(common)], *[b"left %d" % n for n in range(left)], feed="Eve")
    play(world, script)
    # Eve was on one branch with Ada and now writes another with Cy, who may hold some of the first
    eve = writer_key("Eve").public
    if len(world["Cy"].read("Eve")) == 0:
        world["Cy"].write(*[b"%d" % n for n in range(common)], *[b"right %d" % n for n in range(right)], feed="Eve")
        heal(world)
        assert all(eve in peer.view.forks() for name, peer in world.peers.items() if name != "Eve")
    heal(world)
    for peer in world.peers.values():
        assert not [line for line in peer.seen if "broke" in line]
    for name in NAMES:
        truth = world[name].view.of(writer_key(name).public).head
        assert all(world[other].view.of(writer_key(name).public).head == truth for other in NAMES)
