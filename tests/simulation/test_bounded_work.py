"""What a member costs others stands in proportion to what it sends: work is counted, never timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.merkle import leaf_of
from identity.codec import Writer
from sync.engine import history
from sync.engine.engine import Engine
from sync.engine.peer import Peer, SpaceLink
from sync.replicate.encoding import encode
from sync.replicate.messages import HistoryAnswer, HistoryRequest, Span
from sync.space.feed import Feed, StoredEntry
from sync.space.feed_store import FeedStore
from sync.space.space import Space
from tests.simulation.test_attacks import device_id, ms, must, nothing_broke, peer, three
from tests.support.device import Device

Patch = pytest.MonkeyPatch


def write_junk(device: Device, space: Space, count: int) -> None:
    """So many entries of its own feed under keys that nobody has."""
    text = encode_plaintext(Plaintext(Kind.MERGE, 1, (), b""))

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
