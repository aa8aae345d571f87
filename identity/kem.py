"""ML-KEM-768 beside X25519: keys that no one method alone opens (`docs/protocol.md`, "Keys").

What travels, and what a recorder keeps, is agreed on by X25519 and by ML-KEM together: who breaks one of them, with a
quantum computer or with a better attack, still has the other before him.  A platform whose `cryptography` has no ML-KEM
answers `installed() is None`; such a device tells no K and is served as X25519 alone serves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import AgreementKey, Random, agree

SEED = 64  # bytes: d | z of FIPS 203, what a private key is kept as
PUBLIC = 1184
CIPHERTEXT = 1088
CLASSICAL = 32  # bytes of a prekey without K
HYBRID = CLASSICAL + PUBLIC


class Kem(Protocol):
    """ML-KEM-768, or what a simulator puts in its place: one run there must be the same twice."""

    def public(self, seed: bytes) -> bytes:
        """K, 1,184 bytes, of a 64-byte seed."""
        ...

    def encapsulate(self, public: bytes, rng: Random) -> tuple[bytes, bytes]:
        """(ss 32, ciphertext 1,088) for a K.  Raises DecodeError for a K that fails the check of FIPS 203, 7.2."""
        ...

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """ss, 32 bytes; of a ciphertext made for another K a value that nobody knows.  Raises DecodeError for a wrong
        length."""
        ...


class MlKem768:
    """The library's.  It draws its own randomness: `rng` of `encapsulate` is for simulators."""

    def __init__(self) -> None:
        """Raises UnsupportedAlgorithm or ImportError where the platform's library has none."""
        from cryptography.hazmat.primitives.asymmetric import mlkem

        self._private, self._public = mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey
        self._private.from_seed_bytes(bytes(SEED))

    def public(self, seed: bytes) -> bytes:
        """See `Kem`."""
        return self._private.from_seed_bytes(seed).public_key().public_bytes_raw()

    def encapsulate(self, public: bytes, rng: Random) -> tuple[bytes, bytes]:
        """See `Kem`."""
        try:
            return self._public.from_public_bytes(public).encapsulate()
        except ValueError:
            raise DecodeError("not an ML-KEM-768 public key") from None

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """See `Kem`."""
        try:
            return self._private.from_seed_bytes(seed).decapsulate(ciphertext)
        except ValueError:
            raise DecodeError("not an ML-KEM-768 ciphertext") from None


@lru_cache(maxsize=1)
def installed() -> Kem | None:
    """This platform's ML-KEM-768, None where there is none."""
    try:
        return MlKem768()
    except (ImportError, AttributeError, UnsupportedAlgorithm):
        return None


@dataclass(frozen=True, slots=True)
class KemKey:
    """An ML-KEM-768 key pair: K and the seed that it follows from."""

    public: bytes
    seed: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, kem: Kem, seed: bytes) -> KemKey:
        """The key pair of 64 secret bytes."""
        return cls(kem.public(seed), seed)

    @classmethod
    def generate(cls, kem: Kem, rng: Random) -> KemKey:
        """A fresh key pair; `rng` is asked for 64 bytes."""
        return cls.from_seed(kem, rng(SEED))


@dataclass(frozen=True, slots=True)
class HybridKey:
    """An X25519 pair, and an ML-KEM pair where the device has one.  What is sealed to it needs both."""

    agreement: AgreementKey
    kem: KemKey | None = None

    @property
    def public(self) -> bytes:
        """P, then K where there is one: 32 or 1,216 bytes, as others are told it."""
        return self.agreement.public + (self.kem.public if self.kem is not None else b"")

    @classmethod
    def generate(cls, kem: Kem | None, rng: Random) -> HybridKey:
        """Fresh keys; without ML-KEM the X25519 pair alone."""
        return cls(AgreementKey.generate(rng), KemKey.generate(kem, rng) if kem is not None else None)


def split(public: bytes) -> tuple[bytes, bytes]:
    """(P, K) of what a device tells; K empty where it has none.  Raises DecodeError for any other length."""
    if len(public) not in (CLASSICAL, HYBRID):
        raise DecodeError("a prekey is P, or P and K")
    return public[:CLASSICAL], public[CLASSICAL:]


def is_hybrid(public: bytes) -> bool:
    """Whether a K follows the P."""
    return len(public) == HYBRID


def write_prekey(out: Writer, public: bytes) -> Writer:
    """P and K as a buffer of 32 or 1,216 bytes."""
    return out.buffer(public)


def read_prekey(reader: Reader) -> bytes:
    """The inverse of `write_prekey`.  Raises DecodeError.  Neither key was used yet: see `check_prekey`."""
    public = reader.buffer(HYBRID)
    split(public)
    return public


def check_prekey(public: bytes) -> bytes:
    """The prekey itself if something can be sealed to it: P agrees on something, and the numbers of K are reduced (the
    check of FIPS 203, 7.2, which needs no library).  Raises DecodeError."""
    p, k = split(public)
    agree(b"\x55" * 32, p)
    if k and not _reduced(k[:-32]):
        raise DecodeError("not an ML-KEM-768 public key")
    return public


def _reduced(packed: bytes) -> bool:
    """Whether each 12-bit number, two in three bytes, is below 3,329."""
    for a, b, c in zip(packed[::3], packed[1::3], packed[2::3], strict=True):
        if a | (b & 15) << 8 >= 3329 or b >> 4 | c << 4 >= 3329:
            return False
    return True
