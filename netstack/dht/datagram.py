"""The frame of every DHT datagram: one request or one response, told apart by the first byte.

`docs/protocol.md`, "Handshake".  Responses are matched by their 16-bit `tid` and the address they come from; nothing
here is authenticated, so whatever is believed rests on what `value` proves by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from netstack.dht.address import read_address, write_address
from netstack.udp import Address

REQUEST = 0x03  # low nibble: protocol version 3
RESPONSE = 0x13
PROBE = b"\x00"  # one byte: a hole-punch probe, answered by nobody
MAX_DATAGRAM = 2048  # bytes; a datagram of the family fits an MTU of 1,500
MAX_CLOSER = 40  # a responder names at most k = 20 nodes
MAX_CODE = 0xFFFF

# commands of dht-rpc (the `internal` bit is set) and of HyperDHT
PING, PING_NAT, FIND_NODE, DOWN_HINT, DELAYED_PING = range(5)
PEER_HANDSHAKE, PEER_HOLEPUNCH, FIND_PEER, LOOKUP, ANNOUNCE, UNANNOUNCE = range(6)
UNKNOWN_COMMAND, INVALID_TOKEN = 1, 2  # values of `error`


@dataclass(frozen=True, slots=True)
class Request:
    """A question.  `to` is the receiver's address as the sender sees it."""

    tid: int
    to: Address
    command: int
    internal: bool = False
    target: bytes | None = None
    value: bytes | None = None
    id: bytes | None = None
    token: bytes | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.  `to` is the requester's address as the responder sees it: how a peer learns its public address."""

    tid: int
    to: Address
    value: bytes | None = None
    error: int = 0
    closer: tuple[Address, ...] = ()
    id: bytes | None = None
    token: bytes | None = None


def encode_request(request: Request) -> bytes:
    writer = Writer()
    flags = (
        (request.id is not None)
        | (request.token is not None) << 1
        | request.internal << 2
        | (request.target is not None) << 3
        | (request.value is not None) << 4
    )
    writer.raw(bytes((REQUEST, flags))).fixed_uint(request.tid, 2)
    write_address(writer, request.to)
    write_optional(writer, request.id, request.token)
    writer.uint(request.command)
    write_optional(writer, request.target)
    if request.value is not None:
        writer.buffer(request.value)
    return writer.finish()


def encode_response(response: Response) -> bytes:
    writer = Writer()
    flags = (
        (response.id is not None)
        | (response.token is not None) << 1
        | bool(response.closer) << 2
        | bool(response.error) << 3
        | (response.value is not None) << 4
    )
    writer.raw(bytes((RESPONSE, flags))).fixed_uint(response.tid, 2)
    write_address(writer, response.to)
    write_optional(writer, response.id, response.token)
    if response.closer:
        writer.array(response.closer, write_address)
    if response.error:
        writer.uint(response.error)
    if response.value is not None:
        writer.buffer(response.value)
    return writer.finish()


def decode_datagram(data: bytes | memoryview) -> Request | Response:
    """Raises DecodeError.  Bytes after the last known field are ignored, as the family does, so that it can grow."""
    if len(data) > MAX_DATAGRAM:
        raise DecodeError("datagram is too long")
    reader = Reader(data, minimal=False)
    kind = reader.fixed_uint(1)
    if kind not in (REQUEST, RESPONSE):
        raise DecodeError("neither a request nor a response")
    flags = reader.uint()
    tid = reader.fixed_uint(2)
    to = read_address(reader)
    node = reader.fixed(32) if flags & 1 else None
    token = reader.fixed(32) if flags & 2 else None
    if kind == REQUEST:
        command = reader.uint(MAX_CODE)
        target = reader.fixed(32) if flags & 8 else None
        value = reader.buffer(MAX_DATAGRAM) if flags & 16 else None
        return Request(tid, to, command, bool(flags & 4), target, value, node, token)
    closer = tuple(reader.array(read_address, MAX_CLOSER)) if flags & 4 else ()
    error = reader.uint(MAX_CODE) if flags & 8 else 0
    value = reader.buffer(MAX_DATAGRAM) if flags & 16 else None
    return Response(tid, to, value, error, closer, node, token)


def write_optional(writer: Writer, *fields: bytes | None) -> None:
    for field in fields:
        if field is not None:
            writer.raw(field)
