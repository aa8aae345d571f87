"""BLAKE2b in the three shapes that every format uses, and ids as people see them.

BLAKE2b without a length is BLAKE2b-256; keyed BLAKE2b with `person` is the only key derivation.  hashlib is used
and not PyNaCl: it is ten times faster on short inputs.
"""

from __future__ import annotations

import base64
from hashlib import blake2b

from identity.errors import DecodeError
from identity.labels import Label


def digest(label: Label, *parts: bytes, size: int = 32) -> bytes:
    """BLAKE2b(person=label) over the parts joined; `size` sets the digest length in bytes."""
    return blake2b(b"".join(parts), digest_size=size, person=label.value).digest()


def derive(key: bytes, label: Label, *parts: bytes, size: int = 32) -> bytes:
    """Keyed BLAKE2b(key, person=label) over the parts joined: the only KDF and the only MAC."""
    return blake2b(b"".join(parts), digest_size=size, key=key, person=label.value).digest()


def base32(data: bytes) -> str:
    """Base32, upper case, no padding."""
    return base64.b32encode(data).decode("ascii").rstrip("=")


def unbase32(text: str) -> bytes:
    """The inverse of `base32`; only its own output is accepted.  Raises DecodeError."""
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raise DecodeError("not base32") from None
    if base32(data) != text:
        raise DecodeError("not base32")
    return data


def shown_id(prefix: str, value: bytes) -> str:
    """An id as people see it: `prefix_` + base32 of the first 20 bytes, 32 characters."""
    return f"{prefix}_{base32(value[:20])}"


def low53(value: bytes) -> int:
    """The low 53 bits of the first 8 bytes, little-endian."""
    return int.from_bytes(value[:8], "little") & (2**53 - 1)
