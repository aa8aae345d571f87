"""The store port: ordered tables of bytes, one atomic commit a batch, durable or not.

`docs/protocol.md`.  The logs are the truth and this is where they lie, so the port promises little and keeps
it: a batch is there whole or not at all; batches become durable in the order they were written; a durable one makes
every earlier one durable.  What was written without `durable` may be missing after a crash, from some batch on to the
end, never from the middle.  Two backends: `sqlite.py` (encrypted), `memory.py` (the twin that can crash at every call).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from operator import itemgetter
from typing import NamedTuple, Protocol, runtime_checkable

MAX_KEY = 1_024  # bytes
MAX_VALUE = 16 << 20  # bytes; entries stay below 256 KiB, this is the bound before allocation

Row = tuple[bytes, bytes]


class Table(IntEnum):
    """Each is an ordered map of its own.  Numbers are on disk: never reuse one that a release used."""

    META = 1  # single values of the profile: schema of the engine, cursors, settings of this device
    FEED = 2  # a feed's head and length
    ENTRY = 3  # sealed blocks
    NODE = 4  # Merkle nodes
    CONTROL = 5  # control entries
    EPOCH = 6  # epoch keys
    RECORD = 7  # device records
    FACT = 8  # what the guard admitted, as the fold reads it
    ROW = 9  # the timeline as people see it
    PERSONAL = 10  # registers and sets of the personal space
    PEER = 11  # addresses and frontiers of devices
    SPACE = 12  # spaces this device is in
    ITEM = 13  # items from packs that are not yet checked against their feed
    MESSAGE = 14  # message id -> key of its row
    INDEX = 15  # messages whose row the search index has not seen
    FEED_ROW = 16  # which entries of a feed have a row, and where it stands
    AHEAD = 17  # rows that stand where they arrived until their stamps have passed
    MARK = 18  # reactions, beside the rows that they are on
    UNREAD = 19  # entries that this version cannot read, to be tried again by a later one
    FOLD = 23  # the fold of a space's control entries, made again where it does not fit them
    BRANCH = 24  # blocks and ends of feeds beside the branch that is kept, with their proofs
    ERASE = 28  # entries to be erased, and when
    FORGET = 29  # what I deleted for me alone: how far it is forgotten, and which blocks are kept for others
    OFFSHOOT = 25  # what lies within the end of a close on another branch than the one that is kept


class Action(IntEnum):
    """What a change does to its rows."""

    PUT = 0
    DELETE = 1
    DELETE_RANGE = 2


class Change(NamedTuple):
    """One stretch of equal actions on one table, in order.

    `rows` holds (key, value) for PUT, (key,) for DELETE, (start, end) for DELETE_RANGE.
    """

    table: Table
    action: Action
    rows: list[tuple[bytes, ...]]


class Extent(NamedTuple):
    """The size of a range of one table."""

    rows: int
    octets: int  # of the values alone


class StoreClosed(RuntimeError):
    """The caller used a store after `close`."""


class Batch:
    """Changes that are committed together.  Within one table the order of the calls holds; tables do not touch."""

    __slots__ = ("_changes", "_last", "_length")

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._last: dict[Table, Change] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Raises ValueError for a key over MAX_KEY or a value over MAX_VALUE bytes: nothing is cut short silently."""
        if len(key) > MAX_KEY or len(value) > MAX_VALUE:
            raise ValueError(f"a row of {len(key)} and {len(value)} bytes is over the store's bounds")
        last = self._last.get(table)
        if last is not None and last.action is Action.PUT:  # as `_rows` finds it, without the call: most rows come here
            self._length += 1
            last.rows.append((key, value))
        else:
            self._rows(table, Action.PUT).append((key, value))

    def put_many(self, table: Table, rows: Iterable[Row]) -> None:
        """As `put`, for many rows at once."""
        given = list(rows)
        if given:
            keys, values = (max(map(len, map(part, given))) for part in (itemgetter(0), itemgetter(1)))
            if keys > MAX_KEY or values > MAX_VALUE:
                raise ValueError("a row is over the store's bounds")
            self._length += len(given) - 1
            self._rows(table, Action.PUT).extend(given)

    def delete(self, table: Table, key: bytes) -> None:
        """A key that is not there is no error."""
        self._rows(table, Action.DELETE).append((key,))

    def delete_range(self, table: Table, start: bytes, end: bytes) -> None:
        """Every key with start <= key < end."""
        self._rows(table, Action.DELETE_RANGE).append((start, end))

    def changes(self) -> Iterator[Change]:
        return iter(self._changes)

    def _rows(self, table: Table, action: Action) -> list[tuple[bytes, ...]]:
        self._length += 1
        last = self._last.get(table)
        if last is None or last.action is not action:
            last = self._last[table] = Change(table, action, [])
            self._changes.append(last)
        return last.rows


@runtime_checkable
class Store(Protocol):
    """Both backends.  `listeners` are told of every batch once it is committed, by whoever committed it.

    Errors of the edge are KithkinError: `disk_full` (the batch is absent as a whole, the store goes on),
    `profile_in_use`, `profile_newer`, `profile_unreadable`.  After `close` every call raises StoreClosed.
    """

    listeners: list[Callable[[Batch], None]]

    def get(self, table: Table, key: bytes) -> bytes | None: ...

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """One answer a key, in the order asked."""
        ...

    def scan(
        self,
        table: Table,
        start: bytes = b"",
        end: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[Row]:
        """Rows with start <= key < end (no end: to the last) in byte order, or backwards; the first `limit` of them."""
        ...

    def extent(self, table: Table, start: bytes = b"", end: bytes | None = None) -> Extent:
        """How many rows lie there and how large their values are, without reading them into memory."""
        ...

    def write(self, batch: Batch, *, durable: bool) -> None:
        """One atomic commit.  `durable`: it (empty or not) and all before it outlive a power cut once this returns."""
        ...

    def scrub(self) -> None:
        """Everything durable, and no byte of a deleted value left in any file of the store."""
        ...

    def release(self) -> None:
        """Give caches back to the system: the node is idle."""
        ...

    def close(self) -> None: ...


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key above every key with this prefix; None where there is none (empty, or all 0xff)."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
