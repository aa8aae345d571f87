"""Transcripts: the feeds of one space with their heads and message keys, for whoever is to check and read them.

Everything that could prove something is in one: signed heads, blocks, the keys that open them.  So it is also what
shows that none proves who wrote: anybody can make one that verifies (`sync/service/forging.py`).
`docs/protocol.md`, "Transcripts".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from crdt.log.entry import MAX_BLOCK
from crdt.log.head import Head, read_head, write_head
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import SUITE, VERSION

MAX_FEEDS = 4096
NO_KEY = bytes(32)
_START = bytes((VERSION, SUITE))


class TranscriptEntry(NamedTuple):
    """block, and the message key that opens it (zeros: nobody here could); or no block and the leaf hash of one that
    was erased or never came."""

    block: bytes
    key: bytes = NO_KEY
    leaf: tuple[int, bytes] | None = None


class TranscriptFeed(NamedTuple):
    """A feed: its newest signed head, and as many entries as that says."""

    head: Head
    entries: Iterable[TranscriptEntry]


class Transcript(NamedTuple):
    """A space by its id, and its feeds, ascending by W."""

    space: bytes
    feeds: Sequence[TranscriptFeed]


def write_transcript(transcript: Transcript) -> Iterator[bytes]:
    """Its bytes, an entry at a time.

    version | suite | space id | count | for each feed: head, then its entries: 2 x size, block, message key; or
    2 x size + 1, leaf hash.
    """
    if len(transcript.feeds) > MAX_FEEDS:
        raise ValueError(f"a transcript has at most {MAX_FEEDS} feeds")
    yield Writer().raw(_START).raw(transcript.space).uint(len(transcript.feeds)).finish()
    for feed in transcript.feeds:
        yield write_head(Writer(), feed.head).finish()
        written = 0
        for entry in feed.entries:
            written += 1
            if entry.leaf is not None:
                yield Writer().uint(2 * entry.leaf[0] + 1).raw(entry.leaf[1]).finish()
            else:
                yield Writer().uint(2 * len(entry.block)).raw(entry.block).raw(entry.key).finish()
        if written != feed.head.length:
            raise ValueError("a feed has as many entries as its head says")


def read_transcript(data: bytes) -> Transcript:
    """The inverse, with every entry read.  Verifies nothing.  Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != _START:
        raise DecodeError("no transcript of this version")
    space, feeds = reader.fixed(32), reader.array(_read_feed, MAX_FEEDS)
    reader.end()
    return Transcript(space, tuple(feeds))


def _read_feed(data: Reader) -> TranscriptFeed:
    head = read_head(data)
    return TranscriptFeed(head, tuple(_read_entry(data) for _ in range(head.length)))


def _read_entry(data: Reader) -> TranscriptEntry:
    size, erased = divmod(data.uint(2 * MAX_BLOCK + 1), 2)
    if erased:
        return TranscriptEntry(b"", NO_KEY, (size, data.fixed(32)))
    return TranscriptEntry(data.fixed(size), data.fixed(32))
