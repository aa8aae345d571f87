"""Rows of a space's timeline in the store: facts go in, the rows that people see come out.

The only place that writes facts, rows and marks.  A message id with anything known about it has an index entry, which
holds the key of its row, or nothing while no copy shows; so a new message costs one look-up and no scan.  What is read
for a fold is bounded by the number of feeds, whatever one of them says again and again.  All keys but those of
`FEED_ROW` begin with the space id.  `docs/protocol.md`, "Rows".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from struct import Struct
from typing import NamedTuple

from crdt.docs.facts import Fact, FactKind, decode_fact, message_prefix
from crdt.docs.ids import writer_bytes
from crdt.docs.marks import Mark, decode_mark, marks_of, put_mark
from crdt.docs.rows import AHEAD_MS, Row, decode_row, key_range, placed_at, placed_of_key
from crdt.docs.timeline import MAX_COPIES, TimelinePolicy, fold_message, is_cleared, reaction_counts
from crdt.log.stamp import stamp_ms
from sync.store.port import Batch, Store, Table, prefix_end

SLICE = 500  # rows that are placed anew in one commit

_feed_key = Struct(">IQB")  # number of the feed, seq, place
_feed_value = Struct(">QQ32sB")  # Unix ms at which the row stands, stamp, message id, whether it is deleted


@dataclass(frozen=True, slots=True)
class RowChange:
    """One message's row before and after; None where nothing shows."""

    message: bytes
    before: bytes | None  # key of the old row
    after: Row | None


class Fold(NamedTuple):
    """One commit's work on the rows of one space.  number: of a feed, by its core key; now_ms: this device's clock."""

    store: Store
    batch: Batch
    space: bytes
    policy: TimelinePolicy
    number: Callable[[bytes], int]
    now_ms: int

    def after(self) -> int:
        """Unix ms behind the last stored row; 0 where there is none, or none that the clock allows."""
        rows = self.store.scan(Table.ROW, self.space, prefix_end(self.space), reverse=True, limit=1)
        stands = int.from_bytes(rows[0][0][32:40], "big") if rows else 0
        return stands + 1 if stands < self.now_ms + AHEAD_MS else 0


class FeedRow(NamedTuple):
    """A message that an entry of a feed publishes.  stands: Unix ms at which its row stands."""

    seq: int
    place: int
    stands: int
    stamp: int
    message: bytes
    deleted: bool

    def row_key(self, core: bytes) -> bytes:
        """The key of its row."""
        where = self.stands.to_bytes(8, "big") + self.stamp.to_bytes(8, "big") + writer_bytes(core)
        return where + self.seq.to_bytes(8, "big") + bytes((self.place,)) + self.message


def absorb(work: Fold, facts: Sequence[Fact], again: Iterable[bytes] = ()) -> list[RowChange]:
    """Puts the facts and the rows that follow from them.  Call it once a commit and space: it reads what is stored.

    again: messages whose rows are folded anew, because membership, and so what counts, has changed.
    """
    anew = set(again)
    about: dict[bytes, list[Fact]] = {message: [] for message in again} if anew else {}
    for fact in facts:
        work.batch.put(Table.FACT, work.space + fact.key(), fact.encode())
        message = fact.message
        if message is not None:
            about.setdefault(message, []).append(fact)
    known = work.store.get_many(Table.MESSAGE, [work.space + message for message in about])
    return [
        _fold(work, message, fresh, row_key, anew=message in anew)
        for (message, fresh), row_key in zip(about.items(), known, strict=True)
    ]


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


