"""Device records of a space: the newest of each writer, what it says inside, and my own.

`docs/protocol.md`, "Device records".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crdt.log.head import HeadRef
from crdt.log.manifest import core_key
from crdt.space.erasures import ERASURES, Erased, encode_erasures
from crdt.space.proof import PROOFS, encode_proofs, writer_proof
from crdt.space.record import (
    MAX_FRONTIER,
    MAX_OPENED,
    Range,
    Report,
    decode_record,
    encode_record,
    open_record,
    seal_record,
)
from identity.errors import DecodeError
from identity.extension import Extension
from sync.account.context import Context
from sync.space.delta import ChangeLog
from sync.space.feed import Feed
from sync.space.feed_store import FeedStore
from sync.space.keys import EpochKeys
from sync.space.members import Members
from sync.space.proofs import Proofs


class Records:
    """Records are sealed under an epoch, so one may open only when a later key comes."""

    def __init__(
        self,
        context: Context,
        feed_store: FeedStore,
        members: Members,
        epoch_keys: EpochKeys,
        proofs: Proofs,
        changes: ChangeLog,
    ) -> None:
        self._context, self._feed_store, self._members = context, feed_store, members
        self._epoch_keys, self._proofs, self._changes = epoch_keys, proofs, changes
        self.erasures: Callable[[], tuple[Erased, ...]] = tuple  # deletion entries that are carried out here
        self._reports: dict[bytes, Report] = {}
        self._opened: dict[bytes, int] = {}  # core -> the counter of the record that its report is of
        self._heads: dict[bytes, tuple[Report, dict[bytes, HeadRef]]] = {}  # core -> its report, what it has opened
        self._keys = 0  # how many keys the closed ones were tried with
        for writer in feed_store.stored_records:
            self._open(writer)

    @property
    def reports(self) -> dict[bytes, Report]:
        """core -> the inside of the newest record that opens."""
        if self._keys != self._epoch_keys.learned:
            self._keys = self._epoch_keys.learned
            for writer, data in self._feed_store.stored_records.items():
                if data and self._opened.get(core_key(writer)) != self._feed_store.counters.get(writer):
                    self._open(writer)
        return self._reports

    def opened_head(self, core: bytes, core8: bytes) -> HeadRef | None:
        """How far the newest record of a writer says that it has opened a feed (first 8 bytes of its core key)."""
        report = self.reports.get(core)
        if report is None:
            return None
        held = self._heads.get(core)
        if held is None or held[0] is not report:
            held = self._heads[core] = report, {head.core8: head for head in report.opened}
        return held[1].get(core8)

    def verify(self, writer: bytes, counter: int, data: bytes) -> bool:
        """What replication asks before a record is kept."""
        try:
            record = decode_record(data)
        except DecodeError:
            return False
        return record.writer == writer and record.counter == counter and record.verify()

    def hear(self, writer: bytes, counter: int, data: bytes, now_ms: int) -> None:
        """A verified record, newer than the one held."""
        self._feed_store.put_record(self._context.batch, writer, counter, data, now_ms)
        self._changes.record_changed(writer)
        self._open(writer)

    def newest_of(self, device: bytes | None) -> tuple[int, Report | None]:
        """(counter, what it says) of the newest record of a device here; -1 without one, None where it stays closed.

        A feed that proved to be that device's goes before those that only name it.
        """
        best, found, reports = (False, -1), None, self.reports
        for core, writer in self._members.state.writers.items():
            if writer.device != device:
                continue
            rank = self._proofs.proved(core), self._feed_store.counters.get(writer.writer, -1)
            if rank > best:
                best = rank
                found = reports.get(core) if self._opened.get(core) == rank[1] else None
        return best[1], found

    def make(
        self, now_ms: int, transports: tuple[bytes, bytes], hints: tuple[str, ...], missing: Sequence[Range]
    ) -> bool:
        """Puts my newest record: what I store and have opened, and where I am reached.  False: I have no say here."""
        feed_store, feed, epoch, state = (
            self._feed_store,
            self._feed_store.mine,
            self._epoch_keys.newest(),
            self._members.state,
        )
        if feed is None or feed.key is None or epoch is None or not state.open(feed.core) or state.stopped:
            return False
        stored, opened = [], []
        # Feeds of writers first, should there be more than a record names: nobody else's delivery hangs on the rest.
        named = sorted(feed_store.feeds, key=lambda core: (core not in state.writers, core))[:MAX_FRONTIER]
        for core in sorted(named):
            other = feed_store.feeds[core]
            if other.length:
                stored.append(HeadRef(core[:8], other.length, other.tree.hash()[:16]))
            root = feed_store.root_at(other, other.opened) if other.opened else None
            if root is not None:
                opened.append(HeadRef(core[:8], other.opened, root[:16]))
        report = Report(
            at=now_ms,
            stored=tuple(stored),
            opened=tuple(opened),
            missing=tuple(missing),
            prekey=self._context.account.keys.prekey.public,
            transports=transports,
            hints=hints,
            epochs=tuple(key[:8] for key in list(self._epoch_keys.keys)[-MAX_OPENED:]),
            extensions=self._extensions(feed),
        )
        # The clock makes the counter, so that a crash between two records never gives one number to both.
        counter = max(feed_store.counters.get(feed.writer, 0) + 1, now_ms)
        record = seal_record(feed.key, feed_store.space, epoch.secret, counter, report)
        feed_store.put_record(self._context.batch, feed.writer, counter, encode_record(record), now_ms)
        self._reports[feed.core] = report
        self._opened[feed.core] = counter
        self._changes.record_changed(feed.writer)
        return True

    def _extensions(self, feed: Feed) -> tuple[Extension, ...]:
        found = [Extension(PROOFS, encode_proofs(proofs))] if (proofs := self._own_proofs(feed)) else []
        if erasures := self.erasures():
            found.append(Extension(ERASURES, encode_erasures(erasures)))
        return tuple(sorted(found, key=lambda one: one.kind))

    def _own_proofs(self, feed: Feed) -> list[bytes]:
        """That this device writes here: for each reader that, as far as its record tells, opened no grant of mine."""
        state, directory = self._members.state, self._context.directory
        own = {epoch.id[:8] for epoch in state.epochs.values() if epoch.core == feed.core}
        found = []
        for core, device in self._members.rostered():
            report = self.reports.get(core)
            if core == feed.core or (report is not None and not own.isdisjoint(report.epochs)):
                continue
            shared = directory.shared(device)
            if shared is not None:
                found.append(writer_proof(shared, self._feed_store.space, feed.writer, state.writers[core].writer))
        return found

    def _open(self, writer: bytes) -> None:
        try:
            record = decode_record(self._feed_store.stored_records[writer])
            for epoch in reversed(list(self._epoch_keys.keys.values())):
                report = open_record(record, self._feed_store.space, epoch.secret)
                if report is not None:
                    self._reports[record.core] = report
                    self._opened[record.core] = record.counter
                    self._proofs.told(record.core, report.proofs)
                    return
        except DecodeError:
            return  # signed by its writer and malformed inside: as good as none
