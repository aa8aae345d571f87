"""How the messages of a space channel are written and read.  Readers allocate nothing that a count merely promises."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

from crdt.log.entry import MAX_BLOCK
from crdt.log.head import Head, read_head, read_length, write_head
from crdt.log.merkle import MAX_LENGTH, Leaf
from crdt.space.record import MAX_RECORD
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import SUITE, VERSION
from sync.replicate.messages import (
    MAX_FEEDS,
    MAX_ID,
    MAX_MESSAGE,
    MAX_NODES,
    MAX_PACK_KEY,
    MAX_PART,
    MAX_PIECE,
    MAX_POINTS,
    MAX_PREKEY,
    MAX_RANGE,
    MAX_TIPS,
    Ack,
    Block,
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
    Point,
    Proof,
    Proved,
    Question,
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

_START = bytes((VERSION, SUITE))
T = TypeVar("T")


def _write_leaf(out: Writer, leaf: Leaf) -> None:
    out.uint(leaf[0]).raw(leaf[1])


def _read_leaf(data: Reader) -> Leaf:
    return data.uint(), data.fixed(32)


def _nodes(data: Reader) -> tuple[Leaf, ...]:
    return tuple(data.array(_read_leaf, MAX_NODES))


def _write_span(out: Writer, span: Span) -> None:
    out.raw(span[0]).uint(span[1]).uint(span[2])


def _read_span(data: Reader) -> Span:
    writer, start, end = data.fixed(32), data.uint(MAX_LENGTH), data.uint(MAX_LENGTH)
    if start >= end:
        raise DecodeError("an empty span")
    return writer, start, end


def _spans(data: Reader) -> tuple[Span, ...]:
    """Disjoint and rising, so that none of them costs whoever looks them up more than once."""
    found = tuple(data.array(_read_span, MAX_FEEDS))
    if not all(one[0] < other[0] or (one[0] == other[0] and one[2] <= other[1]) for one, other in pairwise(found)):
        raise DecodeError("spans that overlap, or do not rise")
    return found


def _write_point(out: Writer, point: Point) -> None:
    out.raw(point[0]).uint(point[1]).raw(point[2])


def _read_point(data: Reader) -> Point:
    return data.fixed(32), data.uint(MAX_LENGTH - 1), data.fixed(32)


def _write_pair(out: Writer, pair: tuple[bytes, int]) -> None:
    out.raw(pair[0]).uint(pair[1])


def _read_pair(data: Reader) -> tuple[bytes, int]:
    return data.fixed(32), data.uint()


def _writers(data: Reader) -> tuple[bytes, ...]:
    return _once(tuple(data.array(lambda r: r.fixed(32), MAX_FEEDS)), lambda writer: writer)


def _once(found: tuple[T, ...], of: Callable[[T], bytes]) -> tuple[T, ...]:
    """No feed twice in one message: each costs a look at what is stored."""
    if len({of(one) for one in found}) != len(found):
        raise DecodeError("a feed twice")
    return found


def _flags(data: Reader, known: int) -> int:
    flags = data.fixed_uint(1)
    if flags > known:
        raise DecodeError("unknown flags")
    return flags


def _write_digest(out: Writer, m: Digest) -> None:
    out.raw(_START).raw(m.value).fixed_uint(m.durable, 1)


def _read_digest(data: Reader) -> Digest:
    if data.fixed(2) != _START:
        raise DecodeError("replication of another version or suite")
    return Digest(data.fixed(32), data.flag())


def _write_frontier(out: Writer, m: Frontier) -> None:
    out.fixed_uint(m.last | m.durable << 1, 1)
    out.array(m.heads, write_head).array(m.records, _write_pair).array(m.forks, Writer.raw)


def _read_frontier(data: Reader) -> Frontier:
    flags = _flags(data, 3)
    heads = _once(tuple(data.array(read_head, MAX_PART)), lambda head: head.writer)
    records = _once(tuple(data.array(_read_pair, MAX_PART)), lambda pair: pair[0])
    return Frontier(bool(flags & 1), bool(flags & 2), heads, records, _writers(data))


def _write_wants(out: Writer, m: Wants) -> None:
    def write(out: Writer, want: Want) -> None:
        out.raw(want.writer).uint(want.ticket).uint(want.start).uint(want.end).raw(want.anchor)
        out.fixed_uint(want.leaves, 1)

    out.array(m.wants, write)


def _read_wants(data: Reader) -> Wants:
    def read(data: Reader) -> Want:
        writer, ticket = data.fixed(32), data.uint(MAX_ID)
        start, end = data.uint(MAX_LENGTH), data.uint(MAX_LENGTH)
        if not ticket or 0 < end <= start:
            raise DecodeError("a want of nothing")
        return Want(writer, ticket, start, end, data.fixed(32), data.flag())

    return Wants(_once(tuple(data.array(read, MAX_POINTS)), lambda want: want.writer))


def _write_blocks(out: Writer, m: Blocks) -> None:
    out.raw(m.writer).uint(m.ticket).uint(m.start).fixed_uint(m.head is not None, 1)
    if m.head is not None:
        out.uint(m.head.length).raw(m.head.root).raw(m.head.signature)
    _write_block_list(out, m.blocks)
    out.array(m.tail, _write_leaf)


def _write_block_list(out: Writer, blocks: tuple[Block, ...]) -> None:
    out.uint(len(blocks))
    for block in blocks:
        if isinstance(block, tuple):
            out.uint(block[0] << 1 | 1).raw(block[1])
        else:
            out.uint(len(block) << 1).raw(block)


def _read_blocks(data: Reader) -> Blocks:
    writer, ticket, start = data.fixed(32), data.uint(MAX_ID), data.uint(MAX_LENGTH)
    head = Head(writer, read_length(data), data.fixed(32), data.fixed(64)) if data.flag() else None
    blocks, tail = _read_range(data)
    if not blocks:
        raise DecodeError("a range of no blocks")
    return Blocks(writer, ticket, start, head, blocks, tail)


def _read_range(data: Reader) -> tuple[tuple[Block, ...], tuple[Leaf, ...]]:
    count = data.uint(MAX_RANGE)
    raw = data.rest()
    blocks, at = _read_block_list(raw, count)
    rest = Reader(raw)
    rest.at = at
    tail = _nodes(rest)
    rest.end()
    return tuple(blocks), tail


def _read_block_list(raw: bytes, count: int) -> tuple[list[Block], int]:
    """(blocks, where they end).  The one decoder that runs once a block: no reader, no calls."""
    blocks: list[Block] = []
    at, end = 0, len(raw)
    for _ in range(count):
        if at >= end:
            raise DecodeError("message ends early")
        size = raw[at]
        at += 1
        if size > 0xFC:
            width = 2 << (size - 0xFD)
            size = int.from_bytes(raw[at : at + width], "little")
            at += width
            if size < (0xFD if width == 2 else 1 << (4 * width)) or size > 4 * MAX_BLOCK + 1:
                raise DecodeError("not the size of a block")
        if size & 1:  # a withheld one; at an odd place it tells the size of its pair
            blocks.append((size >> 1, raw[at : at + 32]))
            at += 32
        else:
            size >>= 1
            if size > MAX_BLOCK:
                raise DecodeError("longer than an entry may be")
            blocks.append(raw[at : at + size])
            at += size
    if at > end:
        raise DecodeError("message ends early")
    return blocks, at


def _write_branch(out: Writer, m: Branch) -> None:
    write_head(out, m.head).uint(m.length).array(m.roots, _write_leaf).array(m.tail, _write_leaf)


def _read_branch(data: Reader) -> Branch:
    return Branch(read_head(data), read_length(data), _nodes(data), _nodes(data))


def _write_stretch(out: Writer, stretch: Stretch) -> None:
    out.raw(stretch.core).uint(stretch.start).uint(stretch.length).raw(stretch.root)


def _read_stretch(data: Reader) -> Stretch:
    stretch = Stretch(data.fixed(32), data.uint(MAX_LENGTH), read_length(data), data.fixed(32))
    if stretch.start >= stretch.length:
        raise DecodeError("a stretch of nothing")
    return stretch


def _write_stretch_blocks(out: Writer, m: StretchBlocks) -> None:
    _write_stretch(out, m.stretch)
    _write_block_list(out, m.blocks)
    out.array(m.tail, _write_leaf)


def _read_stretch_blocks(data: Reader) -> StretchBlocks:
    stretch = _read_stretch(data)
    blocks, tail = _read_range(data)
    if len(blocks) > stretch.length - stretch.start:
        raise DecodeError("blocks beyond the end of a stretch")
    return StretchBlocks(stretch, blocks, tail)


def _write_record(out: Writer, m: Record) -> None:
    out.raw(m.writer).uint(m.counter).buffer(m.data)


def _read_record(data: Reader) -> Record:
    return Record(data.fixed(32), data.uint(), data.buffer(MAX_RECORD))


def _write_request(out: Writer, m: HistoryRequest) -> None:
    out.uint(m.request).fixed_uint(m.spans is None, 1)
    if m.spans is not None:
        out.array(m.spans, _write_span)
    out.buffer(m.prekey)


def _read_request(data: Reader) -> HistoryRequest:
    request, everything = data.uint(MAX_ID), data.flag()
    return HistoryRequest(request, None if everything else _spans(data), data.buffer(MAX_PREKEY))


def _write_piece(out: Writer, m: HistoryPiece) -> None:
    out.uint(m.request).uint(m.pack).uint(m.index).fixed_uint(m.last, 1)
    if m.index == 0:
        out.buffer(m.key)
    out.buffer(m.chunk)


def _read_piece(data: Reader) -> HistoryPiece:
    request, pack, index, last = data.uint(MAX_ID), data.uint(MAX_ID), data.uint(MAX_ID), data.flag()
    return HistoryPiece(request, pack, index, last, b"" if index else data.buffer(MAX_PACK_KEY), data.buffer(MAX_PIECE))


def _write_answer(out: Writer, m: HistoryAnswer) -> None:
    out.uint(m.request).fixed_uint(m.done, 1).array(m.spans, _write_span)


def _read_answer(data: Reader) -> HistoryAnswer:
    return HistoryAnswer(data.uint(MAX_ID), data.flag(), _spans(data))


def _write_proof(out: Writer, proof: Proof) -> None:
    write_head(out, proof.head).uint(proof.at)
    for nodes in (proof.roots, proof.middle, proof.tail):
        out.array(nodes, _write_leaf)


def _read_proof(data: Reader) -> Proof:
    return Proof(read_head(data), data.uint(MAX_LENGTH), _nodes(data), _nodes(data), _nodes(data))


def _write_fetched(out: Writer, m: Fetched) -> None:
    _write_point(out, m.point)
    out.fixed_uint(m.block is not None, 1)
    if m.block is not None and m.proof is not None:
        _write_proof(out.buffer(m.block), m.proof)


def _read_fetched(data: Reader) -> Fetched:
    point = _read_point(data)
    return Fetched(point, data.buffer(MAX_BLOCK), _read_proof(data)) if data.flag() else Fetched(point, None)


def _write_question(out: Writer, question: Question) -> None:
    core, length, root, at = question
    out.raw(core).uint(length).raw(root).uint(at)


def _read_question(data: Reader) -> Question:
    core, length, root, at = data.fixed(32), read_length(data), data.fixed(32), data.uint(MAX_LENGTH)
    if at > length:
        raise DecodeError("a question about what comes after an end")
    return core, length, root, at


def _write_proved(out: Writer, m: Proved) -> None:
    _write_question(out, m.question)
    out.fixed_uint(m.proof is not None, 1)
    if m.proof is not None:
        _write_proof(out, m.proof)


def _read_proved(data: Reader) -> Proved:
    question = _read_question(data)
    return Proved(question, _read_proof(data) if data.flag() else None)


def _write_fork(out: Writer, m: Fork) -> None:
    write_head(write_head(out, m.first), m.second).uint(m.length)
    for nodes in (m.first_roots, m.first_tail, m.second_roots, m.second_tail):
        out.array(nodes, _write_leaf)


def _read_fork(data: Reader) -> Fork:
    first, second, length = read_head(data), read_head(data), data.uint(MAX_LENGTH)
    return Fork(first, second, length, _nodes(data), _nodes(data), _nodes(data), _nodes(data))


def _writer_list(out: Writer, m: Refuse | WantRecords) -> None:
    out.array(m.writers, Writer.raw)


# type on the wire -> (class, write, read)
TYPES: dict[int, tuple[type, Callable[[Writer, Any], object], Callable[[Reader], Message]]] = {
    0: (Digest, _write_digest, _read_digest),
    1: (Frontier, _write_frontier, _read_frontier),
    2: (Wants, _write_wants, _read_wants),
    3: (Blocks, _write_blocks, _read_blocks),
    4: (Credit, lambda out, m: out.uint(m.amount), lambda data: Credit(data.uint(MAX_ID))),
    5: (Ack, lambda out, m: out.array(m.lengths, _write_pair), lambda data: Ack(_pairs(data))),
    6: (Refuse, _writer_list, lambda data: Refuse(_writers(data))),
    7: (Branch, _write_branch, _read_branch),
    8: (Record, _write_record, _read_record),
    9: (WantRecords, _writer_list, lambda data: WantRecords(_writers(data))),
    10: (HistoryRequest, _write_request, _read_request),
    11: (HistoryPiece, _write_piece, _read_piece),
    12: (HistoryAnswer, _write_answer, _read_answer),
    13: (Fetch, lambda out, m: out.array(m.points, _write_point), lambda data: Fetch(_points(data))),
    14: (Fetched, _write_fetched, _read_fetched),
    15: (Fork, _write_fork, _read_fork),
    16: (
        Tips,
        lambda out, m: out.array(m.points, _write_point),
        lambda data: Tips(tuple(data.array(_read_point, MAX_TIPS))),
    ),
    17: (
        WantProofs,
        lambda out, m: out.array(m.questions, _write_question),
        lambda data: WantProofs(tuple(data.array(_read_question, MAX_POINTS))),
    ),
    18: (Proved, _write_proved, _read_proved),
    19: (WantStretch, lambda out, m: _write_stretch(out, m.stretch), lambda data: WantStretch(_read_stretch(data))),
    20: (StretchBlocks, _write_stretch_blocks, _read_stretch_blocks),
}
_NUMBERS = {kind: number for number, (kind, _, _) in TYPES.items()}


def _pairs(data: Reader) -> tuple[tuple[bytes, int], ...]:
    return _once(tuple(data.array(_read_pair, MAX_FEEDS)), lambda pair: pair[0])


def _points(data: Reader) -> tuple[Point, ...]:
    return tuple(data.array(_read_point, MAX_POINTS))


def encode(message: Message) -> tuple[int, bytes]:
    """(type, body).  Raises ValueError above 320 KiB."""
    number = _NUMBERS[type(message)]
    out = Writer()
    TYPES[number][1](out, message)
    if len(out) > MAX_MESSAGE:
        raise ValueError("longer than a message may be")
    return number, out.finish()


def decode(number: int, body: bytes) -> Message | None:
    """The message; None for a type this version does not know.  Raises DecodeError."""
    if len(body) > MAX_MESSAGE:
        raise DecodeError("longer than a message may be")
    if number not in TYPES:
        return None
    reader = Reader(body)
    message = TYPES[number][2](reader)
    reader.end()
    return message
