"""Rows: what people see of a timeline, one for each message, kept in the store in the order in which it is drawn.

`docs/protocol.md`, "Rows".  Rows are a fold of facts that can be thrown away and built again.  A row stands at its
stamp; one stamped more than 5 min ahead stands where it arrived until its stamp has passed (`placed_at`).
"""

from __future__ import annotations

from dataclasses import dataclass
from json import loads
from struct import Struct

from crdt.docs.chat import FILE, MAX_FILES, File
from crdt.docs.fields import nested, several
from crdt.docs.ids import SORT_KEY_BYTES, WRITER_BYTES, sort_key, writer_bytes
from crdt.log.stamp import stamp_ms
from identity.codec import Reader, Writer
from identity.digest import base32
from identity.errors import DecodeError

AHEAD_MS = 5 * 60_000  # stamped further ahead of now than this: drawn where it arrived
LATE_MS = 5 * 60_000  # arrived later after its stamp than this: says so
NEVER = 2**64 - 1

_key = Struct(">QQ10sQB32s")
_fixed = Struct("<32s32sQQQB")
_files = several(nested(FILE), 1, MAX_FILES)

_EDITED, _DELETED, _REPLY, _SOURCE, _FILES, _MARKED = 1, 2, 4, 8, 16, 32
_PLAIN = _EDITED | _DELETED | _MARKED  # flags under which the text is all that follows


@dataclass(frozen=True, slots=True)
class Row:
    """One message as shown.

    id: message id; member: its author's member id; core, seq, place: the entry and put of its first copy; stamp: that
    entry's; arrived: Unix ms here; at: Unix ms to show (the quoted time of an imported one); source: the quoted author
    of an imported one; expires: Unix ms from when it counts as deleted, None for never; marked: reactions may stand
    beside it; placed: Unix ms at which it stands while its stamp is ahead, None where it stands at its stamp.  A
    deleted row keeps author, place and time and nothing else.
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
    marked: bool = False
    files: tuple[File, ...] = ()
    placed: int | None = None

    @property
    def sort_key(self) -> bytes:
        """26 bytes: where it stands once its stamp has passed."""
        return sort_key(self.stamp, self.core, self.seq)

    @property
    def stands(self) -> int:
        """Unix ms at which it stands."""
        return stamp_ms(self.stamp) if self.placed is None else self.placed

    def key(self) -> bytes:
        """Unix ms at which it stands | sort key | place | id: rows are drawn in this order, and no two have one key."""
        stands = self.stamp >> 16 if self.placed is None else self.placed
        return _key.pack(stands, self.stamp, writer_bytes(self.core), self.seq, self.place, self.id)

    def encode(self) -> bytes:
        """member | core | arrived | at | expires | flags | text | what the flags say; the rest is in the key."""
        flags = _EDITED * self.edited | _DELETED * self.deleted | _MARKED * self.marked
        flags |= _REPLY * (self.reply_to is not None) | _SOURCE * (self.source is not None)
        flags |= _FILES * bool(self.files)
        expires = NEVER if self.expires is None else self.expires
        text = self.text.encode()
        head = _fixed.pack(self.member, self.core, self.arrived, self.at, expires, flags)
        if not flags & ~_PLAIN:
            return head + text
        out = Writer().raw(head).buffer(text)
        if self.reply_to is not None:
            out.raw(self.reply_to)
        if self.source is not None:
            out.string(self.source)
        if self.files:
            out.string(_files.write(self.files))
        return out.finish()


def decode_row(key: bytes, stored: bytes) -> Row:
    """The row of one stored pair.  Raises DecodeError."""
    if len(key) != _key.size or len(stored) < _fixed.size:
        raise DecodeError("not a stored row")
    stands, stamp, _, seq, place, message = _key.unpack(key)
    member, core, arrived, at, until, flags = _fixed.unpack_from(stored)
    reply_to, source, files = None, None, ()
    try:
        if not flags & ~_PLAIN:
            text = stored[_fixed.size :].decode("utf-8")
        else:
            reader = Reader(memoryview(stored)[_fixed.size :])
            text = reader.string(len(stored))
            reply_to = reader.fixed(32) if flags & _REPLY else None
            source = reader.string(len(stored)) if flags & _SOURCE else None
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
        bool(flags & _MARKED),
        files,
        None if stands == stamp_ms(stamp) else stands,
    )


def placed_at(stamp: int, arrived: int, now_ms: int, before: int | None = None) -> int | None:
    """Unix ms at which a row stands because its stamp is ahead; None where it stands at its stamp.

    arrived: the moment at which it came, by this device's clock of then; before: where it stood so far for that reason.
    A clock that was ahead itself when the row came is not believed either: then the row stands at this moment.
    """
    ms = stamp_ms(stamp)
    if ms <= now_ms:
        return None
    if before is not None and before <= now_ms + AHEAD_MS:
        return before
    if ms <= now_ms + AHEAD_MS:
        return None
    return arrived if arrived <= now_ms + AHEAD_MS else now_ms


def placed_of_key(key: bytes) -> int | None:
    """`Row.placed` as a row key has it."""
    stands, stamp = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:16], "big")
    return None if stands == stamp_ms(stamp) else stands


def writer_and_seq(key: bytes) -> tuple[str, int]:
    """(writer id, seq) of the entry at which a row stands, as its key has it."""
    at = 16 + WRITER_BYTES
    return base32(key[16:at]), int.from_bytes(key[at : at + 8], "big")


def at_moment(row: Row, now_ms: int) -> Row:
    """The row at a moment: past its lifetime it is a deleted one."""
    return deleted_row(row) if row.expires is not None and row.expires <= now_ms else row


def deleted_row(row: Row) -> Row:
    """What a deletion leaves of a row."""
    return Row(
        row.id,
        row.member,
        row.core,
        row.seq,
        row.place,
        row.stamp,
        row.arrived,
        stamp_ms(row.stamp),
        "",
        deleted=True,
        placed=row.placed,
    )


def is_late(row: Row) -> bool:
    """Whether it arrived much later than its stamp says: shown, never an order."""
    return row.arrived > stamp_ms(row.stamp) + LATE_MS


def key_range(after: bytes | None = None, before: bytes | None = None) -> tuple[bytes, bytes]:
    """Store keys (start, end) of the rows whose keys lie strictly between two row keys, either left out."""
    start = b"" if after is None else after + b"\0"
    return start, b"\xff" * (_key.size + 1) if before is None else before


__all__ = [
    "SORT_KEY_BYTES",
    "WRITER_BYTES",
    "Row",
    "at_moment",
    "decode_row",
    "deleted_row",
    "is_late",
    "key_range",
    "placed_at",
    "placed_of_key",
]
