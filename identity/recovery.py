"""What the phrase opens beside the personal space: copies that others keep, and records that say where they are.

A **recovery copy** is sealed to the phrase's recovery keys (X25519, and ML-KEM-768 where the phrase was made with it):
whoever keeps it learns its size and age and nothing else.  DH with the maker's D proves, to the phrase alone, that a
device of the person made it.  A **recovery record** is a mutable value of the DHT under a key that follows from the
recovery public keys; it says who keeps a copy.  `docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from identity.codec import Reader, Writer
from identity.device import read_suite
from identity.digest import derive, digest
from identity.errors import DecodeError
from identity.kem import CIPHERTEXT, HybridKey, Kem, split
from identity.keys import SUITE, VERSION, AgreementKey, Random, SigningKey
from identity.labels import Label
from identity.seal import NONCE, TAG, open_sealed, seal

PREFIX = bytes((VERSION, SUITE))
MAX_COPY = 256 * 1024  # bytes, sealed
STEP = 4096  # bytes; a copy is as long as a whole number of these, so that its size tells little
HEAD = 2 + 8 + 32 + 32 + 3 + CIPHERTEXT  # bytes before the sealed part, at most
MAX_TEXT = (MAX_COPY - HEAD - TAG) // STEP * STEP - 4  # bytes that a copy holds
SLOTS = 8  # records: 0 of my own devices, the others of contacts
RECORD = 900  # bytes of a record's plaintext; with what sealing adds it fits a mutable value of the DHT
PUT, SEAL = b"put", b"seal"


@dataclass(frozen=True, slots=True)
class DropSlot:
    """One record's place: the key that signs it in the DHT, and the secret that its contents are sealed under."""

    signing: SigningKey = field(repr=False)
    secret: bytes = field(repr=False)


def drop_slot(recovery: bytes, index: int) -> DropSlot:
    """The place `index` (0 to 7) that follows from the phrase's recovery public keys; no place says another."""
    if not 0 <= index < SLOTS:
        raise ValueError("there are eight records")
    drop, name = digest(Label.DROP, recovery), bytes((index,))
    return DropSlot(SigningKey.from_seed(derive(drop, Label.DROP, PUT, name)), derive(drop, Label.DROP, SEAL, name))


def seal_record(slot: DropSlot, rng: Random, text: bytes) -> bytes:
    """version | suite | nonce (24) | sealed, padded text.  Raises ValueError for more than 898 bytes."""
    if len(text) > RECORD - 2:
        raise ValueError("too long for a recovery record")
    padded = len(text).to_bytes(2, "little") + text + bytes(RECORD - 2 - len(text))
    nonce = rng(NONCE)
    return PREFIX + nonce + seal(slot.secret, nonce, padded, PREFIX + slot.signing.public)


def open_record(slot: DropSlot, data: bytes) -> bytes:
    """Raises DecodeError."""
    reader = Reader(data)
    read_suite(reader)
    nonce = reader.fixed(NONCE)
    padded = open_sealed(slot.secret, nonce, reader.fixed(RECORD + TAG), PREFIX + slot.signing.public)
    reader.end()
    length = int.from_bytes(padded[:2], "little")
    if length > RECORD - 2 or any(padded[2 + length :]):
        raise DecodeError("a recovery record is padded with zeros")
    return padded[2 : 2 + length]


def seal_copy(
    recovery: bytes, maker: AgreementKey, counter: int, text: bytes, rng: Random, kem: Kem | None = None
) -> bytes:
    """A recovery copy.  recovery: the phrase's public keys; maker: D of this device; counter: Unix ms, rising.

    version | suite | counter (u64) | D (32) | e (32) | ciphertext of ML-KEM (buffer, may be empty) | sealed.
    Raises ValueError where it would be longer than a copy may be, DecodeError where something is wrong with a key.
    """
    p, k = split(recovery)
    once = AgreementKey.generate(rng)
    shared, ciphertext = once.agree(p) + maker.agree(p), b""
    if k and kem is not None:
        ss, ciphertext = kem.encapsulate(k, rng)
        shared += ss
    out = Writer().raw(PREFIX).fixed_uint(counter, 8).raw(maker.public).raw(once.public).buffer(ciphertext)
    head = out.finish()
    size = -(-(4 + len(text)) // STEP) * STEP
    padded = len(text).to_bytes(4, "little") + text + bytes(size - 4 - len(text))
    key = _copy_key(shared, recovery, head)
    sealed = head + seal(key[:32], key[32:], padded, head)
    if len(sealed) > MAX_COPY:
        raise ValueError("too long for a recovery copy")
    return sealed


def open_copy(data: bytes, recovery: HybridKey, kem: Kem | None = None) -> tuple[int, bytes, bytes]:
    """(counter, D of the device that made it, text) by the phrase.  Raises DecodeError."""
    counter, maker, once, ciphertext, head = _copy_head(data)
    shared = recovery.agreement.agree(once) + recovery.agreement.agree(maker)
    if ciphertext:
        if kem is None or recovery.kem is None:
            raise DecodeError("that copy needs ML-KEM, which this platform has not")
        shared += kem.decapsulate(recovery.kem.seed, ciphertext)
    key = _copy_key(shared, recovery.public, head)
    padded = open_sealed(key[:32], key[32:], data[len(head) :], head)
    length = int.from_bytes(padded[:4], "little")
    if length > len(padded) - 4 or any(padded[4 + length :]):
        raise DecodeError("a recovery copy is padded with zeros")
    return counter, maker, padded[4 : 4 + length]


def copy_counter(data: bytes) -> int:
    """What whoever keeps a copy can read of it.  Raises DecodeError for what is none."""
    return _copy_head(data)[0]


def copy_maker(data: bytes) -> bytes:
    """D of the device that a copy says to be of, which the phrase alone can check.  Raises DecodeError."""
    return _copy_head(data)[1]


def _copy_head(data: bytes) -> tuple[int, bytes, bytes, bytes, bytes]:
    if len(data) > MAX_COPY:
        raise DecodeError("too long for a recovery copy")
    reader = Reader(data)
    read_suite(reader)
    counter, maker, once = reader.fixed_uint(8), reader.fixed(32), reader.fixed(32)
    ciphertext = reader.buffer(CIPHERTEXT)
    if len(ciphertext) not in (0, CIPHERTEXT) or reader.left <= TAG or (reader.left - TAG) % STEP:
        raise DecodeError("not a recovery copy")
    return counter, maker, once, ciphertext, data[: len(data) - reader.left]


def _copy_key(shared: bytes, recovery: bytes, head: bytes) -> bytes:
    """key (32) | nonce (24): e is new each time, so the pair is used once."""
    return derive(digest(Label.COPY, shared), Label.COPY, recovery, head, size=32 + NONCE)
