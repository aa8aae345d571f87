"""Grants: how an epoch's secrets reach devices, unsigned and deniable (`docs/protocol.md`, "Grant").

A grant rides before the ciphertext of an entry: e | sealed Z | count | slots.  A slot gives one device the secret E,
and E opens Z, which is the same for all.  A grant has at most 64 slots; an epoch for more devices is told in several
entries of one feed.  An ML-KEM ciphertext is large, so it travels once: later grants of the same feed name the entry
that carried it (decision 0189).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from crdt.log.merkle import MAX_LENGTH
from crdt.space.slot import (
    NAME,
    Encapsulated,
    SlotKey,
    decapsulate,
    encapsulate,
    receiving,
    receiving_by_phrase,
    sending,
    sending_to_phrase,
)
from identity.codec import Reader, Writer
from identity.digest import derive
from identity.errors import DecodeError
from identity.kem import CIPHERTEXT, HybridKey, Kem, split
from identity.keys import AgreementKey, Random
from identity.labels import Label
from identity.seal import NONCE, TAG, open_sealed, seal

MAX_SLOTS = 64
MAX_CARRIERS = 16  # earlier entries that one grant names
HINT = 8
SEALED = 32 + TAG  # E in a slot, Z beside them
_SIZES = (0, CIPHERTEXT, NAME)  # of what stands between, by its kind


@dataclass(frozen=True, slots=True)
class Slot:
    """hint: 8 bytes; kem: empty (X25519 alone), an ML-KEM ciphertext, or the 8-byte seq of the entry that carried it;
    sealed: E | tag."""

    hint: bytes
    kem: bytes
    sealed: bytes

    @property
    def carrier(self) -> int | None:
        """The seq that it names, None where it names none."""
        return int.from_bytes(self.kem, "little") if len(self.kem) == NAME else None


@dataclass(frozen=True, slots=True)
class EpochGrant:
    """e: one-use X25519 public key; z: Z sealed under E, 48 bytes; slots: ascending by hint (so their order tells
    nothing)."""

    e: bytes
    z: bytes
    slots: tuple[Slot, ...]

    @property
    def carriers(self) -> list[int]:
        """Seqs of the earlier entries that its slots name, ascending."""
        return sorted({slot.carrier for slot in self.slots if slot.carrier is not None})


@dataclass(frozen=True, slots=True)
class OpenedGrant:
    """E and Z; sender: D of the device that sealed it, None where the recovery key opened it."""

    secret: bytes = field(repr=False)
    z: bytes = field(repr=False)
    sender: bytes | None


Earlier = Callable[[int], bytes | None]  # the grant of an earlier entry of the feed, None where it is not here


def nothing_earlier(seq: int) -> bytes | None:
    """For a reader who has no other entry."""
    return None


class Shared:
    """The ss of this device with others' K, of one feed and one week, and which entry carried each ciphertext.

    In memory alone: after a restart the next grant carries ciphertexts again, and nothing at rest opens a slot
    (decision 0189).
    """

    def __init__(self) -> None:
        self._of: tuple[bytes, int] | None = None  # core key, UTC week
        self._kept: dict[bytes, tuple[int, Encapsulated]] = {}  # D | P | K -> seq, ss

    def renew(self, core: bytes, week: int) -> Shared:
        """Forgets what was made for another feed or in another week; itself."""
        if self._of != (core, week):
            self._of = core, week
            self._kept = {}
        return self

    def find(self, recipient: bytes) -> tuple[int, Encapsulated] | None:
        """(seq of the carrier, ss) for D | P | K."""
        return self._kept.get(recipient)

    def best(self, slots: Iterable[tuple[bytes, bytes]], seq: int) -> frozenset[int]:
        """The earlier entries, 16 at most, that carried the most ciphertexts for these devices (D, prekey)."""
        found = [self._kept.get(agreement + prekey) for agreement, prekey in slots]
        counts = Counter(known[0] for known in found if known is not None and known[0] < seq)
        return frozenset(at for at, _ in sorted(counts.items(), key=lambda one: (-one[1], -one[0]))[:MAX_CARRIERS])

    def sort(self, slots: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Those whose ciphertexts one entry carried beside one another, the most first: so each of several grants names
        few entries, and what has to travel again travels in one entry."""
        known = [(slot, self._kept.get(slot[0] + slot[1], (MAX_LENGTH,))[0]) for slot in slots]
        counts = Counter(carrier for _, carrier in known)
        return [slot for slot, carrier in sorted(known, key=lambda one: (-counts[one[1]], one[1]))]

    def keep(self, made: Mapping[bytes, Encapsulated], seq: int) -> None:
        """The entry `seq` carries these ciphertexts."""
        self._kept.update({recipient: (seq, kem.sent) for recipient, kem in made.items()})

    def __len__(self) -> int:
        return len(self._kept)


