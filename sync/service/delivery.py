"""Delivery: which devices have opened a message, and what that is called.

The outbox is a gap, not a queue: what a feed holds beyond what each device's newest record says it has opened, of these
very bytes.  *Delivered* means opened there, not merely stored.  `docs/protocol.md`, "Delivery".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crdt.docs.ids import writer_id
from crdt.docs.rows import Row, at_moment
from crdt.log.manifest import core_key
from crdt.log.stamp import stamp_ms
from sync.engine.tasks.receipts import receipts_of
from sync.service.models import MessageState
from sync.space import timeline
from sync.space.space import Space

EXPIRES_MS = 365 * 86_400_000
SCANNED = 20_000  # rows that the outbox looks back over in one chat


@dataclass(frozen=True, slots=True)
class Delivery:
    """State of one message; `delivered` of `devices` have opened it: of those for whose members it was written, all of
    the roster but the one that wrote it."""

    state: MessageState
    delivered: int
    devices: int


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """How far each device has opened each feed of one space; made once and asked for many rows."""

    space: Space
    members: Mapping[bytes, bytes]  # core key of a rostered writer -> member id
    read: Mapping[bytes, Mapping[str, int]]  # member id -> writer id -> highest seq read

    def of(self, row: Row, now_ms: int) -> Delivery:
        """The delivery of a message of mine."""
        feed = self.space.feed_store.feeds.get(row.core)
        owed = self.space.delivered.owed(row.core, row.seq, row.stamp)
        writers = [core for core, member in self.members.items() if core != row.core and owed.get(member)]
        have = [core for core in writers if feed is not None and self.space.delivered.reach(core, feed) > row.seq]
        others = {self.members[core] for core in writers} - {row.member}
        reached = {self.members[core] for core in have}
        if others:
            done = others <= reached
            mark = writer_id(row.core)
            read = all(self.read.get(other, {}).get(mark, -1) >= row.seq for other in others)
        else:
            done, read = bool(have) or not writers, False
        state: MessageState
        if done and read:
            state = "read"
        elif done:
            state = "delivered"
        elif over(row, now_ms):
            state = "expired"
        else:
            state = "queued"
        return Delivery(state, len(have), len(writers))


def over(row: Row, now_ms: int) -> bool:
    """Whether nobody waits for a message any more: its lifetime has passed, it is deleted, or a year has passed."""
    return at_moment(row, now_ms).deleted or now_ms - stamp_ms(row.stamp) > EXPIRES_MS


def status_of(space: Space) -> DeliveryStatus:
    """What the newest device records and receipts of a space say."""
    writers = space.state.writers
    members = {core: writers[core].member for core in (core_key(place.writer) for place in space.state.roster)}
    return DeliveryStatus(space, members, receipts_of(space))


def pending(space: Space, status: DeliveryStatus, now_ms: int) -> list[tuple[Row, Delivery]]:
    """Messages of this device that some device has not opened, oldest first.  Those that are deleted, or whose lifetime
    has passed, wait for nobody."""
    mine = space.mine
    if mine is None or space.personal or mine.core not in space.state.writers:
        return []
    others = [core for core in status.members if core != mine.core]
    if not others:
        return []
    lowest = min(space.delivered.reach(core, mine) for core in others)
    if lowest >= mine.length:
        return []
    found: list[tuple[Row, Delivery]] = []
    before: bytes | None = None
    for _ in range(0, SCANNED, 500):
        rows = timeline.page(space.context.store, space.id, 500, before=before)
        for row in reversed(rows):
            if row.core != mine.core or at_moment(row, now_ms).deleted:
                continue
            if row.seq < lowest:
                return found[::-1]
            one = status.of(row, now_ms)
            if one.delivered < one.devices:
                found.append((row, one))
        if len(rows) < 500:
            break
        before = rows[0].key()
    return found[::-1]
