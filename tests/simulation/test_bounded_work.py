"""What a member costs others stands in proportion to what it sends: work is counted, never timed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from crdt.log import merkle
from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import Head, sign_head
from crdt.log.merkle import leaf_of
from crdt.space.control import ControlBody, Parent, Set, encode_control
from identity.codec import Writer
from sync.engine import fetching, history
from sync.engine.engine import Engine
from sync.engine.peer import Peer, SpaceLink
from sync.replicate import ranges
from sync.replicate import replicator as replicators
from sync.replicate.encoding import TYPES, encode
from sync.replicate.messages import (
    Ack,
    Blocks,
    Branch,
    Credit,
    Digest,
    Fetch,
    Fetched,
    Fork,
    Frontier,
    HistoryAnswer,
    HistoryPiece,
    HistoryRequest,
    Message,
    Proof,
    Proved,
    Record,
    Refuse,
    Span,
    Stretch,
    StretchBlocks,
    Tips,
    Want,
    WantProofs,
    WantRecords,
    Wants,
    WantStretch,
)
from sync.space import feed as feeds
from sync.space import feed_store as feed_stores
from sync.space import inbound
from sync.space.feed import Feed, StoredEntry
from sync.space.feed_store import FeedStore
from sync.space.outbound import Draft
from sync.space.space import Space
from tests.simulation.test_attacks import ms, must, nothing_broke, peer
from tests.support.device import Device
from tests.support.liar import Liar, withheld
from tests.support.three import device_id, three

Patch = pytest.MonkeyPatch


def write_junk(device: Device, space: Space, count: int, size: int = 0) -> None:
    """So many entries of its own feed under keys that nobody has."""
    text = encode_plaintext(Plaintext(Kind.UPDATE, 1, (), bytes(size)))

    def junk(engine: Engine) -> None:
        feed = must(space.mine)
        before, blocks = feed.tree, []
        for seq in range(feed.length, feed.length + count):
            key, tag = message_key(device.rng(32), feed.core, seq)
            blocks.append(seal_entry(key, tag, feed.core, space.id, seq, text, b""))
        leaves = [leaf_of(block) for block in blocks]
        tree, nodes = before.extend(leaves)
        assert feed.key is not None
        head = sign_head(feed.key, tree)
        space.inbound.absorb(feed.writer, feed.length, blocks, leaves, tree, nodes, head, ms(device))

    device.do(junk)


def link(device: Device, other: Device, space: Space) -> tuple[Peer, SpaceLink]:
    there = peer(device, other)
    return there, there.links[space.id]


@contextmanager
def counting_rows(patch: Patch) -> Iterator[list[int]]:
    """How many rows of entries each slice of the work for a history request reads."""
    slices: list[int] = []
    real, entries = history.next_pack, FeedStore.entries

    def next_pack(*given: object) -> object:
        slices.append(0)
        return real(*given)  # type: ignore[arg-type]

    def counted(self: FeedStore, feed: Feed, start: int, end: int) -> list[StoredEntry]:
        found = entries(self, feed, start, end)
        if slices:
            slices[-1] += len(found)
        return found

    patch.setattr(history, "next_pack", next_pack)
    patch.setattr(FeedStore, "entries", counted)
    yield slices
    patch.undo()


def test_history_request_over_entries_that_nobody_can_give_is_worked_off_in_slices(monkeypatch: Patch) -> None:
    world, ada, mal, bob = three(31)
    space = mal.space(ada)
    write_junk(mal, space, 6000)
    world.run(30)
    feed = ada.space(mal).feed_store.feeds[must(space.mine).core]
    assert feed.length >= 6000

    def ask(engine: Engine) -> None:
        there, at = link(mal, ada, space)
        assert at.replicator is not None
        spans = tuple((feed.writer, seq, seq + 1) for seq in range(0, 8000, 2))
        _, effects = at.replicator.ask_history(spans)
        engine.replication.perform(there, at, effects, mal.now)

    with counting_rows(monkeypatch) as slices:
        mal.do(ask)
        world.run(10)
    assert max(slices) <= history.SLICE_ENTRIES + history.CHUNK
    assert sum(slices) <= 4000
    assert len(slices) >= 2
    ada.send(mal, "still here")
    world.settle()
    assert "still here" in world.texts(mal, ada)
    nothing_broke(ada, bob)


@pytest.mark.parametrize("answer", [False, True])
def test_spans_that_overlap_end_the_connection_before_any_work(answer: bool, monkeypatch: Patch) -> None:
    world, ada, mal, bob = three(32)
    space = mal.space(ada)
    writer = must(space.mine).writer
    spans: tuple[Span, ...] = tuple((writer, 0, 1000) for _ in range(4096))
    body = Writer()
    kind, _ = encode(HistoryAnswer(1, False, ()) if answer else HistoryRequest(1, ()))
    body.uint(1).fixed_uint(0, 1)
    body.array(spans, lambda out, span: out.raw(span[0]).uint(span[1]).uint(span[2]))
    if not answer:
        body.buffer(b"")

    def ask(engine: Engine) -> None:
        there, at = link(mal, ada, space)
        there.mux.send(at.channel, kind, body.finish())

    with counting_rows(monkeypatch) as slices:
        mal.do(ask)
        world.run(0.2)
    assert slices == []
    assert "replication: a message is not what its type says" in world.trace.tail()
    world.settle()
    assert [one.device for one in ada.engine.peers.values() if one.device == device_id(mal)]
    nothing_broke(ada, bob)


def test_not_for_you_is_looked_up_once_for_each_span(monkeypatch: Patch) -> None:
    """Mal answers a request with thousands of spans again and again; Ada waits for thousands of entries."""
    world, ada, mal, bob = three(33)
    world.grouped("club", bob, ada, mal)
    club = mal.space("club")
    write_junk(mal, club, 3000)
    world.run(30)
    there = ada.space("club")
    feed = there.feed_store.feeds[must(club.mine).core]
    looked: list[int] = []
    entry = FeedStore.entry

    def counted(self: FeedStore, feed: Feed, seq: int) -> StoredEntry | None:
        looked.append(seq)
        return entry(self, feed, seq)

    waiting = len(there.inbound.sealed[feed.core])
    monkeypatch.setattr(FeedStore, "entry", counted)
    for _ in range(20):
        spans = [(seq, seq + 1) for seq in range(10**6, 10**6 + 4096)]
        there.inbound.deny(feed, spans, own=False)
    assert looked == []
    there.inbound.deny(feed, [(0, 2**39)], own=False)
    assert len(looked) <= waiting
    monkeypatch.undo()
    nothing_broke(ada, bob)


def test_what_a_member_keeps_back_is_asked_for_within_bounds_however_much_it_is(monkeypatch: Patch) -> None:
    """Mal shows hashes alone of far more blocks than a device remembers to have asked for."""
    monkeypatch.setattr(fetching, "MAX_LACKS", 40)
    monkeypatch.setattr(fetching, "MAX_WITHHELD", 100)
    world, ada, mal, bob = three(35)
    world.grouped("club", bob, ada, mal)
    club = mal.space("club")
    start = must(club.mine).length

    def hashes(peer: Peer, link: SpaceLink, message: Message) -> Iterator[Message]:
        if isinstance(message, Blocks) and message.writer == must(club.mine).writer:
            message = withheld(club.feed_store, message, range(start, 2**40))
        yield Fetched(message.point, None) if isinstance(message, Fetched) else message

    Liar(mal, says=hashes)
    write_junk(mal, club, 300)
    world.run(2)
    there = ada.space("club")
    assert len(there.inbound.withheld[must(club.mine).core]) >= 299
    world.run(120)
    # 100 at a time, of two peers, after 1, 10, 20, 40 and 80 seconds; nothing is asked for at every look.
    assert 300 < ada.engine.replication.fetching.asked <= 100 * 2 * 6
    bob.send("club", "still here")
    world.settle()
    assert "still here" in world.texts(ada, "club")
    nothing_broke(ada, bob)


def test_tips_of_a_liar_cost_nobody_else_a_question_and_one_look_at_each_block(monkeypatch: Patch) -> None:
    """Mal tells of entries that never were, at the place of a long block of his that is here."""
    world, ada, mal, bob = three(36)
    world.grouped("club", bob, ada, mal)
    club = mal.space("club")
    write_junk(mal, club, 2, size=200_000)
    world.run(30)
    core, seq = must(club.mine).core, must(club.mine).length - 1
    asked, hashed = list[int](), list[int]()
    receive, leaf_hash = bob.engine.replication.receive, merkle.leaf_hash

    def heard(peer: Peer, link: SpaceLink, type: int, body: bytes, now: float) -> None:
        asked.extend([type] if type == encode(Fetch(()))[0] else [])
        receive(peer, link, type, body, now)

    def counted(block: bytes) -> bytes:
        hashed.append(len(block))
        return leaf_hash(block)

    monkeypatch.setattr(bob.engine.replication, "receive", heard)
    monkeypatch.setattr(feed_stores, "leaf_hash", counted)
    monkeypatch.setattr(feeds, "leaf_of", lambda block: (len(block), counted(block)))
    Liar(mal).send(ada, club.id, Tips(tuple((core, seq, mal.rng(32)) for _ in range(1000))))
    world.run(60)
    assert ada.engine.replication.fetching.asked >= 1000
    assert asked == []
    assert sum(hashed) < 5 * 200_000
    monkeypatch.undo()
    nothing_broke(ada, bob)


def test_made_up_parents_are_waited_for_once_and_for_a_minute() -> None:
    world, ada, mal, bob = three(37)
    world.grouped("club", bob, ada, mal)

    def orphan() -> None:
        named = (Parent(mal.rng(32), 0, mal.rng(32)),)
        body = encode_control(ControlBody(named, (Set("title", b"x"),)))
        mal.do(lambda engine: mal.space("club").append([Draft(Kind.CONTROL, lambda seq: body)], ms(mal)))
        world.run(2)

    def waits() -> tuple[bool, bool]:
        """Whether something is missing, and whether it is waited for."""
        members = ada.space("club").members
        end = members.wait_for_missing(ms(ada))
        assert members.expects_control == (end is not None) and (end or 0) <= ms(ada) + 60_000
        return bool(members.missing_cores), end is not None

    assert waits() == (False, False)
    orphan()
    assert waits() == (True, True)
    world.run(61)
    orphan()
    assert waits() == (True, False)
    nothing_broke(ada, bob)


# -- every message, at its worst --------------------------------------------------------------------------------


class Steps:
    """Work of a stretch of code: function calls, hashed bytes (a block of 64 for a step) and signatures (200 steps)."""

    def __init__(self, patch: Patch) -> None:
        self.count = 0
        self._patch = patch

    def __enter__(self) -> Steps:
        def calls(frame: object, event: str, argument: object) -> None:
            self.count += event in ("call", "c_call")

        hashed, verified = merkle.leaf_hash, Head.verify

        def leaf_hash(block: bytes) -> bytes:
            self.count += len(block) // 64
            return hashed(block)

        def verify(self_: Head) -> bool:
            self.count += 200
            return verified(self_)

        for module in (merkle, feed_stores, feeds, inbound, replicators, ranges):
            if hasattr(module, "leaf_hash"):
                self._patch.setattr(module, "leaf_hash", leaf_hash)
        self._patch.setattr(Head, "verify", verify)
        sys.setprofile(calls)
        return self

    def __exit__(self, *rest: object) -> None:
        sys.setprofile(None)
        self._patch.undo()


def keys_of(count: int) -> list[bytes]:
    return [count.to_bytes(4, "big") + number.to_bytes(4, "big") + bytes(24) for number in range(count)]


def signed(feed: Feed, space: Space, length: int) -> Head:
    """A head that its writer signed long ago, within what is stored."""
    assert feed.key is not None
    nodes = space.feed_store.nodes_of(feed, merkle.roots_at(length))
    return sign_head(feed.key, merkle.Tree(length, tuple(nodes)))


def worst_of(kind: type, mine: Feed, space: Space, other: Feed) -> list[list[Message]]:
    """Hostile content of one message type: as much of it as may be, or as costly as a member can make it.

    mine: the feed of the liar, which is here whole; other: a feed of somebody else that is here.
    """
    core, writer, nothing = mine.core, mine.writer, bytes(32)
    leaves = tuple((2**40, nothing) for _ in range(48))
    points = [(core, seq % mine.length, seq.to_bytes(32, "big")) for seq in range(1024)]
    questions = [(core, 1 + seq % mine.length, seq.to_bytes(32, "big"), 0) for seq in range(1024)]
    head = signed(mine, space, mine.length)
    ends = [signed(mine, space, length) for length in range(mine.length - 31, mine.length + 1)]
    junk = [Head(key, 2**30, nothing, bytes(64)) for key in keys_of(1024)]
    blocks: dict[type, list[list[Message]]] = {
        Digest: [[Digest(nothing, True)]],
        Frontier: [
            [Frontier(True, True, tuple(junk), tuple((key, 2**40) for key in keys_of(1024)), tuple(keys_of(4096)))],
            [Frontier(heads=(one,)) for one in ends],
            [Frontier(heads=(replace(head, signature=bytes(64)),))],
        ],
        Wants: [
            [Wants(tuple(Want(key, 1, 0, 0, nothing) for key in keys_of(256)))],
            [Wants((Want(writer, n + 1, mine.length - 1, 0, nothing),)) for n in range(256)],
        ],
        Blocks: [
            [Blocks(writer, 0, 0, None, tuple((0, nothing) for _ in range(2048)), leaves)],
            [Blocks(writer, 0, mine.length, None, tuple(b"" for _ in range(2048)), leaves)],
            [Blocks(other.writer, 0, other.length, None, (bytes(200_000),), leaves)],
        ],
        Credit: [[Credit(2**31)] * 100],
        Ack: [[Ack(tuple((key, 2**40) for key in keys_of(4096)))]],
        Refuse: [[Refuse(tuple(keys_of(4096)))]],
        Branch: [
            [Branch(one, 1, leaves, leaves) for one in ends],
            [Branch(head, mine.length, leaves, leaves)],
        ],
        Record: [[Record(writer, 2**50 + n, bytes(60_000)) for n in range(4)], [Record(nothing, 1, b"")] * 100],
        WantRecords: [[WantRecords(tuple(keys_of(4096)))], [WantRecords((writer,))] * 100],
        HistoryRequest: [
            [HistoryRequest(1, tuple((writer, seq, seq + 1) for seq in range(0, 8192, 2)))],
            [HistoryRequest(n + 1, None) for n in range(4)],
            [HistoryRequest(n + 1, ((writer, 0, 2**40),)) for n in range(4)],
        ],
        HistoryPiece: [[HistoryPiece(1, 0, 0, False, nothing, bytes(262_144))]],
        HistoryAnswer: [[HistoryAnswer(1, False, tuple((writer, seq, seq + 1) for seq in range(0, 8192, 2)))]],
        Fetch: [[Fetch(tuple(points[at : at + 256])) for at in range(0, 1024, 256)]],
        Fetched: [[Fetched(points[0], bytes(200_000), Proof(head, 0, leaves, leaves, leaves))]],
        Fork: [
            [Fork(head, replace(head, root=nothing), 1, leaves, leaves, leaves, leaves)],
            [Fork(one, replace(one, root=nothing)) for one in ends],
        ],
        Tips: [[Tips(tuple(points))] * 4],
        WantProofs: [[WantProofs(tuple(questions[at : at + 256])) for at in range(0, 1024, 256)]],
        Proved: [[Proved(questions[0], Proof(head, 0, leaves, leaves, leaves))]],
        WantStretch: [[WantStretch(Stretch(core, n, mine.length, nothing)) for n in range(200)]],
        StretchBlocks: [[StretchBlocks(Stretch(core, 0, 3000, nothing), tuple(b"" for _ in range(2048)), leaves)]],
    }
    return blocks[kind]


def test_no_message_costs_more_than_its_bytes_suggest(monkeypatch: Patch) -> None:
    """Mal's feed is here with blocks that nobody can read, some of them long; he sends Ada the worst of each type."""
    world, ada, mal, bob = three(34)
    world.grouped("club", bob, ada, mal)
    club = mal.space("club")
    write_junk(mal, club, 700)
    write_junk(mal, club, 16, size=200_000)
    world.run(60)
    there = ada.space("club")
    mine, others = must(club.mine), must(bob.space("club").mine)
    assert there.feed_store.feeds[mine.core].length == mine.length
    stored = there.feed_store.feeds[mine.core].tree.size
    dear: list[tuple[str, int, int]] = []
    for kind, _, _ in TYPES.values():
        for messages in worst_of(kind, mine, club, there.feed_store.feeds[others.core]):
            ada.restart()
            world.run(3)
            at = peer(ada, mal)
            bodies = [encode(message) for message in messages]
            space_link = at.links[there.id]
            with Steps(monkeypatch) as steps:
                for type_, body in bodies:
                    ada.engine.replication.receive(at, space_link, type_, body, ada.now)
            # What it stored here before is hashed at most once; a request for history is worked off in slices.
            allowed = stored // 64 + (len(messages) * history.SLICE_ENTRIES * 12 if kind is HistoryRequest else 20_000)
            size = sum(len(body) for _, body in bodies)
            if steps.count > allowed + 4 * size:
                dear.append((kind.__name__, steps.count, size))
            ada.engine.start_over()
    assert dear == []
    ada.restart()
    world.settle()
    ada.send("club", "still here")
    world.settle()
    assert "still here" in world.texts(bob, "club")
