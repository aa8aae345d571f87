"""The epoch keys of one space: which are here, which opens an entry, when one is worn, when one goes.

An epoch key is dropped once nothing can still need it (`crdt.space.epoch.droppable`); entries already opened keep their
own message keys, so dropping loses nothing that was read.  `docs/protocol.md`, "Epochs".
"""

from __future__ import annotations

from collections.abc import Iterable

from crdt.log.entry import message_key
from crdt.log.stamp import stamp_ms
from crdt.space.epoch import DAY_MS, MAX_ACTIVE_DAYS, EpochKey, worn
from identity.codec import Reader, Writer
from sync.store.port import Batch, Store, Table, prefix_end


class Keyring:
    """Loaded from EPOCH rows: E | Z | entries | active days | superseded at (Unix ms, 0 for not)."""

    def __init__(self, store: Store, space: bytes) -> None:
        self._space = space
        self.held: dict[bytes, EpochKey] = {}  # by epoch id, in the order they came
        self.superseded: dict[bytes, int] = {}  # epoch id -> Unix ms when this device learned that it is
        self._entries: dict[bytes, int] = {}
        self._days: dict[bytes, set[int]] = {}
        self._last: dict[bytes, EpochKey] = {}  # core -> the key that opened its last entry
        self._changed: set[bytes] = set()
        self._dropped: set[bytes] = set()
        for key, value in store.scan(Table.EPOCH, space, prefix_end(space)):
            epoch = key[32:]
            self.held[epoch] = EpochKey(epoch, value[:32], value[32:64])
            data = Reader(value[64:])
            self._entries[epoch] = data.uint()
            self._days[epoch] = set(data.array(Reader.uint, MAX_ACTIVE_DAYS))
            at = data.uint()
            if at:
                self.superseded[epoch] = at

    def learn(self, epoch: bytes, secret: bytes, z: bytes) -> bool:
        """Whether it is new."""
        if epoch in self.held:
            return False
        self.held[epoch] = EpochKey(epoch, secret, z)
        self._changed.add(epoch)
        return True

    def find(self, core: bytes, seq: int, tag: bytes) -> bytes | None:
        """The message key of an entry, if the key of its epoch is here."""
        last = self._last.get(core)
        if last is not None:
            key, made = message_key(last.secret, core, seq)
            if made == tag:
                return key
        for epoch in reversed(self.held.values()):
            key, made = message_key(epoch.secret, core, seq)
            if made == tag:
                self._last[core] = epoch
                return key
        return None

    def use(self, core: bytes, epoch: EpochKey) -> None:
        """My own entries of this feed are sealed under it now."""
        self._last[core] = epoch

    def count(self, core: bytes, stamp: int) -> None:
        """One more entry under the epoch that opened the feed's last one."""
        last = self._last.get(core)
        if last is None:
            return
        epoch = last.id
        self._entries[epoch] = self._entries.get(epoch, 0) + 1
        days = self._days.setdefault(epoch, set())
        if len(days) < MAX_ACTIVE_DAYS:
            days.add(stamp_ms(stamp) // DAY_MS)
        self._changed.add(epoch)

    def worn(self, epoch: bytes) -> bool:
        """Whether it has had its seven days or its thousand entries."""
        return worn(len(self._days.get(epoch, ())), self._entries.get(epoch, 0))

    def note_superseded(self, epochs: Iterable[bytes], now_ms: int) -> None:
        for epoch in epochs:
            if epoch in self.held and epoch not in self.superseded:
                self.superseded[epoch] = now_ms
                self._changed.add(epoch)

    def drop(self, epoch: bytes) -> None:
        """Forgets a key for good."""
        gone = self.held.pop(epoch, None)
        self.superseded.pop(epoch, None)
        self._changed.discard(epoch)
        self._dropped.add(epoch)
        for core in [core for core, key in self._last.items() if key is gone]:
            del self._last[core]

    def finish(self, batch: Batch) -> None:
        """The rows that changed."""
        for epoch in sorted(self._changed):
            key = self.held[epoch]
            out = Writer().raw(key.secret).raw(key.z).uint(self._entries.get(epoch, 0))
            out.array(sorted(self._days.get(epoch, ())), Writer.uint).uint(self.superseded.get(epoch, 0))
            batch.put(Table.EPOCH, self._space + epoch, out.finish())
        for epoch in sorted(self._dropped):
            batch.delete(Table.EPOCH, self._space + epoch)
        self._changed.clear()
        self._dropped.clear()
