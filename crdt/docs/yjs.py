"""The admitted subset of Yjs v1 updates: a bounded scanner and an encoder with pycrdt's bytes.

`docs/protocol.md`, "Documents and the guard".  The subset is one client section of 1 to 64 structs from clock 0, each
ContentAny of one string, set under a key of a root; and an empty delete set:

    01 | count | client | 00 | count x (28 | 01 | root | key | 01 | 77 | string) | 00

Numbers are lib0 varuints (7 bits a byte, lowest first), strings a varuint byte length and UTF-8.  The scanner takes no
number and no length on trust, allocates nothing before a bound, and never looks inside the string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from crdt.docs.kinds import MAX_STRUCTS
from crdt.docs.rules import Rule, Unscannable

INFO = 0x28  # content 8, ContentAny | 0x20, a parent key follows; no origin 0x80, no right origin 0x40
CONTENT_MASK = 0x1F
CONTENT_ANY = 8
ORIGINS = 0xC0
ANY_STRING = 0x77
MAX_NAME = 255  # bytes of a root or key: far above what any kind needs, far below a nuisance
_VARUINT_LIMIT = 1 << 56


class Put(NamedTuple):
    """One value under a fresh key.  (A tuple, not a dataclass: made once a message in both directions.)"""

    root: str
    key: str
    json: str


class Scan(NamedTuple):
    """What an update says, before anybody asks whether this entry may say it."""

    client: int
    puts: tuple[Put, ...]


def varuint(value: int) -> bytes:
    """A lib0 varuint in its shortest form."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def client_bytes(client: int) -> bytes:
    """`varuint` of a 53-bit client id, several times faster: the bits are spread in three steps."""
    if client < 1 << 49:
        return varuint(client)
    spread = (client & 0xFFFFFFF) | ((client & 0xFFFFFFF0000000) << 4)
    spread = (spread & 0x00003FFF00003FFF) | ((spread & 0x0FFFC0000FFFC000) << 2)
    spread = (spread & 0x007F007F007F007F) | ((spread & 0x3F803F803F803F80) << 1) | 0x0080808080808080
    return spread.to_bytes(8, "little")


def encode_update(client: int, puts: Sequence[Put]) -> bytes:
    """The update that a fresh Yjs document of this client gives after one transaction that sets `puts` in order."""
    out = [b"\x01", varuint(len(puts)), client_bytes(client), b"\x00"]
    for root, key, json in puts:
        name, sub, value = root.encode(), key.encode(), json.encode()
        out += (b"\x28\x01", varuint(len(name)), name, varuint(len(sub)), sub, b"\x01\x77", varuint(len(value)), value)
    out.append(b"\x00")
    return b"".join(out)


def scan_update(data: bytes) -> Scan:
    """Client and puts of an update of the subset.  Raises Unscannable (a DecodeError) with the rule broken.

    Numbers need not be in their shortest form here: the guard encodes again and compares.
    """
    try:
        return _scan(data)
    except IndexError:
        raise Unscannable(Rule.SHORT) from None
    except UnicodeDecodeError:
        raise Unscannable(Rule.TEXT) from None


def _scan(data: bytes) -> Scan:
    end = len(data)
    at = 0

    def number() -> int:
        nonlocal at
        value = data[at]
        at += 1
        if value < 0x80:
            return value
        value &= 0x7F
        shift = 7
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 56:
                raise Unscannable(Rule.FORM)
        if value >= _VARUINT_LIMIT:
            raise Unscannable(Rule.FORM)
        return value

    def string(limit: int, rule: Rule) -> str:
        nonlocal at
        size = number()
        start = at
        if size > end - start:
            raise Unscannable(Rule.SHORT)
        if size > limit:
            raise Unscannable(rule)
        at = start + size
        return data[start:at].decode("utf-8")

    if number() != 1:
        raise Unscannable(Rule.SECTIONS)
    count = number()
    if not 1 <= count <= MAX_STRUCTS:
        raise Unscannable(Rule.COUNT)
    client = number()
    if number() != 0:
        raise Unscannable(Rule.CLOCK)
    puts = []
    for _ in range(count):
        info = data[at]
        at += 1
        if info != INFO:
            raise Unscannable(_wrong_info(info))
        parent = number()
        if parent != 1:
            raise Unscannable(Rule.PARENT if parent == 0 else Rule.FORM)
        root = string(MAX_NAME, Rule.ROOT)
        key = string(MAX_NAME, Rule.KEY)
        if number() != 1:
            raise Unscannable(Rule.VALUE)
        if data[at] != ANY_STRING:
            raise Unscannable(Rule.VALUE)
        at += 1
        puts.append(Put(root, key, string(end, Rule.SHORT)))
    if number() != 0:
        raise Unscannable(Rule.DELETES)
    if at != end:
        raise Unscannable(Rule.TRAILING)
    return Scan(client, tuple(puts))


def _wrong_info(info: int) -> Rule:
    if info & CONTENT_MASK != CONTENT_ANY:
        return Rule.CONTENT
    if info & ORIGINS:
        return Rule.ORIGIN
    return Rule.KEY  # no parent key: an element of a list