def encode_grant(grant: EpochGrant) -> bytes:
    """e (32) | sealed Z (48) | count (uint) | slots: hint (8), kind (0, 1, 2), kem (0, 1,088, 8), sealed E (48)."""
    out = Writer().raw(grant.e).raw(grant.z).uint(len(grant.slots))
    for slot in grant.slots:
        out.raw(slot.hint).fixed_uint(_SIZES.index(len(slot.kem)), 1).raw(slot.kem).raw(slot.sealed)
    return out.finish()


def decode_grant(data: bytes) -> EpochGrant:
    """Raises DecodeError for more than 64 slots or 16 carriers, an unknown kind, a wrong length, or hints that do not
    ascend."""
    reader = Reader(data)
    grant = EpochGrant(reader.fixed(32), reader.fixed(SEALED), tuple(reader.array(_read_slot, MAX_SLOTS)))
    reader.end()
    if any(a.hint > b.hint for a, b in pairwise(grant.slots)):
        raise DecodeError("hints ascend")
    if len(grant.carriers) > MAX_CARRIERS:
        raise DecodeError("a grant names at most 16 earlier entries")
    return grant


def _read_slot(reader: Reader) -> Slot:
    hint, kind = reader.fixed(HINT), reader.fixed_uint(1)
    if kind >= len(_SIZES):
        raise DecodeError("a slot of an unknown kind")
    slot = Slot(hint, reader.fixed(_SIZES[kind]), reader.fixed(SEALED))
    if slot.carrier is not None and slot.carrier >= MAX_LENGTH:
        raise DecodeError("a slot that names no entry")
    return slot


def make_grant(
    rng: Random,
    secret: bytes,
    z: bytes,
    core: bytes,
    seq: int,
    space: bytes,
    sender: AgreementKey,
    slots: Sequence[tuple[bytes, bytes]],
    recovery: bytes | None = None,
    *,
    kem: Kem | None = None,
    shared: Shared | None = None,
) -> bytes:
    """The encoded grant of (E, Z) in entry `seq` of feed `core`.

    slots: (D, prekey) of each device, at most 64 with the recovery slot; recovery: the phrase's public keys, in a
    personal space only; shared: ss of earlier grants of this feed, where the new ones are kept too.  A device whose
    keys agree on nothing, or whose K is none, gets no slot: it must not be able to stop the others from getting theirs.
    """
    if len(slots) + (recovery is not None) > MAX_SLOTS:
        raise ValueError("more devices than a grant has slots for")
    if len(secret) != 32 or len(z) != 32:
        raise ValueError("E and Z have 32 bytes")
    place = _place(core, seq)
    once = AgreementKey.generate(rng)
    made: list[tuple[bytes, bytes, SlotKey]] = []  # hint, kem, key
    fresh: dict[bytes, Encapsulated] = {}
    carriers = shared.best(slots, seq) if shared is not None and kem is not None else frozenset()
    for agreement, prekey in slots:
        recipient = agreement + prekey
        known = shared.find(recipient) if shared is not None else None
        if known is not None and known[0] in carriers:
            key = sending(sender, once, agreement, prekey, known[1])
            made.append((_hint(key.static, place), known[0].to_bytes(NAME, "little"), key))
            continue
        try:
            encapsulated = encapsulate(kem, prekey, rng)
            key = sending(sender, once, agreement, prekey, encapsulated)
        except DecodeError:
            continue
        made.append((_hint(key.static, place), encapsulated.ciphertext, key))
        if encapsulated.ciphertext:
            fresh[recipient] = encapsulated
    if recovery is not None:
        encapsulated = encapsulate(kem, recovery, rng)
        hint = _hint(sender.agree(split(recovery)[0]), place)
        made.append((hint, encapsulated.ciphertext, sending_to_phrase(once, recovery, encapsulated)))
    made.sort(key=lambda one: one[:2])
    if shared is not None:
        shared.keep(fresh, seq)
    sealed = tuple(
        Slot(hint, carried, key.seal(Label.SLOT_KEY, _context(space, place, index), secret))
        for index, (hint, carried, key) in enumerate(made)
    )
    own = _z_key(secret, place)
    return encode_grant(EpochGrant(once.public, seal(own[:32], own[32:], z), sealed))


