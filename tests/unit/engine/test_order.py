"""Rows are a fold of what is known: in whatever order feeds arrive, and however they are cut into commits."""

from __future__ import annotations

from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.docs.chat import Edit, Message, Reaction
from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.docs.ids import message_id
from crdt.docs.rows import Row
from crdt.docs.schema import Value
from crdt.log.entry import Kind
from crdt.log.merkle import leaf_of
from sync.engine.engine import Engine
from sync.engine.profile import Profile
from sync.space import timeline
from sync.space.outbound import Draft
from sync.space.space import Space
from tests.support.device import NOTES
from tests.support.kem import SIMULATED
from tests.support.streams import stream
from tests.support.world import World

MS = 1_760_003_600_000
FIRST, SECOND, THIRD = (bytes([n]) * 16 for n in (1, 2, 3))  # nonces


class Written:
    """Three messages, an edit and a mark by the phone; a deletion by the desktop that names the first message and the
    blocks of all the others.  The tablet has heard of none of it."""

    def __init__(self) -> None:
        world = World("order")
        phone, desk, tablet = world.linked("Ada", devices=3)
        world.cut(phone, tablet)
        world.cut(desk, tablet)
        tablet.stop()
        self.store, self.chat = tablet.store, phone.space(NOTES).id
        notes = phone.space(NOTES)
        author = next(iter(notes.state.members.values())).core
        self.first, self.second, self.third = (message_id(author, nonce) for nonce in (FIRST, SECOND, THIRD))
        self.phone = notes.mine.writer if notes.mine is not None else b""
        start = notes.mine.length if notes.mine is not None else 0

        def write(engine: Engine) -> None:
            groups: list[list[Value]] = [
                [Message(FIRST, "first")],
                [Message(SECOND, "second"), Message(THIRD, "third")],
                [Edit(self.second, "second thought")],
                [Reaction(self.third, "+", True)],
            ]
            engine.profile.write(engine.profile.spaces[self.chat], groups, MS)

        phone.do(write)
        world.settle()

        def delete(engine: Engine) -> None:
            space = engine.profile.spaces[self.chat]
            feed = space.feed_store.by_writer[self.phone]
            blocks = []
            for seq in range(start, feed.length):
                entry = space.feed_store.entry(feed, seq)
                assert entry is not None
                blocks.append(Block(feed.core, seq, leaf_of(entry.block)[1]))
            body = encode_deletion(Deletion(self.first, tuple(sorted(blocks))))
            space.append([Draft(Kind.DELETION, lambda seq: body)], MS + 1)

        self.source = desk.space(NOTES)
        told = self.source.feed_store.by_writer[self.phone]
        # As they were sent: whoever carries out the deletion has them no more.
        self.sent = self.source.feed_store.blocks(self.phone, 0, told.length, 1 << 30)
        desk.do(delete)
        self.source = desk.space(NOTES)
        mine = self.source.mine
        self.desk = mine.writer if mine is not None else b""

    def reader(self) -> Profile:
        return Profile(self.store.reopen(None), stream("reader"), SIMULATED)


@lru_cache(maxsize=1)
def written() -> Written:
    return Written()


def step(profile: Profile, source: Space, writer: bytes, count: int) -> None:
    """The next blocks of a feed, one commit."""
    there = source.feed_store.by_writer[writer]
    space = profile.spaces[source.id]
    known = space.feed_store.tree(writer)
    end = min(known.length + count, there.length)
    if end == known.length:
        return
    blocks = source.feed_store.blocks(writer, known.length, end, 1 << 30)
    if writer == written().phone:
        blocks = written().sent[known.length : end]
    leaves = [leaf_of(block) for block in blocks if isinstance(block, bytes)]
    tree, nodes = known.extend(leaves)
    head = there.head if end == there.length else None
    space.inbound.absorb(writer, known.length, blocks, leaves, tree, nodes, head, MS + 2)
    profile.commit(MS + 2)


def rows(profile: Profile, chat: bytes) -> list[Row]:
    return timeline.page(profile.store, chat, 100)


def everything(profile: Profile) -> list[Row]:
    for writer in (written().phone, written().desk):
        step(profile, written().source, writer, 1000)
    return rows(profile, written().chat)


def test_deletion_hides_its_blocks_in_either_order_of_arrival() -> None:
    made = written()
    messages_first, deletion_first = made.reader(), made.reader()
    step(messages_first, made.source, made.phone, 1000)
    assert [row.text for row in rows(messages_first, made.chat)] == ["first", "second thought", "third"]
    step(deletion_first, made.source, made.desk, 1000)
    assert rows(deletion_first, made.chat) == []
    shown = everything(deletion_first)
    assert everything(messages_first) == shown
    assert [(row.id, row.deleted, row.text, row.marked) for row in shown] == [
        (id_, True, "", False) for id_ in (made.first, made.second, made.third)
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=12))
def test_rows_are_equal_for_every_order_of_arrival(steps: list[tuple[bool, int]]) -> None:
    made = written()
    profile = made.reader()
    for phone, count in steps:
        step(profile, made.source, made.phone if phone else made.desk, count)
    assert everything(profile) == everything(made.reader())
