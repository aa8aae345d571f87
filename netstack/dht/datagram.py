"""The frame of every DHT datagram: one request or one response, told apart by the first byte.

`docs/protocol.md`, "Handshake".  Responses are matched by their 16-bit `tid` and the address they come from; nothing
here is authenticated, so whatever is believed rests on what `value` proves by itself.

This is the hottest code of a node, hence without `Reader` and `Writer`: slices and joins, and addresses from a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from identity.errors import DecodeError
from netstack.udp.port import Address
from netstack.wire.address import encode_address

REQUEST = 0x03  # low nibble: protocol version 3
RESPONSE = 0x13
PROBE = b"\x00"  # one byte: a hole-punch probe, answered by nobody
MAX_DATAGRAM = 2048  # bytes; a datagram of the family fits an MTU of 1,500
MAX_CLOSER = 40  # a responder names at most k = 20 nodes
MAX_CODE = 0xFFFF
HEADER = 10  # kind, flags, tid, address
SIXES = [Struct("6s" * count) for count in range(MAX_CLOSER + 1)]  # so many addresses

# commands of dht-rpc (the `internal` bit is set) and of HyperDHT
PING, PING_NAT, FIND_NODE, DOWN_HINT, DELAYED_PING = range(5)
PEER_HANDSHAKE, PEER_HOLEPUNCH, FIND_PEER, LOOKUP, ANNOUNCE, UNANNOUNCE = range(6)
MUTABLE_PUT, MUTABLE_GET, IMMUTABLE_PUT, IMMUTABLE_GET, PLUGIN = range(6, 11)
# values of `error`
UNKNOWN_COMMAND, INVALID_TOKEN, SEQ_REUSED, SEQ_TOO_LOW = 1, 2, 16, 17


class Request(NamedTuple):
    """A question.  `to` is the receiver's address as the sender sees it."""

    tid: int
    to: Address
    command: int
    internal: bool = False
    target: bytes | None = None
    value: bytes | None = None
    id: bytes | None = None
    token: bytes | None = None


class Response(NamedTuple):
    """An answer.  `to` is the requester's address as the responder sees it: how a peer learns its public address."""

    tid: int
    to: Address
    value: bytes | None = None
    error: int = 0
    closer: tuple[Address, ...] = ()
    id: bytes | None = None
    token: bytes | None = None


def encode_request(request: Request) -> bytes:
    """Raises DecodeError where `to` is no IPv4 address, ValueError for a value above 65,535 bytes."""
    tid, to, command, internal, target, value, id, token = request
    flags = (
        (id is not None)
        | (token is not None) << 1
        | internal << 2
        | (target is not None) << 3
        | (value is not None) << 4
    )
    parts = [bytes((REQUEST, flags)), tid.to_bytes(2, "little"), encode_address(to)]
    if id is not None:
        parts.append(id)
    if token is not None:
        parts.append(token)
    parts.append(encode_uint(command))
    if target is not None:
        parts.append(target)
    if value is not None:
        parts.append(encode_uint(len(value)))
        parts.append(value)
    return b"".join(parts)


def encode_response(response: Response) -> bytes:
    """Raises DecodeError where an address is no IPv4 address."""
    tid, to, value, error, closer, id, token = response
    return encode_answer(tid, to, value, error, tuple(map(encode_address, closer)), id, token)


def encode_answer(
    tid: int,
    to: Address,
    value: bytes | None,
    error: int,
    closer: Sequence[bytes],
    id: bytes | None,
    token: bytes | None,
) -> bytes:
    """A response whose nodes are on hand as they go over the wire, 6 bytes each.  Raises DecodeError."""
    flags = (
        (id is not None) | (token is not None) << 1 | bool(closer) << 2 | bool(error) << 3 | (value is not None) << 4
    )
    parts = [bytes((RESPONSE, flags)), tid.to_bytes(2, "little"), encode_address(to)]
    if id is not None:
        parts.append(id)
    if token is not None:
        parts.append(token)
    if closer:
        parts.append(encode_uint(len(closer)))
        parts += closer
    if error:
        parts.append(encode_uint(error))
    if value is not None:
        parts.append(encode_uint(len(value)))
        parts.append(value)
    return b"".join(parts)


def decode_datagram(data: bytes | bytearray | memoryview) -> Request | Response:
    """Raises DecodeError.  Bytes after the last known field are ignored, as the family does, so that it can grow."""
    if len(data) > MAX_DATAGRAM:
        raise DecodeError("datagram is too long")
    raw = bytes(data)
    if len(raw) < HEADER or raw[0] not in (REQUEST, RESPONSE):
        raise DecodeError("neither a request nor a response")
    flags, at = decode_uint(raw, 1)
    tid = int.from_bytes(raw[at : at + 2], "little")
    at += 8
    to = decode_address(raw[at - 6 : at])
    id = token = target = value = None
    if flags & 1:
        id, at = raw[at : at + 32], at + 32
    if flags & 2:
        token, at = raw[at : at + 32], at + 32
    if raw[0] == REQUEST:
        command, at = decode_uint(raw, at)
        if command > MAX_CODE:
            raise DecodeError("integer is too large")
        if flags & 8:
            target, at = raw[at : at + 32], at + 32
        if flags & 16:
            value, at = decode_buffer(raw, at)
        if at > len(raw):
            raise DecodeError("message ends early")
        return Request(tid, to, command, bool(flags & 4), target, value, id, token)
    closer: tuple[Address, ...] = ()
    error = 0
    if flags & 4:
        count, at = decode_uint(raw, at)
        end = at + 6 * count
        if count > MAX_CLOSER or end > len(raw):
            raise DecodeError("too many nodes, or fewer than announced")
        closer = tuple(map(decode_address, SIXES[count].unpack_from(raw, at)))
        at = end
    if flags & 8:
        error, at = decode_uint(raw, at)
        if error > MAX_CODE:
            raise DecodeError("integer is too large")
    if flags & 16:
        value, at = decode_buffer(raw, at)
    if at > len(raw):
        raise DecodeError("message ends early")
    return Response(tid, to, value, error, closer, id, token)


@lru_cache(maxsize=1 << 15)
def decode_address(wire: bytes) -> Address:
    """6 bytes.  Raises DecodeError."""
    if len(wire) != 6:
        raise DecodeError("message ends early")
    return "{}.{}.{}.{}".format(*wire[:4]), wire[4] | wire[5] << 8


def encode_uint(value: int) -> bytes:
    """A compact integer of at most 65,535.  Raises ValueError above."""
    if value <= 0xFC:
        return bytes((value,))
    if value > 0xFFFF:
        raise ValueError(f"neither a code nor a length: {value}")
    return b"\xfd" + value.to_bytes(2, "little")


def decode_uint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends.  Raises DecodeError."""
    if at >= len(raw):
        raise DecodeError("message ends early")
    first = raw[at]
    if first <= 0xFC:
        return first, at + 1
    end = at + 1 + (2 << (first - 0xFD))
    if end > len(raw):
        raise DecodeError("message ends early")
    return int.from_bytes(raw[at + 1 : end], "little"), end


def decode_buffer(raw: bytes, at: int) -> tuple[bytes, int]:
    """A buffer and where it ends.  Raises DecodeError."""
    size, at = decode_uint(raw, at)
    if at + size > len(raw):
        raise DecodeError("message ends early")
    return raw[at : at + size], at + size
