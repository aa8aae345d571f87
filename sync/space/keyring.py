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
    """Loaded from EPOCH rows: E | Z | entries | active days | superseded at (Unix ms, 0 for not) | spans.

    spans: which entries stand under the epoch, (core, start, end) each.  They outlive the key (E and Z are then zeros),
    because who may have an entry as an item is decided by its epoch's roster.
    """

    def __init__(self, store: Store, space: bytes) -> None:
        self._space = space
        self.held: dict[bytes, EpochKey] = {}  # by epoch id, in the order they came
        self.superseded: dict[bytes, int] = {}  # epoch id -> Unix ms when this device learned that it is
        self._entries: dict[bytes, int] = {}
        self._days: dict[bytes, set[int]] = {}
        self._last: dict[bytes, EpochKey] = {}  # core -> the key that opened its last entry
        self._changed: set[bytes] = set()
        self._spans: dict[bytes, dict[bytes, list[tuple[int, int]]]] = {}  # epoch id -> core -> rising spans
        for key, value in store.scan(Table.EPOCH, space, prefix_end(space)):
            epoch = key[32:]
            if value[:64] != bytes(64):
                self.held[epoch] = EpochKey(epoch, value[:32], value[32:64])
            data = Reader(value[64:])
            self._entries[epoch] = data.uint()
            self._days[epoch] = set(data.array(Reader.uint, MAX_ACTIVE_DAYS))
            at = data.uint()
            if at and epoch in self.held:
                self.superseded[epoch] = at
            for _ in range(data.uint()):
                self._spans.setdefault(epoch, {}).setdefault(data.fixed(32), []).append((data.uint(), data.uint()))

    def learn(self, epoch: bytes, secret: bytes, z: bytes) -> bool:
        """Whether it is new."""
        if epoch in self.held:
            return False
        self.held[epoch] = EpochKey(epoch, secret, z)
        self._changed.add(epoch)
        return True

    def find(self, core: bytes, seq: int, tag: bytes, *, note: bool = True) -> bytes | None:
        """The message key of an entry, if the key of its epoch is here.  note: remember under which epoch it stands."""
        last = self._last.get(core)
        for epoch in (*([last] if last is not None else []), *reversed(self.held.values())):
            key, made = message_key(epoch.secret, core, seq)
            if made == tag:
                if note:
                    self._last[core] = epoch
                    self._note(epoch.id, core, seq)
                return key
        return None

    def epoch_of(self, core: bytes, seq: int) -> bytes | None:
        """The epoch that an entry stands under, None where that is not known: it came as an item."""
        for epoch, cores in self._spans.items():
            if any(start <= seq < end for start, end in cores.get(core, ())):
                return epoch
        return None

    def _note(self, epoch: bytes, core: bytes, seq: int) -> None:
        spans = self._spans.setdefault(epoch, {}).setdefault(core, [])
        if spans and spans[-1][0] <= seq <= spans[-1][1]:
            if seq == spans[-1][1]:
                spans[-1] = (spans[-1][0], seq + 1)
        elif not any(start <= seq < end for start, end in spans):
            spans.append((seq, seq + 1))
        self._changed.add(epoch)

    def use(self, core: bytes, epoch: EpochKey, start: int, end: int) -> None:
        """My own entries start..end-1 of this feed are sealed under it."""
        self._last[core] = epoch
        for seq in range(start, end):
            self._note(epoch.id, core, seq)

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
        self._changed.add(epoch)
        for core in [core for core, key in self._last.items() if key is gone]:
            del self._last[core]

    def finish(self, batch: Batch) -> None:
        """The rows that changed."""
        for epoch in sorted(self._changed):
            key = self.held.get(epoch)
            if key is None and epoch not in self._spans:
                batch.delete(Table.EPOCH, self._space + epoch)
                continue
            secrets = bytes(64) if key is None else key.secret + key.z
            out = Writer().raw(secrets).uint(self._entries.get(epoch, 0))
            out.array(sorted(self._days.get(epoch, ())), Writer.uint).uint(self.superseded.get(epoch, 0))
            spans = [(core, *span) for core, found in sorted(self._spans.get(epoch, {}).items()) for span in found]
            out.array(spans, lambda w, s: w.raw(s[0]).uint(s[1]).uint(s[2]))
            batch.put(Table.EPOCH, self._space + epoch, out.finish())
        self._changed.clear()
