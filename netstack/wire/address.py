"""IPv4 addresses on the wire (4 bytes and a port, little-endian) and the node ids that follow from them."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from netstack.udp.port import Address

SIZE4 = 6
SIZE6 = 18


@lru_cache(maxsize=4096)
def encode_address(address: Address) -> bytes:
    """The 6 bytes of `address`.  Raises DecodeError for what is no IPv4 address with a port."""
    host, port = address
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        raise DecodeError("not an IPv4 address")
    numbers = [int(part) for part in parts]
    if max(numbers) > 255 or not 0 <= port <= 0xFFFF:
        raise DecodeError("not an IPv4 address")
    return bytes(numbers) + port.to_bytes(2, "little")


def encode_address6(address: Address) -> bytes:
    """The 18 bytes of an IPv6 address: 16 and a port.  Raises DecodeError."""
    try:
        host = IPv6Address(address[0])
    except ValueError:
        raise DecodeError("not an IPv6 address") from None
    if not 0 <= address[1] <= 0xFFFF:
        raise DecodeError("not an IPv6 address")
    return host.packed + address[1].to_bytes(2, "little")


def decode_address6(wire: bytes) -> Address:
    """Raises DecodeError where it is not 18 bytes."""
    if len(wire) != SIZE6:
        raise DecodeError("message ends early")
    return str(IPv6Address(wire[:16])), int.from_bytes(wire[16:], "little")


def write_address(writer: Writer, address: Address) -> None:
    """6 bytes.  Raises DecodeError for what is no IPv4 address."""
    writer.raw(encode_address(address))


def read_address(reader: Reader) -> Address:
    """6 bytes.  Raises DecodeError."""
    raw = reader.fixed(SIZE4)
    return ".".join(map(str, raw[:4])), int.from_bytes(raw[4:], "little")


def node_id(address: Address) -> bytes:
    """A node's id: never chosen, always the hash of its own address."""
    return blake2b(encode_address(address), digest_size=32).digest()


def parse_address(text: str) -> Address:
    """`HOST:PORT` with a dotted quad, as people and configuration write it.  Raises DecodeError."""
    host, _, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 0xFFFF):
        raise DecodeError("not an address like 127.0.0.1:49737")
    address = (host, int(port))
    encode_address(address)
    return address