def open_grant(
    grant: EpochGrant | bytes,
    core: bytes,
    seq: int,
    space: bytes,
    device: AgreementKey,
    prekeys: Iterable[HybridKey],
    senders: Iterable[bytes],
    *,
    kem: Kem | None = None,
    earlier: Earlier = nothing_earlier,
) -> OpenedGrant | None:
    """(E, Z) and the D among `senders` that sealed them to this device, or None.

    device: my D; prekeys: my P and K kept, newest first is quickest; earlier: grants of earlier entries of this feed.
    One agreement a sender finds the slot, so a grant that is not for me costs no more than that.  Raises DecodeError
    for bytes that are no grant.
    """
    if not isinstance(grant, EpochGrant):
        grant = decode_grant(grant)
    place = _place(core, seq)
    kept = tuple(prekeys)
    for sender in senders:
        try:
            static = device.agree(sender)
        except DecodeError:
            continue
        hint = _hint(static, place)
        for index, slot in enumerate(grant.slots):
            if slot.hint != hint:
                continue
            for ciphertext in _ciphertexts(slot, static, core, seq, earlier):
                for prekey in kept:
                    try:
                        encapsulated = decapsulate(kem, prekey, ciphertext)
                        key = receiving(device, prekey, sender, grant.e, encapsulated)
                        secret = key.open(Label.SLOT_KEY, _context(space, place, index), slot.sealed)
                        return OpenedGrant(secret, _open_z(grant, secret, place), sender)
                    except DecodeError:
                        continue
    return None


def _ciphertexts(slot: Slot, static: bytes, core: bytes, seq: int, earlier: Earlier) -> list[bytes]:
    """The ML-KEM ciphertext of a slot: its own, or that of my slot in the entry that it names; none where that entry is
    not here, is no earlier one, or carries none for me.  An empty one stands for X25519 alone."""
    if slot.carrier is None:
        return [slot.kem]
    data = earlier(slot.carrier) if slot.carrier < seq else None
    if data is None:
        return []
    try:
        carrier = decode_grant(data)
    except DecodeError:
        return []
    hint = _hint(static, _place(core, slot.carrier))
    return [other.kem for other in carrier.slots if other.hint == hint and len(other.kem) == CIPHERTEXT]


def open_recovery(
    grant: EpochGrant | bytes, core: bytes, seq: int, space: bytes, recovery: HybridKey, *, kem: Kem | None = None
) -> OpenedGrant | None:
    """(E, Z) by the phrase alone, which knows no device yet.  Raises DecodeError for bytes that are no grant.

    Who sealed them is unknown until the entry is opened and names its device: ask `recovery_sender` then.
    """
    found = _recovery_slot(grant, core, seq, space, recovery, kem)
    return found[1] if found is not None else None


def recovery_sender(
    grant: EpochGrant | bytes,
    core: bytes,
    seq: int,
    space: bytes,
    recovery: HybridKey,
    senders: Iterable[bytes],
    *,
    kem: Kem | None = None,
) -> bytes | None:
    """The D among `senders` whose hint stands on the recovery slot: nobody else could have put it there."""
    found = _recovery_slot(grant, core, seq, space, recovery, kem)
    if found is None:
        return None
    place = _place(core, seq)
    for sender in senders:
        try:
            if _hint(recovery.agreement.agree(sender), place) == found[0].hint:
                return sender
        except DecodeError:
            continue
    return None


def _recovery_slot(
    grant: EpochGrant | bytes, core: bytes, seq: int, space: bytes, recovery: HybridKey, kem: Kem | None
) -> tuple[Slot, OpenedGrant] | None:
    """The slot that the phrase opens, and what it holds.  It never names an earlier entry: the phrase looks for nothing
    but slots."""
    if not isinstance(grant, EpochGrant):
        grant = decode_grant(grant)
    place = _place(core, seq)
    for index, slot in enumerate(grant.slots):
        if slot.carrier is not None:
            continue
        try:
            key = receiving_by_phrase(recovery, grant.e, decapsulate(kem, recovery, slot.kem))
            secret = key.open(Label.SLOT_KEY, _context(space, place, index), slot.sealed)
            return slot, OpenedGrant(secret, _open_z(grant, secret, place), None)
        except DecodeError:
            continue
    return None


def _place(core: bytes, seq: int) -> bytes:
    if len(core) != 32 or not 0 <= seq < MAX_LENGTH:
        raise ValueError("a core key of 32 bytes and a seq")
    return core + seq.to_bytes(8, "little")


def _hint(shared: bytes, place: bytes) -> bytes:
    return derive(shared, Label.SLOT_HINT, place, size=HINT)


def _z_key(secret: bytes, place: bytes) -> bytes:
    """key (32) | nonce (24) of Z, out of E: whoever has the one may have the other."""
    return derive(secret, Label.GRANT_Z, place, size=32 + NONCE)


def _open_z(grant: EpochGrant, secret: bytes, place: bytes) -> bytes:
    key = _z_key(secret, place)
    return open_sealed(key[:32], key[32:], grant.z)


def _context(space: bytes, place: bytes, index: int) -> bytes:
    return space + place + index.to_bytes(2, "little")
