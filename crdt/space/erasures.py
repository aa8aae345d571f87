"""Erasures: which deletion entries a device has carried out, as its record says it (`docs/protocol.md`, "Device
records", extension kind 3).

Deletion entries of a feed are carried out nearly in order, so one number and the exceptions say all of a feed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from crdt.log.merkle import MAX_LENGTH
from identity.codec import Reader, Writer
from identity.errors import DecodeError

ERASURES = 3  # the kind of the extension
MAX_FEEDS = 300
MAX_WAITING = 256  # of one feed


@dataclass(frozen=True, slots=True)
class Erased:
    """Of the feed core8 (first 8 bytes of its core key) the deletion entries below `upto` are carried out, all but
    those at the seqs of `waiting` (rising, at most 256).  It says nothing about entries from `upto` on."""

    core8: bytes
    upto: int
    waiting: tuple[int, ...] = ()

    def holds(self, seq: int) -> bool:
        """Whether a deletion entry at that seq has been carried out."""
        return seq < self.upto and seq not in self.waiting


def encode_erasures(erasures: tuple[Erased, ...]) -> bytes:
    """The body of the extension.  Raises ValueError for what no reader would accept."""
    made = Writer().array(erasures, lambda w, e: w.raw(e.core8).uint(e.upto).array(e.waiting, Writer.uint)).finish()
    try:
        decode_erasures(made)
    except DecodeError as refused:
        raise ValueError(str(refused)) from None
    return made


def decode_erasures(body: bytes) -> tuple[Erased, ...]:
    """At most 300 feeds, ascending by core8.  Raises DecodeError."""
    reader = Reader(body)
    found = tuple(reader.array(_read_erased, MAX_FEEDS))
    reader.end()
    if any(a.core8 >= b.core8 for a, b in pairwise(found)):
        raise DecodeError("feeds of erasures ascend")
    return found


def _read_erased(data: Reader) -> Erased:
    core8, upto = data.fixed(8), data.uint(MAX_LENGTH)
    waiting = tuple(data.array(lambda r: r.uint(MAX_LENGTH), MAX_WAITING))
    if not upto or any(a >= b for a, b in pairwise(waiting)) or (waiting and waiting[-1] >= upto):
        raise DecodeError("waiting deletions rise and lie below the end")
    return Erased(core8, upto, waiting)
