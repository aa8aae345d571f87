"""What nodes keep for others: peer records and values, how they are encoded, and the signatures that prove them.

`docs/protocol.md`, "DHT".  An announcement is signed for one node and one token, so it is worth nothing at another node
or a little later.  A mutable value is signed for all nodes and without an end, with a number that only rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import netstack.namespaces as namespaces
from identity.codec import MAX_UINT, Reader, Writer
from identity.errors import DecodeError
from identity.keys import SigningKey, check_point, verify_raw
from netstack.dht.datagram import MAX_DATAGRAM, decode_address, decode_uint
from netstack.udp.port import Address
from netstack.wire.address import read_address, write_address

MAX_RELAYS = 3  # of a record that a node keeps
MAX_NAMED = 64  # of one on the wire; its datagram has no room for more
MAX_PEERS = 20  # of one answer to LOOKUP


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Somebody who can be connected to: the key, and nodes that relay the handshake."""

    key: bytes
    relays: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class LookupReply:
    """What one node knows of a topic.  `bump`: ms of Unix time, by which peers may order topics; 0 for none."""

    peers: tuple[PeerRecord, ...]
    bump: int = 0


@dataclass(frozen=True, slots=True)
class Announce:
    """The value of ANNOUNCE and UNANNOUNCE.  `refresh` alone renews an earlier one (its hash was sent with that)."""

    peer: PeerRecord | None = None
    refresh: bytes | None = None
    signature: bytes | None = None
    bump: int = 0


@dataclass(frozen=True, slots=True)
class Mutable:
    """A value under a key, replaced by any with a higher `seq`."""

    seq: int
    value: bytes
    signature: bytes


def hashed(data: bytes) -> bytes:
    """The target under which a key, or an immutable value, is found."""
    return blake2b(data, digest_size=32).digest()


# codecs: every decoder raises DecodeError and nothing else; trailing bytes are ignored, the family grows that way


def write_peer(writer: Writer, peer: PeerRecord) -> None:
    """A peer record."""
    writer.raw(peer.key).array(peer.relays, write_address)


def read_peer(reader: Reader) -> PeerRecord:
    """A peer record.  Raises DecodeError."""
    return PeerRecord(reader.fixed(32), tuple(reader.array(read_address, MAX_NAMED)))


def encode_peer(peer: PeerRecord) -> bytes:
    """A peer record as one value."""
    writer = Writer()
    write_peer(writer, peer)
    return writer.finish()


def decode_peer(data: bytes) -> PeerRecord:
    """Raises DecodeError."""
    return read_peer(Reader(data, minimal=False))


def encode_lookup(peers: list[bytes], bump: int) -> bytes:
    """`peers` are encoded records."""
    return Writer().array(peers, Writer.raw).uint(bump).finish()


def decode_lookup(data: bytes) -> LookupReply:
    """As the other decoders, but a walk reads dozens of these: slices instead of a `Reader`."""
    count, at = decode_uint(data, 0)
    if count > MAX_NAMED:
        raise DecodeError("too many peers")
    peers: list[PeerRecord] = []
    for _ in range(count):
        key, at = data[at : at + 32], at + 32
        relays, at = decode_uint(data, at)
        end = at + 6 * relays
        if relays > MAX_NAMED or end > len(data):
            raise DecodeError("too many relays, or fewer than announced")
        peers.append(PeerRecord(key, tuple([decode_address(data[i : i + 6]) for i in range(at, end, 6)])))
        at = end
    bump = decode_uint(data, at)[0] if at < len(data) else 0
    if bump > MAX_UINT:
        raise DecodeError("integer is too large")
    return LookupReply(tuple(peers), bump)


def encode_announce(announce: Announce) -> bytes:
    """The value of ANNOUNCE and UNANNOUNCE."""
    writer = Writer()
    writer.uint(
        (announce.peer is not None)
        | (announce.refresh is not None) << 1
        | (announce.signature is not None) << 2
        | bool(announce.bump) << 3
    )
    if announce.peer is not None:
        write_peer(writer, announce.peer)
    for field in (announce.refresh, announce.signature):
        if field is not None:
            writer.raw(field)
    if announce.bump:
        writer.uint(announce.bump)
    return writer.finish()


