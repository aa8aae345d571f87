"""XChaCha20-Poly1305 for entries and packs: libsodium called straight through PyNaCl's own cffi module.

`identity.seal` is the same cipher with PyNaCl's checks of every argument around it, which cost twice the cipher
itself at 256 bytes.  Here the callers have fixed all lengths.  Should a PyNaCl come without that module, the slower
path is taken; both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from identity.errors import DecodeError
from identity.seal import open_sealed as _slow_open
from identity.seal import seal as _slow_seal

Cipher = Callable[[bytes, bytes, bytes, bytes], bytes]  # (key 32, nonce 24, text, associated data)


def _direct() -> tuple[Cipher, Cipher]:
    import nacl._sodium as sodium  # type: ignore[import-not-found]  # compiled, no stubs

    ffi, lib = sodium.ffi, sodium.lib
    new, view, null, array = ffi.new, ffi.buffer, ffi.NULL, ffi.typeof("unsigned char[]")
    encrypt = lib.crypto_aead_xchacha20poly1305_ietf_encrypt
    decrypt = lib.crypto_aead_xchacha20poly1305_ietf_decrypt

    def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        if len(key) != 32 or len(nonce) != 24:
            raise ValueError("a key has 32 bytes and a nonce 24")
        out = new(array, len(plaintext) + 16)
        encrypt(out, null, plaintext, len(plaintext), associated, len(associated), null, nonce, key)
        return bytes(view(out))

    def open_sealed(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        if len(key) != 32 or len(nonce) != 24 or len(ciphertext) < 16:
            raise DecodeError("sealed bytes do not open")
        out = new(array, len(ciphertext) - 16)
        if decrypt(out, null, null, ciphertext, len(ciphertext), associated, len(associated), nonce, key):
            raise DecodeError("sealed bytes do not open")
        return bytes(view(out))

    return seal, open_sealed


try:
    seal, open_sealed = _direct()
except (ImportError, AttributeError):
    seal, open_sealed = _slow_seal, _slow_open