def _fold(work: Fold, message: bytes, fresh: list[Fact], known: bytes | None, *, anew: bool) -> RowChange:
    """known: the message's index entry, None where nothing of it is stored."""
    if known is None and not anew and len(fresh) == 1 and fresh[0].kind is FactKind.COPY:
        return _fold_new(work, message, fresh)
    before = known or None
    said, put = fresh, []
    if any(fact.kind is FactKind.REACTION for fact in fresh):
        said = [fact for fact in fresh if fact.kind is not FactKind.REACTION]
        put = [fact for fact in fresh if fact.kind is FactKind.REACTION]
    if anew or any(fact.value is None for fact in put):  # what counts has changed, or some of it was erased
        marked = _mark_anew(work, message, put)
    elif put:
        marked = _mark(work, message, put)
    else:
        marked = known is not None and _is_marked(work, message)
    if said or anew or before is None:
        row = fold_message(message, said if known is None else _facts_to_fold(work, message, said), work.policy)
    else:
        row = _stored_row(work, before)
    if row is not None:
        stood = placed_of_key(before) if before is not None else None
        placed = placed_at(row.stamp, row.arrived, work.now_ms, stood)
        if placed is not None and placed != stood:
            placed = max(placed, work.after())  # what came stands at the end, though others stand some minutes ahead
        if placed != row.placed or (marked and not row.deleted) != row.marked:
            row = replace(row, placed=placed, marked=marked and not row.deleted)
        if row.deleted and marked:
            prefix = work.space + message
            work.batch.delete_range(Table.MARK, prefix, prefix_end(prefix) or b"")
    if row is None and (before is not None or known is None):
        work.batch.put(Table.MESSAGE, work.space + message, b"")
    _move(work, message, before, row)
    return RowChange(message, before, row)


def _fold_new(work: Fold, message: bytes, fresh: list[Fact]) -> RowChange:
    """The common case: a message of which nothing is known yet."""
    row = fold_message(message, fresh, work.policy)
    batch, space = work.batch, work.space
    if row is None:
        batch.put(Table.MESSAGE, space + message, b"")
        return RowChange(message, None, None)
    ms = row.stamp >> 16
    if ms > work.now_ms and (placed := placed_at(row.stamp, row.arrived, work.now_ms)) is not None:
        row = replace(row, placed=max(placed, work.after()))
        _move(work, message, None, row)
        return RowChange(message, None, row)
    key = row.key()
    batch.put(Table.MESSAGE, space + message, key)
    batch.put(Table.ROW, space + key, row.encode())
    place = _feed_key.pack(work.number(row.core), row.seq, row.place)
    batch.put(Table.FEED_ROW, place, _feed_value.pack(ms, row.stamp, message, row.deleted))
    return RowChange(message, None, row)


def _stored_row(work: Fold, key: bytes) -> Row | None:
    value = work.store.get(Table.ROW, work.space + key)
    return decode_row(key, value) if value is not None else None


def _move(work: Fold, message: bytes, before: bytes | None, row: Row | None) -> None:
    """Puts the row in the place of the one before, with what points at it."""
    batch, space = work.batch, work.space
    after = row.key() if row is not None else None
    if before is not None and before != after:
        if after is None or before[16:35] != after[16:35]:  # of another entry
            old = _stored_row(work, before)
            if old is not None:
                batch.delete(Table.FEED_ROW, _feed_key.pack(work.number(old.core), old.seq, old.place))
        batch.delete(Table.ROW, space + before)
        if placed_of_key(before) is not None:
            batch.delete(Table.AHEAD, _ahead_key(space, before))
    if row is None or after is None:
        return
    if before != after:
        batch.put(Table.MESSAGE, space + message, after)
    batch.put(Table.ROW, space + after, row.encode())
    place = _feed_key.pack(work.number(row.core), row.seq, row.place)
    batch.put(Table.FEED_ROW, place, _feed_value.pack(row.stands, row.stamp, row.id, row.deleted))
    if row.placed is not None:
        batch.put(Table.AHEAD, _ahead_key(space, after), b"")


def _ahead_key(space: bytes, row_key: bytes) -> bytes:
    """space | Unix ms of the stamp | message id."""
    return space + stamp_ms(int.from_bytes(row_key[8:16], "big")).to_bytes(8, "big") + row_key[35:]


# -- what a fold reads ----------------------------------------------------------------------------------------------


