"""Ed25519, X25519 and ML-KEM-768 as section 2 of docs/protocol.md asks for them; PyNaCl and cryptography alone."""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_core_ed25519_is_valid_point,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from tests.second.codec import Refused, require
from tests.second.digest import blake


def prefixed(label: bytes, body: bytes) -> bytes:
    """What Ed25519 signs: BLAKE2b(label, 0 ‖ version ‖ suite ‖ body)."""
    return blake(label, b"\0" + b"\0\1" + body)


def sign(seed: bytes, label: bytes, body: bytes) -> bytes:
    """sign(key, label, body), by the seed of the key."""
    return SigningKey(seed).sign(prefixed(label, body)).signature


@lru_cache(maxsize=1 << 16)
def valid_point(key: bytes) -> bool:
    """Whether an Ed25519 key is a point of the prime-order group."""
    return len(key) == 32 and crypto_core_ed25519_is_valid_point(key)


@lru_cache(maxsize=1 << 16)
def agrees(key: bytes) -> bool:
    """Whether an X25519 key agrees on something with anybody."""
    try:
        return agree(b"\x55" * 32, key) != bytes(32)
    except Refused:
        return False


@lru_cache(maxsize=1 << 16)
def verified_raw(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a raw Ed25519 signature is good."""
    if not valid_point(key):
        return False
    try:
        VerifyKey(key).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def verified(key: bytes, label: bytes, body: bytes, signature: bytes) -> bool:
    """Whether `signature` is sign(key, label, body)."""
    return verified_raw(key, prefixed(label, body), signature)


def agree(secret: bytes, public: bytes) -> bytes:
    """DH(a, b); a result of zero is refused."""
    try:
        shared = crypto_scalarmult(secret, public)
    except (RuntimeError, CryptoError):
        raise Refused("a shared secret of zero") from None
    require(shared != bytes(32), "a shared secret of zero")
    return shared


def public_of(secret: bytes) -> bytes:
    """The X25519 public key of a secret."""
    return crypto_scalarmult_base(secret)


def seal(key: bytes, nonce: bytes, text: bytes, associated: bytes) -> bytes:
    """seal(key, nonce, text, associated): XChaCha20-Poly1305."""
    return crypto_aead_xchacha20poly1305_ietf_encrypt(text, associated, nonce, key)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The text of `seal`, or `Refused`."""
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except (CryptoError, ValueError):
        raise Refused("the ciphertext does not open") from None


def kem_public(seed: bytes) -> bytes:
    """The ML-KEM-768 public key of a 64-byte seed."""
    return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def kem_open(seed: bytes, ciphertext: bytes) -> bytes:
    """The shared secret of a ciphertext."""
    return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
