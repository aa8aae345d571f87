"""libsodium's secretstream with few copies: encrypts behind a length prefix, decrypts out of a larger buffer.

`nacl.bindings` takes and returns `bytes`, so that a frame of 64 KiB is sliced, checked, copied and joined on its way;
at several hundred MB/s that costs more than the cipher.  Here the same functions of the same library are called through
PyNaCl's own cffi module, as `crdt/log/cipher.py` does (decision 0033).  A PyNaCl without that module takes the slower
path; both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nacl import bindings
from nacl.exceptions import CryptoError

PREFIX = 3  # little-endian length of what follows
OVERHEAD = 17  # one encrypted tag byte and the authenticator
_SCRATCH = 1 << 18

Start = Callable[[bytes, bytes], Any]  # (header 24, key 32) -> a state, good for one direction
Push = Callable[[Any, bytes], bytes | bytearray]  # (state, plaintext) -> prefix and ciphertext
Pull = Callable[[Any, memoryview], bytes | None]  # (state, ciphertext without prefix) -> plaintext, None if forged


def direct() -> tuple[Start, Push, Pull]:
    """The three functions through cffi.  Raises ImportError or AttributeError where PyNaCl has no such module."""
    import nacl._sodium as sodium  # type: ignore[import-not-found]  # compiled, no stubs

    ffi, lib = sodium.ffi, sodium.lib
    new, view, null, array = ffi.new, ffi.buffer, ffi.NULL, ffi.typeof("unsigned char[]")
    from_buffer = ffi.from_buffer
    initialise = lib.crypto_secretstream_xchacha20poly1305_init_pull
    encrypt = lib.crypto_secretstream_xchacha20poly1305_push
    decrypt = lib.crypto_secretstream_xchacha20poly1305_pull
    state_size = lib.crypto_secretstream_xchacha20poly1305_statebytes()
    scratch, tag = [new(array, _SCRATCH)], new("unsigned char *")  # one for each thread that decrypts at this moment

    def start(header: bytes, key: bytes) -> Any:
        if len(header) != 24 or len(key) != 32:
            raise ValueError("a header has 24 bytes and a key 32")
        state = new(array, state_size)
        initialise(state, header, key)
        return state

    def push(state: Any, frame: bytes) -> bytes | bytearray:
        if type(frame) is not bytes:
            frame = bytes(frame)
        size = len(frame)
        out = bytearray(PREFIX + size + OVERHEAD)
        out[:PREFIX] = (size + OVERHEAD).to_bytes(PREFIX, "little")
        encrypt(state, from_buffer(array, out) + PREFIX, null, frame, size, null, 0, 0)
        return out

    def open_into(state: Any, out: Any, sealed: memoryview) -> int:
        return int(decrypt(state, out, null, tag, from_buffer(array, sealed), len(sealed), null, 0))

    def pull(state: Any, sealed: memoryview) -> bytes | None:
        size = len(sealed) - OVERHEAD
        if size < 0:
            return None
        if size > _SCRATCH:
            out = new(array, size)
            return None if open_into(state, out, sealed) else bytes(view(out, size))
        # taken out while in use: cffi lets other threads run meanwhile, which may have hosts of their own
        try:
            out = scratch.pop()
        except IndexError:
            out = new(array, _SCRATCH)
        frame = None if open_into(state, out, sealed) else bytes(view(out, size))
        scratch.append(out)
        return frame

    return start, push, pull


def checked() -> tuple[Start, Push, Pull]:
    """The three functions through `nacl.bindings`."""

    def start(header: bytes, key: bytes) -> Any:
        # init_push draws the header itself; init_pull reaches the same state from a header that is given
        state = bindings.crypto_secretstream_xchacha20poly1305_state()
        bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
        return state

    def push(state: Any, frame: bytes) -> bytes | bytearray:
        sealed = bindings.crypto_secretstream_xchacha20poly1305_push(state, frame)
        return len(sealed).to_bytes(PREFIX, "little") + sealed

    def pull(state: Any, sealed: memoryview) -> bytes | None:
        try:
            return bindings.crypto_secretstream_xchacha20poly1305_pull(state, bytes(sealed))[0]
        except (CryptoError, ValueError):
            return None

    return start, push, pull


try:
    start, push, pull = direct()
except (ImportError, AttributeError):
    start, push, pull = checked()