def _facts_to_fold(work: Fold, message: bytes, fresh: Sequence[Fact]) -> list[Fact]:
    """What a row may stand on: the first copies, and of each feed the last edit and the first deletion that count."""
    store, policy, prefix = work.store, work.policy, work.space + message_prefix(message)
    found: list[Fact] = []
    if any(fact.value is None for fact in fresh):  # erased: what stood behind it counts again
        found = [fact for fact in facts_about(store, work.space, message) if fact.kind is not FactKind.REACTION]
    else:
        copies = prefix + bytes((FactKind.COPY,))
        rows = store.scan(Table.FACT, copies, prefix_end(copies), limit=MAX_COPIES)
        found += [decode_fact(key[32:], value) for key, value in rows]
        found += edits_of(store, work.space, message, policy)
        acts = lambda fact: policy.acting(fact) is not None  # noqa: E731
        found += _one_of_each_feed(store, prefix + bytes((FactKind.DELETION,)), acts, last=False)
    merged = {fact.key(): fact for fact in found}
    merged.update((fact.key(), fact) for fact in fresh)
    return list(merged.values())


def edits_of(store: Store, space: bytes, message: bytes, policy: TimelinePolicy) -> Iterator[Fact]:
    """Of each feed the last edit of a message that is not cleared and within its feed's end."""

    def counts(fact: Fact) -> bool:
        member = policy.acting(fact)
        return fact.value is not None and member is not None and not is_cleared(fact.core, fact.seq, member, policy)

    return _one_of_each_feed(store, space + message_prefix(message) + bytes((FactKind.EDIT,)), counts, last=True)


def _one_of_each_feed(store: Store, prefix: bytes, counts: Callable[[Fact], bool], *, last: bool) -> Iterator[Fact]:
    """Of the facts whose keys begin so, the last (or first) of each feed that counts."""
    start, end = prefix, prefix_end(prefix)
    while rows := store.scan(Table.FACT, start, end, reverse=last, limit=1):
        feed = rows[0][0][: len(prefix) + 32]
        low, high = feed, prefix_end(feed)
        while rows:
            fact = decode_fact(rows[0][0][32:], rows[0][1])
            if counts(fact):
                yield fact
                break
            low, high = (low, rows[0][0]) if last else (rows[0][0] + b"\0", high)
            rows = store.scan(Table.FACT, low, high, reverse=last, limit=1)
        if last:
            end = feed
        elif (following := prefix_end(feed)) is not None:
            start = following


# -- reactions ------------------------------------------------------------------------------------------------------


def marks_on(store: Store, space: bytes, message: bytes) -> list[Mark]:
    """Every feed's marks on a message: a bounded number of each."""
    prefix = space + message
    return [decode_mark(key[64:], value) for key, value in store.scan(Table.MARK, prefix, prefix_end(prefix))]


def _is_marked(work: Fold, message: bytes) -> bool:
    prefix = work.space + message
    return bool(work.store.scan(Table.MARK, prefix, prefix_end(prefix), limit=1))


def _mark(work: Fold, message: bytes, fresh: Sequence[Fact]) -> bool:
    """Adds reactions to the marks of their feeds.  Whether the message has any now."""
    feeds: dict[bytes, list[Fact]] = {}
    for fact in sorted(fresh, key=lambda fact: (fact.seq, fact.place)):
        if reaction_counts(fact, work.policy):
            feeds.setdefault(fact.core, []).append(fact)
    for core, facts in feeds.items():
        prefix = work.space + message + core
        stored = work.store.scan(Table.MARK, prefix, prefix_end(prefix))
        held = {mark.emoji: mark for mark in (decode_mark(key[64:], value) for key, value in stored)}
        if all(put_mark(held, fact) for fact in facts):
            made = list(held.values())
        else:
            made = marks_of(_reactions(work, message, fresh, core))
            work.batch.delete_range(Table.MARK, prefix, prefix_end(prefix) or b"")
        _put_marks(work, message, made)
    return bool(feeds) or _is_marked(work, message)


