"""Records in the DHT that say where a copy is: put by whoever keeps one, looked for by a device made from the words.

`docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf

from identity.errors import DecodeError
from identity.recovery import SLOTS, DropSlot, drop_slot, open_record, seal_record
from identity.statement import Certificate
from sync.engine.dialling import Dialling, Whereabouts
from sync.engine.effects import PutRecord, SeekRecord
from sync.engine.profile import Profile
from sync.engine.recovery.copies import MAX_HINTS, Copies
from sync.engine.recovery.messages import MAX_CERTIFICATES, decode_holder, encode_holder

RECORD_GAP = 12 * 3600.0  # seconds between two times that a record is put: nodes keep it for 48 h
AFTER = 20.0  # seconds after the start, or after a first copy came, until this device says that it keeps it
SEEK_FIRST, SEEK_LONGEST = 5.0, 600.0  # seconds between two looks for my own copy, doubling
MAX_HOLDERS = 2  # devices that one record named; who writes there often pushes out its own alone


class Drops:
    """The eight places of each person whose copy is kept here, and of mine."""

    def __init__(self, profile: Profile, dialling: Dialling, copies: Copies) -> None:
        self._profile = profile
        self._dialling = dialling
        self._copies = copies
        self._record_at: dict[bytes, float] = {}  # whose record (mine: my identity) -> when it is put next
        self._seek_at, self._seek_wait = 0.0, SEEK_FIRST
        self._seeking: dict[bytes, DropSlot] = {}  # public key of a record asked for
        self._named: dict[bytes, list[bytes]] = {}  # the same -> the devices that it named last

    def start(self, now: float) -> None:
        """The node is online, perhaps at another place."""
        self._record_at.clear()
        self._seek_at, self._seek_wait = now, SEEK_FIRST

    def next_wake(self, *, seeking: bool) -> float:
        """Unix seconds at which `put` or `seek` is due."""
        return min([*self._record_at.values(), *([self._seek_at] if seeking else [])], default=inf)

    def keeps(self, identity: bytes, now: float) -> None:
        """A contact's copy came: this device says so soon."""
        self._record_at.setdefault(identity, now + AFTER)

    def put(self, now: float) -> None:
        """Says in the DHT that I have a copy, mine and those of contacts: also while a device of theirs is here, which
        may be in a thief's hands."""
        profile = self._profile
        me, slots = profile.account.identity, {}
        if profile.recovery is not None:
            slots[me] = drop_slot(profile.recovery, 0)
        if not self._record_at:
            self._record_at = dict.fromkeys(self._copies.kept_for(), now + AFTER)
            self._record_at[me] = now + 1.0
        for identity, at in list(self._record_at.items()):
            if at <= now:
                self._record_at[identity] = now + RECORD_GAP
                kept = self._copies.kept(identity) if identity != me else None
                slot = slots.get(identity) or (kept.slot if kept is not None else None)
                holder = self._holder(now)
                if slot is not None and holder is not None:
                    value = seal_record(slot, profile.rng, holder)
                    profile.effects.append(PutRecord(slot.signing, value, int(now)))

    def _holder(self, now: float) -> bytes | None:
        """This device as a record names it; None where its certificates are more than a record takes."""
        profile, account = self._profile, self._profile.account
        certificates = chain(profile, account.identity, account.device)
        if not 0 < len(certificates) <= MAX_CERTIFICATES:
            return None
        transports = (account.transport(now).public, account.next_transport(now).public)
        where = Whereabouts(int(now * 1000), transports, self._dialling.hints[:MAX_HINTS])
        return encode_holder(account.device, certificates, where)

    def seek(self, now: float) -> None:
        """Asks for the eight places, at doubling intervals."""
        if self._seek_at > now or self._profile.recovery is None:
            return
        self._seek_at, self._seek_wait = now + self._seek_wait, min(self._seek_wait * 2, SEEK_LONGEST)
        for index in range(SLOTS):
            slot = drop_slot(self._profile.recovery, index)
            self._seeking[slot.signing.public] = slot
            self._profile.effects.append(SeekRecord(slot.signing.public))

    def sought(self, public: bytes, value: bytes) -> None:
        """A record that was asked for: whoever it names is dialled."""
        slot = self._seeking.get(public)
        if slot is None:
            return
        try:
            device, certificates, where = decode_holder(open_record(slot, value))
        except DecodeError:
            return
        directory, me = self._profile.directory, self._profile.account.identity
        if certificates[0].identity == me:
            self._profile.learn(certificates)  # kept: a generation above mine says that this clock was behind
            directory.know_former(certificates[0])
        else:
            directory.learn([certificate.encoded for certificate in certificates])
        if directory.device(device) is None:
            return
        named = self._named.setdefault(public, [])
        self._named[public] = [*(one for one in named if one != device), device][-MAX_HOLDERS:]
        self._dialling.holders = {one for devices in self._named.values() for one in devices}
        self._dialling.remember(device, where)

    def unasked(self, asked: Collection[bytes]) -> bool:
        """Whether a contact's record names a device that was not asked for a copy.  One false copy ends no search."""
        own = drop_slot(self._profile.recovery, 0).signing.public if self._profile.recovery is not None else b""
        return any(set(devices) - set(asked) for public, devices in self._named.items() if public != own)


def chain(profile: Profile, identity: bytes, device: bytes) -> list[Certificate]:
    """The certificates from a standing device up to the root key, its own first; last, perhaps, one that lists it."""
    by_device = {s.device: s for s in profile.directory.statements(identity) if isinstance(s, Certificate)}
    newest = profile.directory.generation(identity)
    found: list[Certificate] = []
    at: bytes | None = device
    while at is not None and len(found) <= MAX_CERTIFICATES:
        certificate = by_device.get(at)
        if certificate is None:
            return []
        found.append(certificate)
        if certificate.generation < newest:  # the root key lists it, whoever issued it: its word stands for the rest
            return [*found, *(c for c in by_device.values() if c.issuer is None and certificate.id in c.stay)]
        at = certificate.issuer
    return found
