"""Rows of a space's timeline in the store: facts go in, the rows that people see come out.

The only place that writes facts and rows.  A message id with anything known about it has an index entry, which holds
the key of its row, or nothing while no copy shows; so a new message costs one look-up and no scan.  All keys begin
with the space id.  `docs/protocol.md`, "Timeline".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crdt.docs.facts import Fact, FactKind, decode_fact, message_prefix
from crdt.docs.rows import Row, decode_row, key_range
from crdt.docs.timeline import TimelinePolicy, fold_message
from sync.store.port import Batch, Store, Table, prefix_end


@dataclass(frozen=True, slots=True)
class RowChange:
    """One message's row before and after; None where nothing shows."""

    message: bytes
    before: bytes | None  # key of the old row
    after: Row | None


def absorb(
    store: Store, batch: Batch, space: bytes, facts: Sequence[Fact], policy: TimelinePolicy, again: Iterable[bytes] = ()
) -> list[RowChange]:
    """Puts the facts and the rows that follow from them.  Call it once a commit and space: it reads what is stored.

    again: messages whose rows are folded anew, because membership, and so what counts, has changed.
    """
    about: dict[bytes, list[Fact]] = {message: [] for message in again}
    for fact in facts:
        batch.put(Table.FACT, space + fact.key(), fact.encode())
        message = fact.message
        if message is not None:
            about.setdefault(message, []).append(fact)
    return _fold(store, batch, space, about, policy)


def messages_by(store: Store, space: bytes, count: int) -> Iterator[list[bytes]]:
    """All messages by `count` at a time; each step reads the store as it then is."""
    start, end = space, prefix_end(space)
    while found := [key for key, _ in store.scan(Table.MESSAGE, start, end, limit=count)]:
        yield [key[32:] for key in found]
        if len(found) < count:
            return
        start = found[-1] + b"\0"


def messages_of_feed(store: Store, space: bytes, core: bytes) -> list[bytes]:
    """Messages that any entry of this feed speaks of."""
    found = {}
    for key, _ in store.scan(Table.FACT, space + b"\x01", space + b"\x02"):
        if key[-42:-10] == core:
            found[key[33:65]] = True
    return list(found)


def _fold(
    store: Store, batch: Batch, space: bytes, about: dict[bytes, list[Fact]], policy: TimelinePolicy
) -> list[RowChange]:
    changes: list[RowChange] = []
    known = store.get_many(Table.MESSAGE, [space + message for message in about])
    for (message, fresh), row_key in zip(about.items(), known, strict=True):
        facts = fresh
        if row_key is not None:
            merged = {fact.key(): fact for fact in facts_about(store, space, message)}
            merged.update((fact.key(), fact) for fact in fresh)
            facts = list(merged.values())
        row = fold_message(message, facts, policy)
        before = row_key or None
        if row is None:
            if before is not None or row_key is None:
                batch.put(Table.MESSAGE, space + message, b"")
            if before is not None:
                batch.delete(Table.ROW, space + before)
        else:
            after = row.key()
            if before is not None and before != after:
                batch.delete(Table.ROW, space + before)
            if before != after:
                batch.put(Table.MESSAGE, space + message, after)
            batch.put(Table.ROW, space + after, row.encode())
        changes.append(RowChange(message, before, row))
    return changes


def facts_about(store: Store, space: bytes, message: bytes) -> list[Fact]:
    prefix = space + message_prefix(message)
    return [decode_fact(key[32:], value) for key, value in store.scan(Table.FACT, prefix, prefix_end(prefix))]


def facts_of_kind(store: Store, space: bytes, about: bytes) -> list[Fact]:
    """Every stored fact whose key begins with `about` (readings, profiles, offers, blocks)."""
    prefix = space + about
    return [decode_fact(key[32:], value) for key, value in store.scan(Table.FACT, prefix, prefix_end(prefix))]


def find_row(store: Store, space: bytes, message: bytes) -> Row | None:
    """The row of a message by its whole id."""
    key = store.get(Table.MESSAGE, space + message)
    if not key:
        return None
    value = store.get(Table.ROW, space + key)
    return decode_row(key, value) if value is not None else None


def find_message(store: Store, space: bytes, shown: bytes) -> bytes | None:
    """The whole id of a message from the 20 bytes that people see; None if it is unknown or not unique."""
    prefix = space + shown
    found = store.scan(Table.MESSAGE, prefix, prefix_end(prefix), limit=2)
    return found[0][0][32:] if len(found) == 1 else None


def page(
    store: Store,
    space: bytes,
    limit: int,
    *,
    before: bytes | None = None,
    after: bytes | None = None,
) -> list[Row]:
    """At most `limit` rows in timeline order: the newest, those below the row key `before`, or those above `after`."""
    start, end = key_range(after, before)
    rows = store.scan(Table.ROW, space + start, space + end, reverse=after is None, limit=limit)
    found = [decode_row(key[32:], value) for key, value in rows]
    return found if after is not None else found[::-1]


def clears_of(store: Store, space: bytes) -> dict[tuple[bytes, int], list[Fact]]:
    """(core, seq) -> the CLEAR facts about that block."""
    found: dict[tuple[bytes, int], list[Fact]] = {}
    for fact in facts_of_kind(store, space, b"\x02"):
        if fact.kind is FactKind.CLEAR:
            found.setdefault((fact.about[1:33], int.from_bytes(fact.about[33:41], "big")), []).append(fact)
    return found