def decode_announce(data: bytes) -> Announce:
    """Raises DecodeError."""
    reader = Reader(data, minimal=False)
    flags = reader.uint()
    return Announce(
        read_peer(reader) if flags & 1 else None,
        reader.fixed(32) if flags & 2 else None,
        reader.fixed(64) if flags & 4 else None,
        reader.uint() if flags & 8 else 0,
    )


def encode_mutable(mutable: Mutable) -> bytes:
    """As a node answers MUTABLE_GET."""
    return Writer().uint(mutable.seq).buffer(mutable.value).raw(mutable.signature).finish()


def read_mutable(reader: Reader) -> Mutable:
    """Raises DecodeError."""
    return Mutable(reader.uint(), reader.buffer(MAX_DATAGRAM), reader.fixed(64))


def decode_mutable(data: bytes) -> Mutable:
    """The answer to MUTABLE_GET.  Raises DecodeError."""
    return read_mutable(Reader(data, minimal=False))


def encode_mutable_put(key: bytes, mutable: Mutable) -> bytes:
    """The value of MUTABLE_PUT."""
    return key + encode_mutable(mutable)


def decode_mutable_put(data: bytes) -> tuple[bytes, Mutable]:
    """The key and the value under it.  Raises DecodeError."""
    reader = Reader(data, minimal=False)
    return reader.fixed(32), read_mutable(reader)


def encode_seq(seq: int) -> bytes:
    """The value of MUTABLE_GET: the lowest number wanted."""
    return Writer().uint(seq).finish()


def decode_seq(data: bytes) -> int:
    """Raises DecodeError."""
    return Reader(data, minimal=False).uint()


# signatures


def announce_signable(
    namespace: bytes, target: bytes, node: bytes, token: bytes, peer: PeerRecord, refresh: bytes | None
) -> bytes:
    """The bytes that an announcement signs: `namespace`, then a hash of all that it binds."""
    return namespace + hashed(b"".join((target, node, token, encode_peer(peer), refresh or b"")))


def sign_announce(
    key: SigningKey,
    target: bytes,
    node: bytes,
    token: bytes,
    relays: tuple[Address, ...] = (),
    *,
    refresh: bytes | None = None,
    bump: int = 0,
    namespace: bytes = namespaces.ANNOUNCE,
) -> Announce:
    """Good at the node with that id, while that token of its lives.  `namespace` UNANNOUNCE takes it back."""
    peer = PeerRecord(key.public, relays)
    signature = key.sign_raw(announce_signable(namespace, target, node, token, peer, refresh))
    return Announce(peer, refresh, signature, bump)


def verify_announce(announce: Announce, target: bytes, node: bytes, token: bytes, namespace: bytes) -> bool:
    """Whether it is signed for this target, node and token."""
    if announce.peer is None or announce.signature is None:
        return False
    signable = announce_signable(namespace, target, node, token, announce.peer, announce.refresh)
    return verified(announce.peer.key, signable, announce.signature)


def mutable_signable(seq: int, value: bytes) -> bytes:
    """The bytes that a mutable value signs."""
    return namespaces.MUTABLE_PUT + hashed(Writer().uint(seq).buffer(value).finish())


def sign_mutable(key: SigningKey, seq: int, value: bytes) -> Mutable:
    """A value that `key` signs, with its number."""
    return Mutable(seq, value, key.sign_raw(mutable_signable(seq, value)))


def verify_mutable(mutable: Mutable, key: bytes) -> bool:
    """Whether `key` has signed it."""
    return verified(key, mutable_signable(mutable.seq, mutable.value), mutable.signature)


def verified(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is of `key`, which must be a key at all."""
    return usable(key) and verify_raw(key, message, signature)


@lru_cache(maxsize=4096)
def usable(key: bytes) -> bool:
    """Whether it is an Ed25519 key.  To find out costs as much as a signature, and a key comes back for days."""
    try:
        check_point(key)
    except DecodeError:
        return False
    return True
