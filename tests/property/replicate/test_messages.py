"""Every message reads back as it was written; any bytes are a message or a DecodeError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.log.head import Head
from crdt.log.merkle import MAX_LENGTH
from identity.errors import DecodeError
from sync.replicate.effects import Effect, Violation
from sync.replicate.encoding import TYPES, decode, encode
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
    Stretch,
    StretchBlocks,
    Tips,
    Want,
    WantProofs,
    WantRecords,
    Wants,
    WantStretch,
)
from sync.replicate.replicator import Replicator
from tests.unit.replicate.nodes import Feeds


def tuples(of: st.SearchStrategy[object], size: int = 4) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=size).map(tuple)


def feeds(of: st.SearchStrategy[Any], name: Callable[[Any], bytes]) -> st.SearchStrategy[tuple[object, ...]]:
    """A few of these, no feed twice."""
    return st.lists(of, max_size=4, unique_by=name).map(tuple)


key = st.binary(min_size=32, max_size=32)
signature = st.binary(min_size=64, max_size=64)
length = st.integers(1, MAX_LENGTH)
seq = st.integers(0, 2**39)
number = st.integers(1, 2**32 - 1)
count = st.integers(0, 2**53 - 1)
leaf = st.tuples(count, key)
nodes = tuples(leaf)
head = st.builds(Head, key, length, key, signature)
span = st.tuples(key, seq, st.just(MAX_LENGTH))
spans = st.lists(span, max_size=4, unique_by=lambda span: span[0]).map(lambda found: tuple(sorted(found)))
point = st.tuples(key, seq, key)
block = st.binary(max_size=50) | st.tuples(st.integers(0, 2**19), key)
counters = feeds(st.tuples(key, count), lambda pair: pair[0])
writers = feeds(key, lambda key: key)
want = st.builds(Want, key, number, seq, st.just(0) | st.just(MAX_LENGTH), key, st.booleans())
proof = st.builds(Proof, head, seq, nodes, nodes, nodes)
question = st.tuples(key, st.integers(2**39, MAX_LENGTH), key, seq)
stretch = st.builds(Stretch, key, seq, st.just(MAX_LENGTH), key)


@st.composite
def ranges(draw: st.DrawFn) -> Blocks:
    writer = draw(key)
    news = draw(st.none() | st.builds(Head, st.just(writer), length, key, signature))
    blocks = draw(st.lists(block, min_size=1, max_size=9).map(tuple))
    return Blocks(writer, draw(number), draw(seq), news, blocks, draw(st.lists(leaf, max_size=9).map(tuple)))


pieces = st.builds(
    HistoryPiece, number, number, st.just(0), st.booleans(), st.binary(max_size=99), st.binary(max_size=99)
) | st.builds(HistoryPiece, number, number, number, st.booleans(), st.just(b""), st.binary(max_size=99))
each: list[st.SearchStrategy[Message]] = [
    st.builds(Digest, key, st.booleans()),
    st.builds(Frontier, st.booleans(), st.booleans(), feeds(head, lambda head: head.writer), counters, writers),
    st.builds(Wants, feeds(want, lambda want: want.writer)),
    ranges(),
    st.builds(Credit, number),
    st.builds(Ack, counters),
    st.builds(Refuse, writers),
    st.builds(Branch, head, length, nodes, nodes),
    st.builds(Record, key, count, st.binary(max_size=99)),
    st.builds(WantRecords, writers),
    st.builds(HistoryRequest, number, st.none() | spans, st.binary(max_size=99)),
    pieces,
    st.builds(HistoryAnswer, number, st.booleans(), spans),
    st.builds(Fetch, tuples(point)),
    st.builds(Fetched, point, st.binary(max_size=99), proof) | st.builds(Fetched, point, st.none()),
    st.builds(Tips, tuples(point)),
    st.builds(WantProofs, tuples(question)),
    st.builds(Proved, question, st.none() | proof),
    st.builds(WantStretch, stretch),
    st.builds(StretchBlocks, stretch, tuples(block), nodes),
    st.builds(Fork, head, head, seq, nodes, nodes, nodes, nodes),
]
anything = st.one_of(each)


@given(anything)
def test_every_message_decodes_to_what_was_encoded(message: Message) -> None:
    kind, body = encode(message)
    assert decode(kind, body) == message


@settings(max_examples=500)
@given(st.integers(0, 20), st.binary(max_size=400))
def test_any_bytes_decode_to_a_message_or_raise_decode_error(kind: int, body: bytes) -> None:
    try:
        message = decode(kind, body)
    except DecodeError:
        return
    assert (message is None) == (kind not in TYPES)
    if message is not None:
        assert encode(message) == (kind, body)


@settings(max_examples=500)
@given(anything, st.integers(0), st.integers(1, 255), st.booleans())
def test_altered_message_bytes_decode_or_raise_decode_error(message: Message, at: int, change: int, cut: bool) -> None:
    kind, body = encode(message)
    at %= len(body)
    near = body[:at] if cut else body[:at] + bytes([body[at] ^ change]) + body[at + 1 :]
    try:
        found = decode(kind, near)
    except DecodeError:
        return
    assert found is not None
    assert encode(found) == (kind, near)


@settings(max_examples=300)
@given(st.lists(anything, max_size=12))
def test_replicator_answers_any_messages_without_raising(script: list[Message]) -> None:
    replicator = Replicator(Feeds(), admits=lambda writer: writer[0] < 200, verify_record=lambda *_: True)
    effects: list[Effect] = replicator.receive(*encode(Digest(bytes(32), False)), 0.0)
    for message in script:
        effects += replicator.receive(*encode(message), 0.0)
    assert sum(isinstance(effect, Violation) for effect in effects) <= 1
