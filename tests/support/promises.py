"""The promise that every simulation asserts: nothing that its author wrote after it learnt that a device is out can be
opened by that device.

Whatever any simulated device seals (entries, grants, records) is noted with the devices that it knew at that moment to
be out of the space: shut out of their identity, removed, or gone.  At rest each of them is searched for a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from crdt.log.entry import GRANT_TAG, message_key, open_entry, read_block
from crdt.space.record import decode_record, open_record
from identity.errors import DecodeError
from sync.account.context import Context
from sync.engine.profile import Profile
from sync.space.feed import EntryState
from sync.space.members import Members
from sync.space.outbound import Outbound
from sync.space.records import Records
from sync.store.port import Store


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry of a feed (core, seq) or a device record (seq None), as its author made it, and who must not open it."""

    space: bytes
    core: bytes
    seq: int | None
    data: bytes
    outside: frozenset[bytes]


LEDGER: WeakKeyDictionary[Store, list[Sealed]] = WeakKeyDictionary()


def known_outside(context: Context, members: Members) -> frozenset[bytes]:
    """Devices that this device knows to be out of a space, by the statements and the fold that it has."""
    state, directory = members.state, context.directory
    open_ = {w.device for w in state.writers.values() if w.open and not w.out}
    closed = {w.device for w in state.writers.values()} - open_
    out = {w.device for w in state.writers.values() if directory.is_out(w.device)}
    return frozenset((closed | out) - {context.account.device})


def _note(context: Context, sealed: Sealed) -> None:
    if sealed.outside:
        LEDGER.setdefault(context.store, []).append(sealed)


def _watch() -> None:
    append, make = Outbound.append, Records.make

    @wraps(append)
    def appended(self: Any, *args: Any, **kwargs: Any) -> Any:
        outside = known_outside(self._context, self._inbound._members)
        feed = self._feed_store.mine
        start = feed.length if feed is not None else 0
        made = append(self, *args, **kwargs)
        outside &= known_outside(self._context, self._inbound._members)  # an entry that lets somebody in is for them
        for seq in range(start, feed.length if outside and feed is not None else start):
            entry = self._feed_store.entry(feed, seq)
            _note(self._context, Sealed(self._feed_store.space, feed.core, seq, entry.block, outside))
        return made

    @wraps(make)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        outside = known_outside(self._context, self._members)
        made = make(self, *args, **kwargs)
        feed = self._feed_store.mine
        if made and outside and feed is not None:
            data = self._feed_store.stored_records[feed.writer]
            _note(self._context, Sealed(self._feed_store.space, feed.core, None, data, outside))
        return made

    Outbound.append = appended  # type: ignore[method-assign]
    Records.make = recorded  # type: ignore[method-assign]


_watch()


def broken(authors: Iterable[tuple[str, Store, Profile]], profiles: Mapping[bytes, Profile]) -> list[str]:
    """A sentence for each thing that a device opens and must not.  authors: name, store and profile of every device;
    profiles: device id -> what that device has now."""
    found = []
    for author, store, knows in authors:
        for sealed in LEDGER.get(store, ()):
            for device in sorted(sealed.outside & profiles.keys()):
                if not is_in(knows, device, sealed.space) and opens(profiles[device], sealed):
                    what = "a record" if sealed.seq is None else f"entry {sealed.seq}"
                    found.append(f"{what} that {author} wrote in {sealed.space.hex()[:8]} opens at {device.hex()[:8]}")
    return found


def is_in(knows: Profile, device: bytes, space: bytes) -> bool:
    """Whether a device was let in again meanwhile, as the author knows: then it may have what was missed."""
    found = knows.spaces.get(space)
    if found is None or knows.directory.is_out(device):
        return False
    return any(w.device == device and w.open and not w.out for w in found.state.writers.values())


def opens(profile: Profile, sealed: Sealed) -> bool:
    """Whether this device has a key for it, or has it opened."""
    space = profile.spaces.get(sealed.space)
    if space is None:
        return False
    keys = list(space.keys.values())
    if sealed.seq is None:
        record = decode_record(sealed.data)
        return any(open_record(record, sealed.space, key.secret) is not None for key in keys)
    header = read_block(sealed.data, sealed.seq)
    for epoch in keys:
        key, tag = message_key(epoch.secret, sealed.core, sealed.seq)
        if tag == header.tag:
            return True
        if header.tag == GRANT_TAG:
            with suppress(DecodeError):
                open_entry(key, sealed.core, sealed.space, sealed.data, header)
                return True
    feed = space.feed_store.feeds.get(sealed.core)
    entry = space.feed_store.entry(feed, sealed.seq) if feed is not None and sealed.seq < feed.length else None
    return entry is not None and entry.state is EntryState.OPENED and entry.block == sealed.data