def _mark_anew(work: Fold, message: bytes, fresh: Sequence[Fact]) -> bool:
    """Makes all marks on a message again: who counts has changed."""
    prefix = work.space + message
    work.batch.delete_range(Table.MARK, prefix, prefix_end(prefix) or b"")
    made = marks_of(_reactions(work, message, fresh))
    _put_marks(work, message, made)
    return bool(made)


def _put_marks(work: Fold, message: bytes, marks: Iterable[Mark]) -> None:
    for mark in marks:
        work.batch.put(Table.MARK, work.space + message + mark.key(), mark.encode())


def _reactions(work: Fold, message: bytes, fresh: Sequence[Fact], core: bytes = b"") -> list[Fact]:
    """All reactions on a message that count, those of one feed where it is given."""
    prefix = work.space + message_prefix(message) + bytes((FactKind.REACTION,)) + core
    rows = work.store.scan(Table.FACT, prefix, prefix_end(prefix))
    merged = {key[32:]: decode_fact(key[32:], value) for key, value in rows}
    merged.update((fact.key(), fact) for fact in fresh if not core or fact.core == core)
    return [fact for fact in merged.values() if reaction_counts(fact, work.policy)]


# -- places ---------------------------------------------------------------------------------------------------------


def next_due(store: Store, space: bytes) -> float:
    """Unix ms at which the stamp of a row passes that stands where it arrived; infinity if there is none."""
    rows = store.scan(Table.AHEAD, space, prefix_end(space), limit=1)
    return int.from_bytes(rows[0][0][32:40], "big") if rows else inf


def stands_ahead(store: Store, space: bytes, now_ms: int) -> bool:
    """Whether any row stands further ahead than the clock allows: it was set back."""
    rows = store.scan(Table.ROW, space, prefix_end(space), reverse=True, limit=1)
    return bool(rows) and int.from_bytes(rows[0][0][32:40], "big") > now_ms + AHEAD_MS


def place_again(work: Fold) -> list[RowChange]:
    """Gives rows the place that they have at this moment: those whose stamp has passed, and those that stand ahead of
    the clock, since it was set back.  A slice at a time: fewer than SLICE changes mean that it is done."""
    store, space, now_ms = work.store, work.space, work.now_ms
    due = store.scan(Table.AHEAD, space, space + (now_ms + 1).to_bytes(8, "big"), limit=SLICE)
    keys = store.get_many(Table.MESSAGE, [space + key[40:] for key, _ in due])
    found: dict[bytes, None] = dict.fromkeys(key for key in keys if key)
    start = space + (now_ms + AHEAD_MS + 1).to_bytes(8, "big")
    ahead = store.scan(Table.ROW, start, prefix_end(space), limit=SLICE - len(found)) if len(found) < SLICE else []
    found.update(dict.fromkeys(key[32:] for key, _ in ahead))
    changes: list[RowChange] = []
    for key in found:
        row = _stored_row(work, key)
        if row is not None:
            moved = replace(row, placed=placed_at(row.stamp, row.arrived, now_ms))
            _move(work, row.id, key, moved)
            changes.append(RowChange(row.id, key, moved))
    return changes


def rows_of_feed(
    store: Store, number: int, start: int = 0, *, limit: int | None = None, newest: bool = False
) -> list[FeedRow]:
    """Messages of one feed (its local number) from `start` on, at most `limit`; newest: from the last one down."""
    low, high = _feed_key.pack(number, start, 0), prefix_end(number.to_bytes(4, "big"))
    found = []
    for key, value in store.scan(Table.FEED_ROW, low, high, reverse=newest, limit=limit):
        _, seq, place = _feed_key.unpack(key)
        stands, stamp, message, deleted = _feed_value.unpack(value)
        found.append(FeedRow(seq, place, stands, stamp, message, bool(deleted)))
    return found


# -- reading --------------------------------------------------------------------------------------------------------


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
    """At most `limit` rows in the order in which they are drawn: the newest, those below the row key `before`, or those
    above `after`."""
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
