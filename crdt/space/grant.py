"""Grants: how an epoch's secrets reach devices, unsigned and deniable (`docs/protocol.md`, "Grant").

A grant rides before the ciphertext of the entry that opens the epoch: e | count | slots.  A slot is sealed under four
Diffie-Hellman results: D with D and D with P prove the sender's device, all need the recipient's keys, and the one-use
e with the recipient's prekey gives forward secrecy.  The recipient could have made the same slot, so it proves nothing
to anybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from crdt.log.merkle import MAX_LENGTH
from crdt.space.control import MAX_ROSTER
from identity.codec import Reader, Writer
from identity.digest import derive, digest
from identity.errors import DecodeError
from identity.keys import AgreementKey, Random
from identity.labels import Label
from identity.seal import NONCE, TAG, open_sealed, seal

MAX_SLOTS = MAX_ROSTER + 1  # the recovery slot of a personal space
HINT = 8
SECRETS = 64  # E | Z
SLOT = HINT + SECRETS + TAG


@dataclass(frozen=True, slots=True)
class EpochGrant:
    """e: one-use X25519 public key; slots: 88 bytes each, ascending by hint (so their order tells nothing)."""

    e: bytes
    slots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OpenedGrant:
    """What a slot held; sender: D of the device that sealed it, None where the recovery key opened it."""

    secret: bytes = field(repr=False)
    z: bytes = field(repr=False)
    sender: bytes | None


def encode_grant(grant: EpochGrant) -> bytes:
    """e (32) | count (uint) | slots (88 each)."""
    out = Writer().raw(grant.e).uint(len(grant.slots))
    return out.raw(b"".join(grant.slots)).finish()


def decode_grant(data: bytes) -> EpochGrant:
    """Raises DecodeError for more than 301 slots, a wrong length, or hints that do not ascend."""
    reader = Reader(data)
    e, count = reader.fixed(32), reader.uint(MAX_SLOTS)
    if reader.left != count * SLOT:
        raise DecodeError("a grant holds as many slots as it says")
    slots = tuple(reader.fixed(SLOT) for _ in range(count))
    if any(a[:HINT] > b[:HINT] for a, b in pairwise(slots)):
        raise DecodeError("hints ascend")
    return EpochGrant(e, slots)


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
) -> bytes:
    """The encoded grant of (E, Z) in entry `seq` of feed `core`.

    slots: (D, P) of each device, at most 300; recovery: the phrase's X25519 key, in a personal space only.  A device
    whose keys agree on nothing gets no slot: it must not be able to stop the others from getting theirs.
    """
    if len(slots) > MAX_ROSTER:
        raise ValueError("more devices than a roster may have")
    if len(secret) != 32 or len(z) != 32:
        raise ValueError("E and Z have 32 bytes")
    place = _place(core, seq)
    once = AgreementKey.generate(rng)
    made: list[tuple[bytes, bytes, bytes]] = []  # hint, shared secret, public keys
    for agreement, prekey in slots:
        try:
            static = sender.agree(agreement)
            shared = static + sender.agree(prekey) + once.agree(agreement) + once.agree(prekey)
        except DecodeError:
            continue
        made.append((_hint(static, place), shared, sender.public + agreement + prekey + once.public))
    if recovery is not None:
        hint = _hint(sender.agree(recovery), place)
        made.append((hint, once.agree(recovery), recovery + once.public))
    made.sort()
    sealed = tuple(
        hint + _seal_slot(_slot_key(shared, publics, space, place, index), secret + z)
        for index, (hint, shared, publics) in enumerate(made)
    )
    return encode_grant(EpochGrant(once.public, sealed))


def open_grant(
    grant: EpochGrant | bytes,
    core: bytes,
    seq: int,
    space: bytes,
    device: AgreementKey,
    prekeys: Iterable[AgreementKey],
    senders: Iterable[bytes],
) -> OpenedGrant | None:
    """(E, Z) and the D among `senders` that sealed them to this device, or None.

    device: my D; prekeys: my P kept, newest first is quickest.  One agreement a sender finds the slot, so a grant that
    is not for me costs no more than that.  Raises DecodeError for bytes that are no grant.
    """
    if not isinstance(grant, EpochGrant):
        grant = decode_grant(grant)
    place = _place(core, seq)
    kept = tuple(prekeys)
    try:
        long_term = device.agree(grant.e)
    except DecodeError:
        return None
    for sender in senders:
        try:
            static = device.agree(sender)
        except DecodeError:
            continue
        hint = _hint(static, place)
        for index, slot in enumerate(grant.slots):
            if slot[:HINT] != hint:
                continue
            for prekey in kept:
                try:
                    shared = static + prekey.agree(sender) + long_term + prekey.agree(grant.e)
                    publics = sender + device.public + prekey.public + grant.e
                    text = _open_slot(_slot_key(shared, publics, space, place, index), slot)
                except DecodeError:
                    continue
                return OpenedGrant(text[:32], text[32:], sender)
    return None


def open_recovery(
    grant: EpochGrant | bytes, core: bytes, seq: int, space: bytes, recovery: AgreementKey
) -> OpenedGrant | None:
    """(E, Z) by the phrase alone, which knows no device yet.  Raises DecodeError for bytes that are no grant.

    Who sealed them is unknown until the entry is opened and names its device: ask `recovery_sender` then.
    """
    if not isinstance(grant, EpochGrant):
        grant = decode_grant(grant)
    place = _place(core, seq)
    for index, slot in enumerate(grant.slots):
        try:
            publics = recovery.public + grant.e
            text = _open_slot(_slot_key(recovery.agree(grant.e), publics, space, place, index), slot)
        except DecodeError:
            continue
        return OpenedGrant(text[:32], text[32:], None)
    return None


def recovery_sender(
    grant: EpochGrant | bytes, core: bytes, seq: int, space: bytes, recovery: AgreementKey, senders: Iterable[bytes]
) -> bytes | None:
    """The D among `senders` whose hint stands on the recovery slot: nobody else could have put it there."""
    if not isinstance(grant, EpochGrant):
        grant = decode_grant(grant)
    place = _place(core, seq)
    publics = recovery.public + grant.e
    for index, slot in enumerate(grant.slots):
        try:
            _open_slot(_slot_key(recovery.agree(grant.e), publics, space, place, index), slot)
        except DecodeError:
            continue
        for sender in senders:
            try:
                if _hint(recovery.agree(sender), place) == slot[:HINT]:
                    return sender
            except DecodeError:
                continue
    return None


def _place(core: bytes, seq: int) -> bytes:
    if len(core) != 32 or not 0 <= seq < MAX_LENGTH:
        raise ValueError("a core key of 32 bytes and a seq")
    return core + seq.to_bytes(8, "little")


def _hint(shared: bytes, place: bytes) -> bytes:
    return derive(shared, Label.SLOT_HINT, place, size=HINT)


def _slot_key(shared: bytes, publics: bytes, space: bytes, place: bytes, index: int) -> bytes:
    """key (32) | nonce (24).  BLAKE2b takes keys of 64 bytes, so the results are hashed to one key first."""
    extracted = digest(Label.SLOT_KEY, shared)
    context = publics + space + place + index.to_bytes(2, "little")
    return derive(extracted, Label.SLOT_KEY, context, size=32 + NONCE)


def _seal_slot(key: bytes, text: bytes) -> bytes:
    return seal(key[:32], key[32:], text)


def _open_slot(key: bytes, slot: bytes) -> bytes:
    return open_sealed(key[:32], key[32:], slot[HINT:])
