"""What a node and its page process say to each other: compact encoding behind four bytes of length.

The node's frames hold what the guard admitted.  The process that answers has had strangers' bytes in native code, so
its frames are bounded and read as strictly as a peer's.  `docs/decisions/0202-pages-in-a-child-process.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crdt.docs.kinds import KINDS, MAX_STRUCTS, MAX_UPDATE, DocKind
from crdt.docs.page import PageUpdate
from crdt.docs.yjs import MAX_NAME
from crdt.log.merkle import MAX_LENGTH
from identity.codec import Reader, Writer
from identity.errors import DecodeError

LENGTH = 4  # bytes of the length before a frame
MAX_UPDATES = 100_000
MAX_FRAME = 1 << 30
MAX_REASON = 200
BUILD, CHECK = 0, 1


@dataclass(frozen=True, slots=True)
class Job:
    """Build the page of these updates; or apply each by itself, to find one that native code does not survive."""

    build: bool
    kind: DocKind
    updates: tuple[PageUpdate, ...]


@dataclass(frozen=True, slots=True)
class At:
    """The update at this place comes next; the number of updates: all are applied."""

    place: int


@dataclass(frozen=True, slots=True)
class Made:
    """The job is done; update and count are empty after a check."""

    update: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Native code refused the update that came last."""

    reason: str


Answer = At | Made | Failed


def encode_job(job: Job) -> bytes:
    """job u8 | kind u8 | updates: core 32, seq, update, gone: root's place in its list, key."""
    roots = KINDS[job.kind].roots
    out = Writer().fixed_uint(BUILD if job.build else CHECK, 1).fixed_uint(job.kind, 1)

    def write(w: Writer, one: PageUpdate) -> None:
        w.raw(one.core).uint(one.seq).buffer(one.update)
        w.array(one.gone, lambda v, put: v.uint(roots.index(put[0])).string(put[1]))

    out.array(job.updates, write)
    return out.finish()


def decode_job(data: bytes) -> Job:
    """The inverse.  Raises DecodeError."""
    reader = Reader(data)
    build = reader.fixed_uint(1) == BUILD
    number = reader.fixed_uint(1)
    if number not in {int(kind) for kind in DocKind}:
        raise DecodeError("no document kind")
    kind = DocKind(number)
    roots = KINDS[kind].roots

    def read(r: Reader) -> PageUpdate:
        core, seq, update = r.fixed(32), r.uint(MAX_LENGTH), r.buffer(MAX_UPDATE)
        gone = r.array(lambda v: (roots[v.uint(len(roots) - 1)], v.string(MAX_NAME)), MAX_STRUCTS)
        return PageUpdate(core, seq, update, tuple(gone))

    updates = tuple(reader.array(read, MAX_UPDATES))
    reader.end()
    return Job(build, kind, updates)


def encode_answer(answer: Answer) -> bytes:
    """0 and a place; 1, a count and the update; 2 and a reason."""
    match answer:
        case At(place):
            return Writer().uint(0).uint(place).finish()
        case Made(update, count):
            return Writer().uint(1).uint(count).raw(update).finish()
        case Failed(reason):
            return Writer().uint(2).string(reason).finish()


def decode_answer(data: bytes) -> Answer:
    """The inverse.  Raises DecodeError."""
    reader = Reader(data)
    code = reader.uint(2)
    if code == 1:
        count = reader.uint(MAX_UPDATES * MAX_STRUCTS)
        return Made(reader.rest(), count)
    answer = At(reader.uint(MAX_UPDATES)) if code == 0 else Failed(reader.string(MAX_REASON))
    reader.end()
    return answer


def most_bytes(updates: Sequence[PageUpdate]) -> int:
    """More than the answer to a job can need: what Yjs writes for a page is about the sum of its updates."""
    return 65_536 + 2 * sum(len(one.update) + 64 for one in updates)


def framed(payload: bytes) -> bytes:
    """A payload behind its length."""
    return len(payload).to_bytes(LENGTH, "little") + payload
