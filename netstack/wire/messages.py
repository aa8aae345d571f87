"""The peer handshake: what travels as the value of PEER_HANDSHAKE, and the payload inside both Noise messages.

`docs/protocol.md`, "Handshake".  The message around Noise is for whoever routes it; everything a peer says about
itself stands in the payload, encrypted and authenticated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from identity.codec import Reader, Writer
from identity.noise import MAX_MESSAGE
from netstack.udp.port import Address
from netstack.wire.address import SIZE6, read_address, write_address

VERSION = 1
MAX_ADDRESSES = 64  # per list; a peer has a handful
MAX_RELAYS = 16


class RoutingMode(IntEnum):
    """Which leg of its route a handshake message travels."""

    FROM_CLIENT = 0
    FROM_SERVER = 1
    FROM_RELAY = 2
    FROM_SECOND_RELAY = 3
    REPLY = 4


class Firewall(IntEnum):
    """What a peer believes of the NAT before it."""

    UNKNOWN = 0
    OPEN = 1
    CONSISTENT = 2
    RANDOM = 3


class Refusal(IntEnum):
    """The `error` of a payload."""

    NONE = 0
    ABORTED = 1
    VERSION_MISMATCH = 2
    TRY_LATER = 3


@dataclass(frozen=True, slots=True)
class HandshakeMessage:
    """`noise` is one Noise message; `peer` and `relay` are filled in by those that route it.  A mode that we do not
    know stays a number."""

    mode: int
    noise: bytes
    peer: Address | None = None
    relay: Address | None = None


@dataclass(frozen=True, slots=True)
class Holepunch:
    """A firewalled server's session id and its (relay address, own address there) pairs."""

    id: int
    relays: tuple[tuple[Address, Address], ...]


@dataclass(frozen=True, slots=True)
class UdxInfo:
    """The stream that the sender listens on.  `reusable`: its socket may serve again."""

    id: int
    seq: int = 0
    reusable: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class RelayThrough:
    """A blind relay to meet at: its public key and the one-use token of this pairing."""

    key: bytes
    token: bytes
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class NoisePayload:
    """What a peer says inside a Noise message.  Of another `version` nothing else is known."""

    version: int = VERSION
    error: int = Refusal.NONE
    firewall: int = Firewall.UNKNOWN
    holepunch: Holepunch | None = None
    addresses4: tuple[Address, ...] = ()
    addresses6: tuple[bytes, ...] = ()  # 16 address bytes and a port, as they came
    udx: UdxInfo | None = None
    secret_stream: int | None = None  # the version spoken
    relay_through: RelayThrough | None = None
    relay_addresses: tuple[Address, ...] | None = None


def encode_handshake(message: HandshakeMessage) -> bytes:
    """The value of PEER_HANDSHAKE."""
    writer = Writer()
    writer.uint((message.peer is not None) | (message.relay is not None) << 1)
    writer.uint(message.mode).buffer(message.noise)
    for address in (message.peer, message.relay):
        if address is not None:
            write_address(writer, address)
    return writer.finish()


def decode_handshake(data: bytes) -> HandshakeMessage:
    """Raises DecodeError.  Trailing bytes are ignored, here and in the payload: the family grows that way."""
    reader = Reader(data, minimal=False)
    flags = reader.uint()
    mode = reader.uint()
    noise = reader.buffer(MAX_MESSAGE)
    peer = read_address(reader) if flags & 1 else None
    relay = read_address(reader) if flags & 2 else None
    return HandshakeMessage(mode, noise, peer, relay)


def encode_payload(payload: NoisePayload) -> bytes:
    """The payload of a Noise message, before it is encrypted."""
    parts = (
        payload.holepunch is not None,
        bool(payload.addresses4),
        bool(payload.addresses6),
        payload.udx is not None,
        payload.secret_stream is not None,
        payload.relay_through is not None,
        payload.relay_addresses is not None,
    )
    writer = Writer()
    writer.uint(payload.version).uint(sum(present << bit for bit, present in enumerate(parts)))
    writer.uint(payload.error).uint(payload.firewall)
    if payload.holepunch is not None:
        writer.uint(payload.holepunch.id).array(payload.holepunch.relays, write_pair)
    if payload.addresses4:
        writer.array(payload.addresses4, write_address)
    if payload.addresses6:
        writer.array(payload.addresses6, Writer.raw)
    if payload.udx is not None:
        udx = payload.udx
        writer.uint(udx.version).uint(int(udx.reusable)).uint(udx.id).uint(udx.seq)
    if payload.secret_stream is not None:
        writer.uint(payload.secret_stream)
    if payload.relay_through is not None:
        relay = payload.relay_through
        writer.uint(relay.version).uint(0).raw(relay.key).raw(relay.token)
    if payload.relay_addresses is not None:
        writer.array(payload.relay_addresses, write_address)
    return writer.finish()


def decode_payload(data: bytes) -> NoisePayload:
    """Raises DecodeError."""
    reader = Reader(data, minimal=False)
    version = reader.uint()
    if version != VERSION:
        return NoisePayload(version=version)
    flags = reader.uint()
    return NoisePayload(
        version,
        reader.uint(),
        reader.uint(),
        read_holepunch(reader) if flags & 1 else None,
        tuple(reader.array(read_address, MAX_ADDRESSES)) if flags & 2 else (),
        tuple(reader.array(read_address6, MAX_ADDRESSES)) if flags & 4 else (),
        read_udx(reader) if flags & 8 else None,
        reader.uint() if flags & 16 else None,
        read_relay_through(reader) if flags & 32 else None,
        tuple(reader.array(read_address, MAX_ADDRESSES)) if flags & 64 else None,
    )


def read_address6(reader: Reader) -> bytes:
    """18 bytes.  Raises DecodeError."""
    return reader.fixed(SIZE6)


def write_pair(writer: Writer, pair: tuple[Address, Address]) -> None:
    """A relay and the own address there, 6 bytes each."""
    for address in pair:
        write_address(writer, address)


def read_pair(reader: Reader) -> tuple[Address, Address]:
    """Raises DecodeError."""
    return read_address(reader), read_address(reader)


def read_holepunch(reader: Reader) -> Holepunch:
    """Raises DecodeError."""
    return Holepunch(reader.uint(), tuple(reader.array(read_pair, MAX_RELAYS)))


def read_udx(reader: Reader) -> UdxInfo:
    """Raises DecodeError."""
    version = reader.uint()
    features = reader.uint()
    return UdxInfo(reader.uint(), reader.uint(), bool(features & 1), version)


def read_relay_through(reader: Reader) -> RelayThrough:
    """Raises DecodeError."""
    version = reader.uint()
    reader.uint()
    return RelayThrough(reader.fixed(32), reader.fixed(32), version)
