"""UDX packets: the 20-byte header, lists of sacks, and which protocol a datagram of our port belongs to.

Everything is little-endian (`docs/protocol.md`, "UDX").  Sequence numbers count packets; on the wire they have 32 bits,
inside the stack they are unbounded integers that compare with `<`: `unwrap` turns the former into the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from identity.errors import DecodeError

Buffer = bytes | bytearray | memoryview

MAGIC = 0xFF
VERSION = 1

DATA = 1
END = 2
SACK = 4
MESSAGE = 8
DESTROY = 16
HEARTBEAT = 32
ACK = 0  # no bit at all: a plain acknowledgement

HEADER_SIZE = 20
MAX_SACKS = 140  # as many as fit into one packet; the C library sends 50 and takes any number
MAX_DATAGRAM = 65_507

HEADER = Struct("<BBBBIIII")  # magic, version, type bits, data offset, stream, window, seq, ack
_SEQ_MASK = 0xFFFF_FFFF
_HALF = 0x8000_0000


class Kind(IntEnum):
    """The protocol of a datagram, by its first byte."""

    UDX = 0
    REQUEST = 1  # DHT RPC
    RESPONSE = 2  # DHT RPC
    PROBE = 3  # one zero byte: a hole-punch probe
    UNKNOWN = 4


class Header(NamedTuple):
    """One packet's header.  `stream` is the id that the receiver chose; `seq`, `ack` are wire numbers (32 bits)."""

    bits: int
    offset: int
    stream: int
    window: int
    seq: int
    ack: int


def demultiplex(data: Buffer) -> Kind:
    """The protocol of a datagram: the first byte decides; a single zero byte is a hole-punch probe."""
    if not data:
        return Kind.UNKNOWN
    first = data[0]
    if first == MAGIC:
        return Kind.UDX
    if first == 0x03:
        return Kind.REQUEST
    if first == 0x13:
        return Kind.RESPONSE
    if first == 0 and len(data) == 1:
        return Kind.PROBE
    return Kind.UNKNOWN


def stream_id(data: Buffer) -> int | None:
    """The receiver's stream id of a UDX datagram, None if it is too short or of another version."""
    if len(data) < HEADER_SIZE or data[0] != MAGIC or data[1] != VERSION:
        return None
    return int.from_bytes(data[4:8], "little")


def decode_header(data: Buffer) -> Header:
    """The header of a UDX datagram.  Raises DecodeError on anything else."""
    if len(data) < HEADER_SIZE:
        raise DecodeError(f"UDX packet of {len(data)} bytes")
    magic, version, bits, offset, stream, window, seq, ack = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise DecodeError("not a UDX version 1 packet")
    return Header(bits, offset, stream, window, seq, ack)


def encode_header(bits: int, stream: int, window: int, seq: int, ack: int, offset: int = 0) -> bytes:
    """The 20 bytes of a header.  `seq` and `ack` may be unbounded: their low 32 bits are written."""
    return HEADER.pack(MAGIC, VERSION, bits, offset, stream, window, seq & _SEQ_MASK, ack & _SEQ_MASK)


def split_body(header: Header, body: memoryview) -> tuple[memoryview, memoryview]:
    """Splits what follows the header into (sack area, payload).

    The data offset counts the bytes between header and payload: the sack area if the packet has sacks, else the
    zero padding of an MTU probe.  A packet with sacks and no offset has no payload.  Raises DecodeError if the
    offset points outside.
    """
    size = len(body)
    if header.offset > size:
        raise DecodeError("UDX data offset beyond the packet")
    if not header.bits & SACK:
        return body[:0], body[header.offset :]
    if not header.offset:
        return body, body[size:]
    return body[: header.offset], body[header.offset :]


def decode_sacks(area: Buffer) -> list[tuple[int, int]]:
    """Half-open ranges (start, end) of wire numbers, at most 140; an incomplete last one is ignored, as in C."""
    count = min(len(area) // 8, MAX_SACKS)
    if not count:
        return []
    flat = _words(2 * count).unpack_from(area)
    return list(zip(flat[::2], flat[1::2], strict=True))


def encode_sacks(ranges: Sequence[tuple[int, int]]) -> bytes:
    """Encodes the first 140 half-open ranges of unbounded numbers."""
    flat = [number & _SEQ_MASK for pair in ranges[:MAX_SACKS] for number in pair]
    return _words(len(flat)).pack(*flat)


def unwrap(wire: int, near: int) -> int:
    """The unbounded number closest to `near` with these low 32 bits (signed 32-bit difference)."""
    return near + ((wire - near + _HALF) & _SEQ_MASK) - _HALF


@lru_cache(maxsize=256)
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")
