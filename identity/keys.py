"""Ed25519 and X25519 keys, and the one way to sign.

A signature covers `BLAKE2b-256(person=label, 0 | version | suite | body)`.  PyNaCl is the only verifier, and every
Ed25519 key that comes from outside passes `crypto_core_ed25519_is_valid_point` first (`cryptography` accepts a forgery
for the identity point).  X25519 results are checked for zero.  Randomness is an argument, so that the simulator
replays it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from nacl import bindings, exceptions

from identity.digest import digest
from identity.errors import DecodeError
from identity.labels import Label

Random = Callable[[int], bytes]  # os.urandom, or the simulator's seeded stream
VERSION = 0
SUITE = 1


@lru_cache(maxsize=4096)  # the check costs as much as a signature, and a key comes again; a refusal is not kept
def check_point(public: bytes) -> bytes:
    """The key itself if it is a valid Ed25519 point of the prime-order group.  Raises DecodeError."""
    if len(public) != 32 or not bindings.crypto_core_ed25519_is_valid_point(public):
        raise DecodeError("not an Ed25519 public key")
    return public


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair.  `secret` is libsodium's 64 bytes (seed | public)."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key pair of a 32-byte seed (RFC 8032)."""
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, secret)

    @classmethod
    def generate(cls, rng: Random) -> SigningKey:
        """A fresh key pair; `rng` is asked for 32 bytes."""
        return cls.from_seed(rng(32))

    @property
    def seed(self) -> bytes:
        """The 32 bytes that the key pair follows from."""
        return self.secret[:32]

    def sign_raw(self, message: bytes) -> bytes:
        """A detached signature over the message as it is: only for formats of the HyperDHT family."""
        return bindings.crypto_sign(message, self.secret)[:64]

    def sign(self, label: Label, body: bytes, *, version: int = VERSION, suite: int = SUITE) -> bytes:
        """64 bytes over the labelled hash of `body`."""
        return self.sign_raw(signable(label, body, version=version, suite=suite))


@dataclass(frozen=True, slots=True)
class AgreementKey:
    """An X25519 key pair."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> AgreementKey:
        """The key pair of 32 secret bytes."""
        return cls(bindings.crypto_scalarmult_base(secret), secret)

    @classmethod
    def generate(cls, rng: Random) -> AgreementKey:
        """A fresh key pair; `rng` is asked for 32 bytes."""
        return cls.from_secret(rng(32))

    @classmethod
    def from_signing(cls, key: SigningKey) -> AgreementKey:
        """The X25519 form of an Ed25519 key pair."""
        return cls.from_secret(bindings.crypto_sign_ed25519_sk_to_curve25519(key.secret))

    def agree(self, public: bytes) -> bytes:
        """The 32-byte X25519 result.  Raises DecodeError for keys that give zero."""
        return agree(self.secret, public)


def signable(label: Label, body: bytes, *, version: int = VERSION, suite: int = SUITE) -> bytes:
    """The 32 bytes that a signature covers: a labelled hash over version, suite and body."""
    return digest(label, bytes((0, version, suite)), body)


def verify_raw(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes, detached) is good.  The key must have passed `check_point`."""
    if len(signature) != 64:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except (exceptions.BadSignatureError, exceptions.ValueError):
        return False
    return True


def verify(
    public: bytes, label: Label, body: bytes, signature: bytes, *, version: int = VERSION, suite: int = SUITE
) -> bool:
    """Whether `signature` over the labelled hash of exactly these received bytes is good."""
    return verify_raw(public, signable(label, body, version=version, suite=suite), signature)


def agree(secret: bytes, public: bytes) -> bytes:
    """X25519.  Raises DecodeError where the result would be zero (a low-order point)."""
    if len(public) != 32:
        raise DecodeError("not an X25519 public key")
    try:
        shared = bindings.crypto_scalarmult(secret, public)
    except (exceptions.RuntimeError, exceptions.ValueError, exceptions.CryptoError):
        raise DecodeError("that X25519 key gives no shared secret") from None
    if not any(shared):
        raise DecodeError("that X25519 key gives no shared secret")
    return shared


def to_agreement(public: bytes) -> bytes:
    """The X25519 form of an Ed25519 public key.  Raises DecodeError."""
    try:
        return bindings.crypto_sign_ed25519_pk_to_curve25519(check_point(public))
    except (exceptions.RuntimeError, exceptions.CryptoError):
        raise DecodeError("not an Ed25519 public key") from None
