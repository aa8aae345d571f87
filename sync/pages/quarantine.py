"""Entries that ended the page process, by feed and seq, kept in the store: no page is built with them again.

They stay what they are in the log, in the timeline and on the wire; only native code does not see them any more.
"""

from __future__ import annotations

from sync.pages.process import SetAside
from sync.store.port import Batch, Store, Table, prefix_end

_PREFIX = b"aside/"


def put_aside(batch: Batch, space: bytes, one: SetAside) -> None:
    """Keeps one; durable with the batch."""
    batch.put(Table.META, _prefix(space) + one.core + one.seq.to_bytes(8, "big"), one.reason.encode())


def aside_in(store: Store, space: bytes) -> list[SetAside]:
    """Those of one space, by feed and seq."""
    start = _prefix(space)
    found = []
    for key, value in store.scan(Table.META, start, prefix_end(start)):
        place = key[len(start) :]
        found.append(SetAside(place[:32], int.from_bytes(place[32:], "big"), value.decode()))
    return found


def forget_aside(batch: Batch, space: bytes) -> None:
    """All of one space are tried again at the next export."""
    start = _prefix(space)
    batch.delete_range(Table.META, start, prefix_end(start) or b"")


def _prefix(space: bytes) -> bytes:
    return _PREFIX + space
