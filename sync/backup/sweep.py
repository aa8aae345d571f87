"""Reads every row of a store in records, while the store goes on being written.

A table is a row of stretches of keys.  At first it is one stretch that is to be read; each step reads one record from
the first such stretch, and what is left of it is the next.  Whatever is written meanwhile makes its stretch one to be
read again.  Once there is none, the records together are the store as it stands at that moment: no transaction is held
open, and what is remembered is one key a record, however large the store is.

Where a record ends is said by the keys, so that the same rows give the same records next time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from itertools import islice
from typing import NamedTuple
from zlib import crc32

from sync.store.port import Action, Batch, Row, Store, Table

LEFT_OUT = frozenset({Table.INDEX})  # what can be made again from the rest
SMALLEST = 256 << 10  # bytes of a record from which the next key whose checksum fits begins another
LARGEST = 1 << 20  # and from which any key does
CUT = 0xFF
AT_ONCE = 256 << 10  # bytes that one read of the store is meant to bring
MAX_READ = 1024  # rows
PATIENCE = 64  # records


class Record(NamedTuple):
    """The rows of a table from key `start` on to the next stretch: what was read there before counts no more."""

    table: Table
    start: bytes
    rows: list[Row]
    octets: int  # of keys and values, and what each row costs beside them


class Sweep:
    """Tell it of every batch that is written (`written`), and call `step` until `left` is 0."""

    def __init__(self, store: Store) -> None:
        self._store = store
        tables = [table for table in Table if table not in LEFT_OUT]
        self._starts: dict[Table, list[bytes]] = {table: [b""] for table in tables}
        self._unread = {(table, b"") for table in tables}
        self._queue = deque((table, b"") for table in tables)
        self._ahead: tuple[Table, bytes, list[Row]] | None = None  # rows read beyond a record, from this key on
        self._read = 16  # rows to ask for at once
        self._again = 0  # records that came, or were written in, since the start
        self._last = {table: rows[0][0] for table in tables if (rows := store.scan(table, reverse=True, limit=1))}
        self._first = set(self._unread)  # stretches of what was there at the start

    @property
    def left(self) -> int:
        """How many stretches are to be read."""
        return len(self._unread)

    @property
    def restless(self) -> bool:
        """Whether the store is written in as fast as it is read: what it held at first was read, and much of what came
        since, and there is more."""
        return self._again > PATIENCE

    def written(self, batch: Batch) -> None:
        """A batch was committed to the store."""
        for table, action, rows in batch.changes():
            starts = self._starts.get(table)
            if starts is None:
                continue
            if self._ahead is not None and self._ahead[0] is table:
                self._ahead = None
            for row in rows:
                first = bisect_right(starts, row[0]) - 1
                last = bisect_left(starts, row[1], first + 1) if action is Action.DELETE_RANGE else first + 1
                for start in starts[first:last]:
                    if (table, start) not in self._unread:
                        self._unread.add((table, start))
                        self._queue.append((table, start))

    def step(self) -> Record | None:
        """Reads one record; None where nothing is left to read."""
        if not self._queue:
            return None
        table, start = self._queue.popleft()
        first = (table, start) in self._first
        self._first.discard((table, start))
        self._again += not first
        self._unread.discard((table, start))
        starts = self._starts[table]
        at = bisect_right(starts, start)
        rows, rest, octets = self._record(table, start, starts[at] if at < len(starts) else None)
        if rest is not None:
            insort(starts, rest)
            self._unread.add((table, rest))
            if first and rest <= self._last.get(table, b""):
                self._first.add((table, rest))
                self._queue.appendleft((table, rest))
            else:
                self._queue.append((table, rest))
        return Record(table, start, rows, octets)

    def _record(self, table: Table, start: bytes, end: bytes | None) -> tuple[list[Row], bytes | None, int]:
        """The rows of the record that begins a stretch, the key at which the next one does, and its size."""
        ahead, self._ahead = self._ahead, None
        rows = ahead[2] if ahead is not None and ahead[:2] == (table, start) else []
        size = at = 0
        whole = False
        while True:
            for key, value in islice(rows, at, None):
                if size >= SMALLEST and (size >= LARGEST or crc32(key) & CUT == 0) and at:
                    self._ahead = table, key, rows[at:]
                    return rows[:at], key, size
                size += len(key) + len(value) + 6
                at += 1
            if whole:
                return rows, None, size
            more = self._store.scan(table, rows[-1][0] + b"\0" if rows else start, end, limit=self._read)
            whole = len(more) < self._read
            octets = sum([len(value) for _, value in more])
            self._read = max(1, min(MAX_READ, self._read * 2 if octets < AT_ONCE else self._read // 2))
            rows += more
