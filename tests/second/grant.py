"""Grants: section 12 of docs/protocol.md, "Grant". Slots of three kinds, the sealed Z, the recovery slot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from tests.second.codec import Reader, Refused, array, require, u64
from tests.second.digest import blake, derive
from tests.second.head import BLOCKS
from tests.second.signature import agree, kem_open, kem_public, public_of, unseal

SLOTS = 64
CARRIERS = 16
CLASSICAL, CARRIED, NAMED = range(3)
KEM = {CLASSICAL: 0, CARRIED: 1088, NAMED: 8}


@dataclass(frozen=True, slots=True)
class Slot:
    """E for one device."""

    hint: bytes
    kind: int
    kem: bytes
    sealed: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.hint + bytes([self.kind]) + self.kem + self.sealed


@dataclass(frozen=True, slots=True)
class Grant:
    """E and Z of an epoch, for many devices."""

    once: bytes
    z: bytes
    slots: tuple[Slot, ...]

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.once + self.z + array(slot.encoded() for slot in self.slots)


@dataclass(frozen=True, slots=True)
class At:
    """Where a grant stands: core key, seq and space."""

    core: bytes
    seq: int
    space: bytes

    def place(self) -> bytes:
        """core key ‖ seq u64."""
        return self.core + u64(self.seq)


@dataclass(frozen=True, slots=True)
class Device:
    """The secrets of a recipient: D, P, and the seed of K where it has one."""

    agreement: bytes
    prekey: bytes
    kem_seed: bytes


def read_grant(data: bytes) -> Grant:
    """Reads a grant."""
    reader = Reader(data)
    once, z = reader.take(32), reader.take(48)

    def slot() -> Slot:
        hint, kind = reader.take(8), reader.byte()
        require(kind in KEM, "a known kind of slot")
        kem = reader.take(KEM[kind])
        require(kind != NAMED or int.from_bytes(kem, "little") < BLOCKS, "a seq is below 2^40")
        return Slot(hint, kind, kem, reader.take(48))

    slots = reader.array(SLOTS, slot)
    named = {slot.kem for slot in slots if slot.kind == NAMED}
    require(len(named) <= CARRIERS, "a grant names at most 16 earlier entries")
    require(all(a.hint <= b.hint for a, b in pairwise(slots)), "slots ascend by hint")
    reader.end()
    return Grant(once, z, slots)


def hint_of(at: At, shared: bytes) -> bytes:
    """The hint of a slot, from DH(D_a, D_b)."""
    return derive(shared, b"kithkin slot", at.place(), 8)


def slot_key(at: At, index: int, shared: bytes, publics: bytes, kem: tuple[bytes, bytes, bytes] | None) -> bytes:
    """key 32 ‖ nonce 24 of a slot; `kem` is ss, K and the ciphertext where there is one."""
    if kem is not None:
        secret, public, ciphertext = kem
        shared += secret
        publics += public + blake(b"kithkin slot kem", ciphertext)
    extracted = blake(b"kithkin slot key", shared)
    said = publics + at.space + at.place() + index.to_bytes(2, "little")
    return derive(extracted, b"kithkin slot key", said, 56)


def z_key(at: At, epoch: bytes) -> bytes:
    """key 32 ‖ nonce 24 of Z."""
    return derive(epoch, b"kithkin grant z", at.place(), 56)


def open_z(grant: Grant, at: At, epoch: bytes) -> bytes:
    """Z, sealed under E."""
    key = z_key(at, epoch)
    return unseal(key[:32], key[32:], grant.z, b"")


Earlier = Callable[[int], tuple[Grant, At] | None]


def ciphertext_for(slot: Slot, at: At, shared: bytes, earlier: Earlier) -> bytes:
    """The ML-KEM ciphertext of a slot: its own, or that of the recipient's slot in an earlier grant of the feed."""
    if slot.kind == CARRIED:
        return slot.kem
    seq = int.from_bytes(slot.kem, "little")
    found = earlier(seq) if seq < at.seq else None
    if found is None:
        raise Refused("no earlier grant of this feed is named")
    grant, there = found
    hint = hint_of(there, shared)
    for other in grant.slots:
        if other.hint == hint and other.kind == CARRIED:
            return other.kem
    raise Refused("the recipient has no ciphertext in the earlier grant")


def open_slot(grant: Grant, at: At, sender: bytes, device: Device, earlier: Earlier) -> bytes:
    """E, out of the slot of a device; `sender` is D_a. `Refused` where no slot of it opens."""
    shared = agree(device.agreement, sender)
    hint = hint_of(at, shared)
    for index, slot in enumerate(grant.slots):
        if slot.hint != hint:
            continue
        secrets = (
            shared
            + agree(device.prekey, sender)
            + agree(device.agreement, grant.once)
            + agree(device.prekey, grant.once)
        )
        publics = sender + public_of(device.agreement) + public_of(device.prekey) + grant.once
        kem = None
        if slot.kind != CLASSICAL:
            ciphertext = ciphertext_for(slot, at, shared, earlier)
            kem = kem_open(device.kem_seed, ciphertext), kem_public(device.kem_seed), ciphertext
        key = slot_key(at, index, secrets, publics, kem)
        return unseal(key[:32], key[32:], slot.sealed, b"")
    raise Refused("no slot is for this device")


def open_recovery(grant: Grant, at: At, secret: bytes, kem_seed: bytes) -> bytes:
    """E, out of the recovery slot: the phrase tries every slot of kind 0 or 1."""
    recovery = public_of(secret)
    for index, slot in enumerate(grant.slots):
        if slot.kind == NAMED:
            continue
        kem = None
        if slot.kind == CARRIED:
            kem = kem_open(kem_seed, slot.kem), kem_public(kem_seed), slot.kem
        key = slot_key(at, index, agree(secret, grant.once), recovery + grant.once, kem)
        try:
            return unseal(key[:32], key[32:], slot.sealed, b"")
        except Refused:
            continue
    raise Refused("no slot is for the phrase")
