"""What changed without an event of the engine's own: receipts of others, and what my other devices did to my lists.

Compared with what was seen at the last turn, so that whoever listens hears of it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crdt.docs.ids import writer_id
from crdt.docs.personal import PersonalView
from sync.engine.profile import Profile
from sync.engine.tasks.receipts import receipts_of
from sync.service import chats, delivery, models
from sync.service.contacts import device_model
from sync.service.ids import chat_id, message_id
from sync.space import timeline
from sync.space.space import Space

MAX_STATUS = 200  # status lines for one feed at a time: who was away long reads the chat instead
Heights = Mapping[bytes, tuple[int, ...]]
"""core of a feed of mine -> how many of its entries the slowest and the fastest device have opened, and the slowest and
the fastest person have read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one chat.  `reports` and `receipts` are kept to be compared by identity: both are replaced, never changed."""

    reports: tuple[object, ...]
    receipts: object
    heights: Heights


class Watch:
    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._view: PersonalView | None = None
        self._chats: dict[bytes, Seen] = {}

    def lines(self, now_ms: int) -> Iterator[models.Event]:
        """What is new since the last call; at the first call nothing is."""
        profile, view, before = self._profile, self._profile.view, self._view
        self._view = view
        if before is not None and before is not view:
            if (before.profile, before.devices) != (view.profile, view.devices):
                yield models.DeviceEvent(device=device_model(profile, profile.account.device, now_ms))
            for id_ in view.chats:
                if _personal(before, id_) != _personal(view, id_) and id_ in before.chats:
                    yield models.ChatEvent(chat=chats.model(profile, id_, now_ms))
        for id_ in view.chats:
            space = profile.spaces.get(id_)
            if space is None or space.mine is None:
                continue
            reports, receipts = tuple(space.reports.values()), receipts_of(space)
            old = self._chats.get(id_)
            if old is not None and old.receipts is receipts and _same(old.reports, reports):
                continue
            heights = self._heights(space, receipts)
            self._chats[id_] = Seen(reports, receipts, heights)
            if old is not None:
                yield from self._status(space, old.heights, heights, now_ms)

    def _heights(self, space: Space, receipts: Mapping[bytes, Mapping[str, int]]) -> Heights:
        state, me = space.state, self._profile.account.identity
        mine = space.mine.core if space.mine is not None else b""
        found: dict[bytes, tuple[int, ...]] = {}
        for core, writer in state.writers.items():
            member = state.members.get(writer.member)
            if member is None or member.identity != me:
                continue
            name = writer_id(core)
            read = [seqs.get(name, -1) + 1 for who, seqs in receipts.items() if who != writer.member]
            opened = [
                next((head.length for head in report.opened if head.core8 == core[:8]), 0)
                for report in space.reports.values()
                if core != mine  # of this device's own feed the engine tells itself
            ]
            found[core] = tuple(end for ends in (opened, read) for end in (min(ends, default=0), max(ends, default=0)))
        return found

    def _status(self, space: Space, old: Heights, new: Heights, now_ms: int) -> Iterator[models.Event]:
        reach: delivery.Reach | None = None
        for core, heights in new.items():
            before, feed = old.get(core, (0,) * len(heights)), space.feed_store.feeds.get(core)
            rising = [(low, high) for low, high in zip(before, heights, strict=True) if high > low]
            if feed is None or not rising:
                continue
            reach = reach or delivery.reach(space, self._profile.account.device)
            end = min(max(high for _, high in rising), feed.length)
            for seq in range(max(min(low for low, _ in rising), end - MAX_STATUS), end):
                for message in space.facts.messages_at(feed, seq):
                    row = timeline.find_row(self._profile.store, space.id, message)
                    if row is None or row.core != core:
                        continue
                    one = reach.of(row.core, row.seq, row.member, row.stamp, now_ms)
                    yield models.StatusEvent(
                        chat=chat_id(space.id),
                        id=message_id(message),
                        state=one.state,
                        delivered=one.delivered,
                        devices=one.devices,
                    )


def _personal(view: PersonalView, id_: bytes) -> tuple[object, ...]:
    """What my devices agree on about one chat, as far as a list of chats shows it."""
    return view.chats.get(id_), view.marks.get(id_), sum(space == id_ for space, _ in view.hidden)


def _same(old: tuple[object, ...], new: tuple[object, ...]) -> bool:
    return len(old) == len(new) and all(one is other for one, other in zip(old, new, strict=True))
