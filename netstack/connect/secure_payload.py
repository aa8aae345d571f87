"""Hole-punch messages: what travels as the value of PEER_HOLEPUNCH, and the sealed payload inside.

`docs/protocol.md`, "Hole punching".  The outside is for whoever routes it.  The payload is sealed under a key that
follows from the handshake, so a relay can neither read nor change what two peers tell each other.  A token is a keyed
hash of the peer's host: whoever echoes it has received at that host, which makes its addresses verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from nacl import bindings
from nacl.exceptions import CryptoError

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import Random
from netstack.namespaces import PEER_HOLEPUNCH
from netstack.udp.port import Address
from netstack.wire.address import read_address, write_address

NONCE = 24
MAX_SEALED = 1024  # bytes; a payload of 64 addresses and both tokens is half of that
MAX_ADDRESSES = 16


@dataclass(frozen=True, slots=True)
class HolepunchMessage:
    """`mode` as in a handshake; `id` names the server's session, 0 in its answers; `peer` is for routing."""

    mode: int
    id: int
    payload: bytes
    peer: Address | None = None


@dataclass(frozen=True, slots=True)
class PunchPayload:
    """What a peer says of itself in one round.  `remote` is where it has sent a low-TTL opener."""

    error: int = 0
    firewall: int = 0
    round: int = 0
    connected: bool = False
    punching: bool = False
    addresses: tuple[Address, ...] | None = None
    remote: Address | None = None
    token: bytes | None = None
    remote_token: bytes | None = None  # the other's, echoed


def encode_holepunch(message: HolepunchMessage) -> bytes:
    """The value of PEER_HOLEPUNCH."""
    writer = Writer()
    writer.uint(message.peer is not None).uint(message.mode).uint(message.id).buffer(message.payload)
    if message.peer is not None:
        write_address(writer, message.peer)
    return writer.finish()


def decode_holepunch(data: bytes) -> HolepunchMessage:
    """Raises DecodeError.  Trailing bytes are ignored, here and in the payload: the family grows that way."""
    reader = Reader(data, minimal=False)
    flags = reader.uint()
    mode, id = reader.uint(), reader.uint()
    payload = reader.buffer(MAX_SEALED)
    return HolepunchMessage(mode, id, payload, read_address(reader) if flags & 1 else None)


def encode_punch(payload: PunchPayload) -> bytes:
    """The plain payload, before it is sealed."""
    fields = (payload.addresses, payload.remote, payload.token, payload.remote_token)
    flags = payload.connected | payload.punching << 1
    flags |= sum((field is not None) << bit for bit, field in enumerate(fields, 2))
    writer = Writer()
    writer.uint(flags).uint(payload.error).uint(payload.firewall).uint(payload.round)
    if payload.addresses is not None:
        writer.array(payload.addresses, write_address)
    if payload.remote is not None:
        write_address(writer, payload.remote)
    for token in (payload.token, payload.remote_token):
        if token is not None:
            writer.raw(token)
    return writer.finish()


def decode_punch(data: bytes) -> PunchPayload:
    """Raises DecodeError."""
    reader = Reader(data, minimal=False)
    flags = reader.uint()
    return PunchPayload(
        reader.uint(),
        reader.uint(),
        reader.uint(),
        bool(flags & 1),
        bool(flags & 2),
        tuple(reader.array(read_address, MAX_ADDRESSES)) if flags & 4 else None,
        read_address(reader) if flags & 8 else None,
        reader.fixed(32) if flags & 16 else None,
        reader.fixed(32) if flags & 32 else None,
    )


class SecurePayload:
    """Seals and opens the payloads of one connection attempt."""

    __slots__ = ("_key", "_rng", "_secret")

    def __init__(self, handshake_hash: bytes, rng: Random) -> None:
        self._key = blake2b(PEER_HOLEPUNCH, digest_size=32, key=handshake_hash).digest()
        self._secret = rng(32)
        self._rng = rng

    def seal(self, payload: PunchPayload) -> bytes:
        """24 bytes of nonce, then the ciphertext."""
        nonce = self._rng(NONCE)
        return nonce + bindings.crypto_secretbox(encode_punch(payload), nonce, self._key)

    def open(self, sealed: bytes) -> PunchPayload:
        """Raises DecodeError for what the peer of this very handshake did not write."""
        if len(sealed) < NONCE + bindings.crypto_secretbox_BOXZEROBYTES:
            raise DecodeError("hole-punch payload ends early")
        try:
            plain = bindings.crypto_secretbox_open(sealed[NONCE:], sealed[:NONCE], self._key)
        except CryptoError:
            raise DecodeError("hole-punch payload does not open") from None
        return decode_punch(plain)

    def token(self, address: Address) -> bytes:
        """32 bytes that only somebody who receives at this address's host can echo."""
        return blake2b(address[0].encode(), digest_size=32, key=self._secret).digest()
