"""Slots: a short text sealed from one device to another, unsigned, deniable, and hybrid where both have ML-KEM.

A slot's key is made of four X25519 results and, where the recipient told a K, of an ML-KEM secret ss: D with D and D
with P prove the sender's device, the one-use e with P gives forward secrecy, and ss stays closed to whoever breaks
X25519.  `docs/protocol.md`, "Grant".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from identity.codec import Reader, Writer
from identity.digest import derive, digest
from identity.errors import DecodeError
from identity.kem import CIPHERTEXT, HybridKey, Kem, split
from identity.keys import AgreementKey, Random
from identity.labels import Label
from identity.seal import NONCE, open_sealed, seal

NAME = 8  # bytes: the seq of the earlier grant of the feed that carries the ciphertext


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """An ss and the ciphertext that it follows from; `ciphertext` empty for X25519 alone, or where it travelled before.

    mark: hash of the ciphertext, empty for X25519 alone.
    """

    ss: bytes = field(default=b"", repr=False)
    mark: bytes = b""
    ciphertext: bytes = b""

    @property
    def sent(self) -> Encapsulated:
        """The same, of which the ciphertext need not travel again."""
        return replace(self, ciphertext=b"")


def encapsulate(kem: Kem | None, prekey: bytes, rng: Random) -> Encapsulated:
    """A fresh ss for the K in a prekey; an empty one where it has none, or this platform no ML-KEM.

    Raises DecodeError for a prekey of another length and for a K that fails the check of FIPS 203, 7.2.
    """
    _, k = split(prekey)
    if not k or kem is None:
        return Encapsulated()
    ss, ciphertext = kem.encapsulate(k, rng)
    return Encapsulated(ss, mark_of(ciphertext), ciphertext)


def decapsulate(kem: Kem | None, key: HybridKey, ciphertext: bytes) -> Encapsulated:
    """What `encapsulate` made, by the recipient's key; nothing for an empty ciphertext.

    Raises DecodeError for a ciphertext of another length, and where K or ML-KEM is not here.  A ciphertext made for
    another K gives an ss that opens nothing.
    """
    if not ciphertext:
        return Encapsulated()
    if kem is None or key.kem is None or len(ciphertext) != CIPHERTEXT:
        raise DecodeError("that ciphertext cannot be used here")
    return Encapsulated(kem.decapsulate(key.kem.seed, ciphertext), mark_of(ciphertext), ciphertext)


def mark_of(ciphertext: bytes) -> bytes:
    """32 bytes that a slot's key binds the ciphertext by."""
    return digest(Label.SLOT_KEM, ciphertext)


@dataclass(frozen=True, slots=True)
class SlotKey:
    """What one slot is sealed under.  static: DH(D, D), of which hints are made; shared: all results; publics: all
    public keys, and the mark of the ciphertext."""

    static: bytes = field(repr=False)
    shared: bytes = field(repr=False)
    publics: bytes

    def seal(self, label: Label, context: bytes, text: bytes) -> bytes:
        """The text with 16 bytes of tag.  A context is used once: it makes key and nonce."""
        key = self._key(label, context)
        return seal(key[:32], key[32:], text)

    def open(self, label: Label, context: bytes, sealed: bytes) -> bytes:
        """The inverse.  Raises DecodeError where anything differs."""
        key = self._key(label, context)
        return open_sealed(key[:32], key[32:], sealed)

    def _key(self, label: Label, context: bytes) -> bytes:
        """key (32) | nonce (24).  BLAKE2b takes keys of 64 bytes, so the results are hashed to one key first."""
        return derive(digest(label, self.shared), label, self.publics + context, size=32 + NONCE)


def sending(sender: AgreementKey, once: AgreementKey, device: bytes, prekey: bytes, kem: Encapsulated) -> SlotKey:
    """The sender's side.  device: D of the recipient; prekey: its P, or P and K.  Raises DecodeError for keys that give
    no shared secret."""
    p, k = split(prekey)
    static = sender.agree(device)
    shared = static + sender.agree(p) + once.agree(device) + once.agree(p) + kem.ss
    return SlotKey(static, shared, _publics(sender.public, device, p, once.public, k, kem.mark))


def receiving(device: AgreementKey, key: HybridKey, sender: bytes, e: bytes, kem: Encapsulated) -> SlotKey:
    """The recipient's side.  sender: D; e: the one-use key.  Raises DecodeError."""
    static, own = device.agree(sender), key.agreement
    shared = static + own.agree(sender) + device.agree(e) + own.agree(e) + kem.ss
    k = key.kem.public if key.kem is not None else b""
    return SlotKey(static, shared, _publics(sender, device.public, own.public, e, k, kem.mark))


def sending_to_phrase(once: AgreementKey, recovery: bytes, kem: Encapsulated) -> SlotKey:
    """For the recovery key, which knows no device: e alone stands for the sender."""
    x, k = split(recovery)
    return SlotKey(b"", once.agree(x) + kem.ss, _publics(x, once.public, k, kem.mark))


def receiving_by_phrase(recovery: HybridKey, e: bytes, kem: Encapsulated) -> SlotKey:
    """The phrase's side of it."""
    k = recovery.kem.public if recovery.kem is not None else b""
    return SlotKey(b"", recovery.agreement.agree(e) + kem.ss, _publics(recovery.agreement.public, e, k, kem.mark))


def seal_text(
    rng: Random,
    kem: Kem | None,
    sender: AgreementKey,
    device: bytes,
    prekey: bytes,
    label: Label,
    context: bytes,
    text: bytes,
) -> bytes:
    """A letter of its own to one device: e (32) | ciphertext (buffer, may be empty) | sealed.

    device, prekey: D of the recipient, and its P, or P and K.  Raises DecodeError where nothing can be sealed to them.
    """
    once, encapsulated = AgreementKey.generate(rng), encapsulate(kem, prekey, rng)
    key = sending(sender, once, device, prekey, encapsulated)
    return Writer().raw(once.public).buffer(encapsulated.ciphertext).raw(key.seal(label, context, text)).finish()


def open_text(
    kem: Kem | None,
    device: AgreementKey,
    prekeys: Iterable[HybridKey],
    sender: bytes,
    label: Label,
    context: bytes,
    data: bytes,
) -> bytes:
    """The inverse, with the prekeys kept.  Raises DecodeError where none opens it, or another device sealed it."""
    reader = Reader(data)
    e, ciphertext = reader.fixed(32), reader.buffer(CIPHERTEXT)
    sealed = reader.rest()
    for prekey in prekeys:
        try:
            return receiving(device, prekey, sender, e, decapsulate(kem, prekey, ciphertext)).open(
                label, context, sealed
            )
        except DecodeError:
            continue
    raise DecodeError("no prekey here opens that")


def _publics(*parts: bytes) -> bytes:
    """Public keys, in order; K and mark, the last two, only where an ss was used: K alone means nothing."""
    *keys, k, mark = parts
    return b"".join(keys) + (k + mark if mark else b"")
