"""XChaCha20-Poly1305 (IETF), the one cipher of everything at rest and of every entry.

The cipher does not commit to its key: whoever needs that checks an opening (`crdt/log/entry.py`).
"""

from __future__ import annotations

from nacl import bindings, exceptions

from identity.errors import DecodeError

TAG = 16  # bytes that sealing adds
NONCE = 24


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes = b"") -> bytes:
    """Ciphertext | tag.  The caller answers for the nonce being used once with the key."""
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key)


def open_sealed(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes = b"") -> bytes:
    """The plaintext.  Raises DecodeError where key, nonce, associated data or a byte of it is wrong."""
    if len(ciphertext) < TAG:
        raise DecodeError("sealed bytes do not open")  # PyNaCl would ask for a buffer of negative length
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, associated, nonce, key)
    except (exceptions.CryptoError, exceptions.ValueError, exceptions.TypeError):
        raise DecodeError("sealed bytes do not open") from None
