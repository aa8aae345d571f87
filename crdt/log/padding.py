"""Lengths that entries may have on the wire: a table up to 4 KiB, Padmé above it.

Padmé ("Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019) lets a length tell
O(log log n) bits at a cost of at most 12 %.  `docs/protocol.md`, "Entry".
"""

from __future__ import annotations

from bisect import bisect_left

from identity.errors import DecodeError

SIZES = (256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
MAX_PADDED = 256 * 1024
_PREFIX = 4  # the u32 length


def padded_size(length: int) -> int:
    """The size of a padded text of `length` bytes, its 4-byte length included."""
    length += _PREFIX
    if length <= SIZES[-1]:
        return SIZES[bisect_left(SIZES, length)]
    exponent = length.bit_length() - 1
    loose = (1 << (exponent - exponent.bit_length())) - 1
    return (length + loose) & ~loose


def pad(plaintext: bytes) -> bytes:
    """u32 length | plaintext | zeros.  Raises ValueError above 256 KiB."""
    length = len(plaintext)
    size = padded_size(length)
    if size > MAX_PADDED:
        raise ValueError("longer than an entry may be")
    return length.to_bytes(4, "little") + plaintext + bytes(size - length - _PREFIX)


def unpad(padded: bytes) -> bytes:
    """The plaintext.  Raises DecodeError unless `pad` would give exactly these bytes."""
    length = int.from_bytes(padded[:4], "little")
    end = length + _PREFIX
    if end > len(padded) or padded_size(length) != len(padded) or padded.count(0, end) != len(padded) - end:
        raise DecodeError("the padding is wrong")
    return padded[_PREFIX:end]
