"""Delivery: which devices have opened a message, and what that is called.

The outbox is a gap, not a queue: what a feed holds beyond what each device's newest record says it has opened.
*Delivered* means opened there, not merely stored.  `docs/protocol.md`, "Delivery".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crdt.docs.ids import writer_id
from crdt.docs.rows import Row
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
    """State of one message; `delivered` of `devices` have opened it, all of the roster but the one that wrote it."""

    state: MessageState
    delivered: int
    devices: int


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """How far each device has opened each feed of one space; made once and asked for many rows."""

    space: Space
    me: bytes  # this device
    opened: Mapping[bytes, Mapping[bytes, int]]  # device -> core8 -> length
    members: Mapping[bytes, bytes]  # device -> member id
    read: Mapping[bytes, Mapping[str, int]]  # member id -> writer id -> highest seq read

    def of(self, core: bytes, seq: int, member: bytes, stamp: int, now_ms: int) -> Delivery:
        """The delivery of the entry at (core, seq) by a device of `member`."""
        writer = self.space.state.writers.get(core)
        origin = writer.device if writer is not None else None
        devices = [device for device in self.opened if device != origin]
        have = [device for device in devices if self.opened[device].get(core[:8], 0) > seq]
        others = {self.members[device] for device in devices} - {member}
        reached = {self.members[device] for device in have}
        if others:
            done = others <= reached
            mark = writer_id(core)
            read = all(self.read.get(other, {}).get(mark, -1) >= seq for other in others)
        else:
            done, read = bool(have) or not devices, False
        state: MessageState
        if done and read:
            state = "read"
        elif done:
            state = "delivered"
        elif now_ms - stamp_ms(stamp) > EXPIRES_MS:
            state = "expired"
        else:
            state = "queued"
        return Delivery(state, len(have), len(devices))


def status_of(space: Space, me: bytes) -> DeliveryStatus:
    """What the newest device records and receipts of a space say."""
    state = space.state
    opened: dict[bytes, dict[bytes, int]] = {}
    members: dict[bytes, bytes] = {}
    for place in state.roster:
        core = core_key(place.writer)
        report = space.reports.get(core)
        members[place.device] = state.writers[core].member
        if place.device == me:
            opened[me] = {feed.core[:8]: feed.opened for feed in space.feed_store.feeds.values()}
        else:
            opened[place.device] = {} if report is None else {head.core8: head.length for head in report.opened}
    return DeliveryStatus(space, me, opened, members, receipts_of(space))


def pending(space: Space, status: DeliveryStatus, now_ms: int) -> list[tuple[Row, Delivery]]:
    """Messages of this device that some device has not opened, oldest first."""
    mine = space.mine
    if mine is None or space.personal or mine.core not in space.state.writers:
        return []
    others = [lengths for device, lengths in status.opened.items() if device != status.me]
    if not others:
        return []
    lowest = min(lengths.get(mine.core[:8], 0) for lengths in others)
    if lowest >= mine.length:
        return []
    found: list[tuple[Row, Delivery]] = []
    before: bytes | None = None
    for _ in range(0, SCANNED, 500):
        rows = timeline.page(space.context.store, space.id, 500, before=before)
        for row in reversed(rows):
            if row.core != mine.core or row.deleted:
                continue
            if row.seq < lowest:
                return found[::-1]
            one = status.of(row.core, row.seq, row.member, row.stamp, now_ms)
            if one.delivered < one.devices:
                found.append((row, one))
        if len(rows) < 500:
            break
        before = rows[0].key()
    return found[::-1]
