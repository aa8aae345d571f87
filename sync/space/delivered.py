"""Delivered means these bytes: how far the others have opened a feed, as their records show it for the bytes held here.

A record counts as far as its tree hash is that of the feed here, and only if its writer proved which device it is: a
device id is a claim, and a length alone says nothing of what was read.  `docs/protocol.md`, "Delivery".
"""

from __future__ import annotations

from collections.abc import Mapping

from crdt.log.head import HeadRef
from crdt.space.control import SpaceKind
from crdt.space.record import MAX_RANGES
from sync.space.feed import EntryState, Feed
from sync.space.feed_store import FeedStore
from sync.space.keys import EpochKeys
from sync.space.members import Members
from sync.space.proofs import Proofs
from sync.space.records import Records

LOOKED_AT = 1024  # entries of one span that are looked at


class Delivered:
    """What the records of one space say of the feeds in it."""

    def __init__(
        self, feed_store: FeedStore, members: Members, epoch_keys: EpochKeys, records: Records, proofs: Proofs
    ) -> None:
        self._feed_store, self._members, self._epoch_keys = feed_store, members, epoch_keys
        self._records, self._proofs = records, proofs
        self._agreed: dict[tuple[bytes, bytes], tuple[HeadRef | None, int]] = {}  # (core of the record, of the feed)

    def reach(self, core: bytes, feed: Feed) -> int:
        """How many entries of a feed the writer of `core` has opened, of these very bytes."""
        mine = self._feed_store.mine
        if mine is not None and core == mine.core:
            return feed.opened
        return self._agreement(core, feed) if self._proofs.proved(core) else 0

    def _agreement(self, core: bytes, feed: Feed) -> int:
        """The greatest length at which a record of this writer named the tree hash that stands here.  What agreed once
        agrees for good; a record that names a longer feed than is here is looked at again when the feed has grown."""
        seen, length = self._agreed.get((core, feed.core), (None, 0))
        head = self._records.opened_head(core, feed.core[:8])
        if head is None or head is seen or head.length > feed.length:
            return length
        root = self._feed_store.root_at(feed, head.length)
        if root is not None and root[:16] == head.root16:
            length = max(length, self._past_forgotten(core, feed, head.length))
        self._agreed[core, feed.core] = head, length
        return length

    def _past_forgotten(self, core: bytes, feed: Feed, opened: int) -> int:
        """How far a writer has opened a feed, past entries that I deleted for me and nobody has any more: the record
        names what it still waits for, and of these bytes all else that it stores is opened."""
        report = self._records.reports.get(core)
        next_ = self._feed_store.entry(feed, opened) if opened < feed.length else None
        if next_ is None or next_.state is not EntryState.FORGOTTEN:
            return opened
        if report is None or len(report.missing) >= MAX_RANGES:
            return opened
        stored = next((head for head in report.stored if head.core8 == feed.core[:8]), None)
        if stored is None or not opened < stored.length <= feed.length:
            return opened
        root = self._feed_store.root_at(feed, stored.length)
        if root is None or root[:16] != stored.root16:
            return opened
        waits = sorted((gap.start, gap.end) for gap in report.missing if gap.core8 == feed.core[:8])
        for start, end in waits:
            entries = self._feed_store.entries(feed, start, min(end, start + LOOKED_AT, stored.length))
            gone = next((i for i, e in enumerate(entries) if e.state is not EntryState.FORGOTTEN), len(entries))
            if start + gone < end:
                return max(opened, start + gone)
        return stored.length

    def reaches(self, identity: bytes) -> dict[tuple[bytes, bytes], int]:
        """(core of a rostered writer, core of a feed of this person) -> how far that feed is opened there."""
        state, feeds = self._members.state, self._feed_store.feeds
        own = [
            feeds[core]
            for core, writer in state.writers.items()
            if core in feeds and state.members[writer.member].identity == identity
        ]
        mine = self._feed_store.mine
        others = [core for core, _ in self._members.rostered() if mine is None or core != mine.core]
        return {(core, feed.core): reach for core in others for feed in own if (reach := self.reach(core, feed))}

    def owed(self, core: bytes, seq: int, stamp: int) -> Mapping[bytes, bool]:
        """member id -> whether the entry at this place of a feed was written for that member.

        In a group it was if the roster of its epoch holds the member.  Of an entry whose epoch is not known here (it
        came in a pack) the stamp tells: who writes after an admission that it has seen stamps later.
        """
        state = self._members.state
        if state.kind is not SpaceKind.GROUP:
            return dict.fromkeys(state.members, True)
        id_ = self._epoch_keys.keyring.epoch_of(core, seq)
        epoch = state.epochs.get(id_) if id_ is not None else None
        if epoch is None:
            return {member: self._admitted(member) < stamp for member in state.members}
        rostered = {place.writer for place in epoch.roster}
        held = {writer.member for writer in state.writers.values() if writer.writer in rostered}
        return {member: member in held for member in state.members}

    def _admitted(self, member: bytes) -> int:
        first = self._members.state.writers.get(self._members.state.members[member].core)
        return first.stamp if first is not None else 0
