"""Rows: what people see of a timeline, one for each message, kept in the store in timeline order.

`docs/protocol.md`, "Timeline".  Rows are a fold of facts that can be thrown away and built again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from json import loads
from struct import Struct

from crdt.docs.chat import FILE, MAX_FILES, File
from crdt.docs.fields import nested, several
from crdt.docs.ids import SORT_KEY_BYTES, WRITER_BYTES, sort_key
from crdt.log.stamp import stamp_ms
from identity.codec import Reader, Writer
from identity.errors import DecodeError

AHEAD_MS = 5 * 60_000  # stamped further ahead of now than this: drawn where it arrived
LATE_MS = 5 * 60_000  # arrived later after its stamp than this: says so
NEVER = 2**64 - 1

_key = Struct(">Q10sQB32s")
_fixed = Struct("<32s32sQQQB")
_files = several(nested(FILE), 1, MAX_FILES)

_EDITED, _DELETED, _REPLY, _SOURCE, _REACTIONS, _FILES = 1, 2, 4, 8, 16, 32


@dataclass(frozen=True, slots=True)
class Row:
    """One message as shown.

    id: message id; member: its author's member id; core, seq, place: the entry and put of its first copy; stamp: that
    entry's, which gives its place; arrived: Unix ms here; at: Unix ms to show (the quoted time of an imported one);
    source: the quoted author of an imported one; expires: Unix ms from when it counts as deleted, None for never;
    reactions: (emoji, member ids), both rising.  A deleted row keeps author, place and time and nothing else.
    """

    id: bytes
    member: bytes
    core: bytes
    seq: int
    place: int
    stamp: int
    arrived: int
    at: int
    text: str
    source: str | None = None
    reply_to: bytes | None = None
    edited: bool = False
    deleted: bool = False
    expires: int | None = None
    reactions: tuple[tuple[str, tuple[bytes, ...]], ...] = ()
    files: tuple[File, ...] = ()

    @property
    def sort_key(self) -> bytes:
        """26 bytes; what `--before`, `--after` and read marks compare."""
        return sort_key(self.stamp, self.core, self.seq)

    def key(self) -> bytes:
        """sort key | place | id: sorts as the timeline, and no two rows have one key."""
        return self.sort_key + bytes((self.place,)) + self.id

    def encode(self) -> bytes:
        """member | core | arrived | at | expires | flags | text | what the flags say; the rest is in the key."""
        flags = _EDITED * self.edited | _DELETED * self.deleted
        flags |= _REPLY * (self.reply_to is not None) | _SOURCE * (self.source is not None)
        flags |= _REACTIONS * bool(self.reactions) | _FILES * bool(self.files)
        expires = NEVER if self.expires is None else self.expires
        text = self.text.encode()
        head = _fixed.pack(self.member, self.core, self.arrived, self.at, expires, flags)
        if flags < _REPLY:
            return head + text
        out = Writer().raw(head).buffer(text)
        if self.reply_to is not None:
            out.raw(self.reply_to)
        if self.source is not None:
            out.string(self.source)
        if self.reactions:
            out.uint(len(self.reactions))
            for emoji, members in self.reactions:
                out.string(emoji).array(members, lambda writer, member: writer.raw(member))
        if self.files:
            out.string(_files.write(self.files))
        return out.finish()


def decode_row(key: bytes, stored: bytes) -> Row:
    """The row of one stored pair.  Raises DecodeError."""
    if len(key) != _key.size or len(stored) < _fixed.size:
        raise DecodeError("not a stored row")
    stamp, _, seq, place, message = _key.unpack(key)
    member, core, arrived, at, until, flags = _fixed.unpack_from(stored)
    reply_to, source, files = None, None, ()
    reactions: tuple[tuple[str, tuple[bytes, ...]], ...] = ()
    try:
        if flags < _REPLY:
            text = stored[_fixed.size :].decode("utf-8")
        else:
            reader = Reader(memoryview(stored)[_fixed.size :])
            text = reader.string(len(stored))
            reply_to = reader.fixed(32) if flags & _REPLY else None
            source = reader.string(len(stored)) if flags & _SOURCE else None
            if flags & _REACTIONS:
                reactions = tuple(reader.array(lambda r: _reaction(r, len(stored)), len(stored)))
            if flags & _FILES:
                files = _files.read(loads(reader.string(len(stored))))
            reader.end()
    except (ValueError, RecursionError):  # of the text, of the files' JSON
        raise DecodeError("a stored row is damaged") from None
    expires = None if until == NEVER else until
    edited, deleted = bool(flags & _EDITED), bool(flags & _DELETED)
    return Row(
        message,
        member,
        core,
        seq,
        place,
        stamp,
        arrived,
        at,
        text,
        source,
        reply_to,
        edited,
        deleted,
        expires,
        reactions,
        files,
    )


def _reaction(reader: Reader, limit: int) -> tuple[str, tuple[bytes, ...]]:
    return reader.string(limit), tuple(reader.array(lambda r: r.fixed(32), limit))


def at_moment(row: Row, now_ms: int) -> Row:
    """The row at a moment: past its lifetime it is a deleted one."""
    return deleted_row(row) if row.expires is not None and row.expires <= now_ms else row


def deleted_row(row: Row) -> Row:
    """What a deletion leaves of a row."""
    at = stamp_ms(row.stamp)
    return Row(row.id, row.member, row.core, row.seq, row.place, row.stamp, row.arrived, at, "", deleted=True)


def is_late(row: Row) -> bool:
    """Whether it arrived much later than its stamp says: shown, never an order."""
    return row.arrived > stamp_ms(row.stamp) + LATE_MS


def drawn(rows: Iterable[Row], now_ms: int) -> list[Row]:
    """Rows in the order to draw at this moment: one stamped more than 5 min ahead stands where it arrived."""
    return sorted(rows, key=lambda row: draw_key(row, now_ms))


def draw_key(row: Row, now_ms: int) -> bytes:
    """67 bytes that sort as rows are drawn: the Unix ms that the row stands at, u64 big-endian | its row key."""
    ms = stamp_ms(row.stamp)
    return (row.arrived if ms > now_ms + AHEAD_MS else ms).to_bytes(8, "big") + row.key()


def read_draw_key(upto: bytes) -> bytes:
    """A draw key above every row that a read mark with this sort key counts as read."""
    return stamp_ms(int.from_bytes(upto[:8], "big")).to_bytes(8, "big") + above(upto)


def above(sort_key: bytes) -> bytes:
    """A row key above every row with this sort key: as `after` it passes over them, as `before` it takes them in."""
    return sort_key + b"\xff" * (_key.size - len(sort_key))


def key_range(after: bytes | None = None, before: bytes | None = None) -> tuple[bytes, bytes]:
    """Store keys (start, end) of the rows whose keys lie strictly between two row keys, either left out."""
    start = b"" if after is None else after + b"\0"
    return start, b"\xff" * (_key.size + 1) if before is None else before


__all__ = [
    "SORT_KEY_BYTES",
    "WRITER_BYTES",
    "Row",
    "above",
    "at_moment",
    "decode_row",
    "deleted_row",
    "draw_key",
    "drawn",
    "is_late",
    "key_range",
    "read_draw_key",
]
