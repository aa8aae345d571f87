"""Updates aimed at Yjs implementations, each with the rule that must stop it.

Some end a process that applies or reads them, some are taken differently by pycrdt and yjs, some forge or erase what
others wrote.  They are bytes here and stay bytes: nothing in the test process applies them.
"""

from __future__ import annotations

from crdt.docs.ids import client_id
from crdt.docs.rules import Rule
from crdt.docs.yjs import varuint
from tests.unit.docs.values import CORE, RawStruct, RawUpdate, key, string

KEY = key(7, 0)
CLIENT = varuint(client_id(CORE, 7))
OTHERS = varuint(client_id(CORE, 8))


def one(**parts: bytes) -> bytes:
    """The honest update but for parts of its one struct."""
    fields: dict[str, bytes] = {"key": KEY} | parts
    return RawUpdate(structs=[RawStruct(**fields)]).encode()


def content(reference: int, data: bytes) -> bytes:
    """Another kind of content under the very same key."""
    return one(info=bytes((0x20 | reference,)), content=data)


def longest(size: int) -> bytes:
    """An honest update of that many bytes."""
    empty = len(one(content=string(b""))) - 2
    return one(content=string(b" " * (size - empty - 2)))


def nested_any(depth: int) -> bytes:
    """ContentAny of one array in an array in an array."""
    return one(content=b"\x01" + b"\x75\x01" * depth + b"\x7e")


def nested_types(depth: int) -> bytes:
    """A map in a map in a map: the first under our key, each next one's parent the one before."""
    structs = [RawStruct(info=b"\x27", key=KEY, content=b"\x01")]
    structs += [
        RawStruct(info=b"\x27", parent=b"\x00" + CLIENT + varuint(clock), key=b"k", content=b"\x01")
        for clock in range(depth)
    ]
    return RawUpdate(structs=structs).encode()


def two_sections(first: bytes, second: bytes) -> bytes:
    tail = RawUpdate(structs=[RawStruct(key=KEY)]).encode()[3 + 1 + len(CLIENT) :]
    return b"\x01\x01\x02\x01" + first + tail[:-1] + b"\x01" + second + tail


def skip_to(clock: int) -> bytes:
    """A skip before an honest struct."""
    honest = RawStruct(key=KEY).encode()
    return RawUpdate(count=b"\x02", structs=[]).encode()[:-1] + b"\x0a" + varuint(clock) + honest + b"\x00"


HOSTILE: dict[str, tuple[bytes, Rule]] = {
    # these end the process
    "nested any, 3 KB": (nested_any(1_650), Rule.VALUE),
    "nested any, 180 KB": (nested_any(90_000), Rule.VALUE),
    "nested objects": (one(content=b"\x01" + b"\x76\x01\x01k" * 20_000 + b"\x7e"), Rule.VALUE),
    "nested shared types": (nested_types(1_000), Rule.COUNT),
    "nested shared types, few": (nested_types(60), Rule.CONTENT),
    # these take time or memory out of proportion
    "a count of 2^40": (RawUpdate(count=varuint(1 << 40), structs=[]).encode(), Rule.COUNT),
    "2^40 sections": (RawUpdate(sections=varuint(1 << 40)).encode(), Rule.SECTIONS),
    "2^31 sections and nothing": (b"\x01\x01" + varuint(1 << 31), Rule.SECTIONS),
    "2^50 values": (one(content=varuint(1 << 50)), Rule.VALUE),
    "a string of 2^40": (one(content=b"\x01\x77" + varuint(1 << 40)), Rule.SHORT),
    "a root of 2^40": (RawUpdate(structs=[]).encode()[:-2] + b"\x28\x01" + varuint(1 << 40), Rule.COUNT),
    "a delete set of 2^40 clients": (RawUpdate(deletes=varuint(1 << 40)).encode(), Rule.DELETES),
    "an endless number": (b"\x01\x01" + b"\xff" * 64, Rule.FORM),
    # these forge, overwrite or erase
    "another entry's client": (RawUpdate(client=OTHERS).encode(), Rule.CLIENT),
    "client 0": (RawUpdate(client=b"\x00").encode(), Rule.CLIENT),
    "a later clock": (RawUpdate(clock=b"\x01").encode(), Rule.CLOCK),
    "a delete set alone": (
        b"\x01\x01" + b"\x00" + b"\x01" + OTHERS + b"\x01\x00\x01",
        Rule.SECTIONS,
    ),
    "a put and a delete set": (RawUpdate(deletes=b"\x01" + OTHERS + b"\x01\x00\x01").encode(), Rule.DELETES),
    "its own put deleted": (RawUpdate(deletes=b"\x01" + CLIENT + b"\x01\x00\x01").encode(), Rule.DELETES),
    "an origin": (one(info=b"\xa8", origins=OTHERS + b"\x00", parent=b""), Rule.ORIGIN),
    "a right origin": (one(info=b"\x68", origins=OTHERS + b"\x00", parent=b""), Rule.ORIGIN),
    "both origins": (one(info=b"\xe8", origins=(OTHERS + b"\x00") * 2, parent=b""), Rule.ORIGIN),
    "a parent id": (one(parent=b"\x00" + OTHERS + b"\x00"), Rule.PARENT),
    "another writer's key": (one(key=b"A" * 16 + b"/7/0"), Rule.KEY),
    "another entry's key": (one(key=key(8, 0)), Rule.KEY),
    "another struct's key": (one(key=key(7, 1)), Rule.KEY),
    "an empty key": (one(key=b""), Rule.KEY),
    "a seq with a zero before": (one(key=KEY.replace(b"/7/", b"/07/")), Rule.KEY),
    "a list element": (one(info=b"\x08"), Rule.KEY),
    "one key twice": (RawUpdate(structs=[RawStruct(key=KEY)] * 2).encode(), Rule.KEY),
    "keys in another order": (
        RawUpdate(structs=[RawStruct(key=key(7, 1)), RawStruct(key=key(7, 0))]).encode(),
        Rule.KEY,
    ),
    "an unknown root": (one(root=b"passwords"), Rule.ROOT),
    "a personal root in a chat": (one(root=b"contacts"), Rule.ROOT),
    "an empty root": (one(root=b""), Rule.ROOT),
    # other content
    "deleted content": (content(1, b"\x01"), Rule.CONTENT),
    "deleted content of length 0": (content(1, b"\x00"), Rule.CONTENT),
    "JSON content": (content(2, b"\x01\x022{"), Rule.CONTENT),
    "binary content": (content(3, b"\x01a"), Rule.CONTENT),
    "string content": (content(4, b"\x01a"), Rule.CONTENT),
    "an embed": (content(5, b"\x02{}"), Rule.CONTENT),
    "a format": (content(6, b"\x01b\x04true"), Rule.CONTENT),
    "an array": (content(7, b"\x00"), Rule.CONTENT),
    "a map": (content(7, b"\x01"), Rule.CONTENT),
    "an XML element": (content(7, b"\x03\x01p"), Rule.CONTENT),
    "a type that nobody knows": (content(7, b"\x0f"), Rule.CONTENT),
    "a subdocument": (content(9, b"\x01g\x76\x00"), Rule.CONTENT),
    "a move": (content(11, b"\x00" + OTHERS + b"\x00"), Rule.CONTENT),
    "content of no kind": (content(31, b"\x00"), Rule.CONTENT),
    "garbage collected": (RawUpdate(count=b"\x01", structs=[]).encode()[:-1] + b"\x00\x01\x00", Rule.CONTENT),
    "a skip": (skip_to(1), Rule.CONTENT),
    "a skip of nothing": (skip_to(0), Rule.CONTENT),
    # other values
    "no value": (one(content=b"\x00"), Rule.VALUE),
    "two values": (one(content=b"\x02\x77\x01a\x77\x01b"), Rule.VALUE),
    "undefined": (one(content=b"\x01\x7f"), Rule.VALUE),
    "null": (one(content=b"\x01\x7e"), Rule.VALUE),
    "an integer": (one(content=b"\x01\x7d\x05"), Rule.VALUE),
    "a float": (one(content=b"\x01\x7b" + bytes(8)), Rule.VALUE),
    "a big integer": (one(content=b"\x01\x7a" + b"\xff" * 8), Rule.VALUE),
    "true": (one(content=b"\x01\x78"), Rule.VALUE),
    "an object": (one(content=b"\x01\x76\x00"), Rule.VALUE),
    "an array value": (one(content=b"\x01\x75\x00"), Rule.VALUE),
    "bytes": (one(content=b"\x01\x74\x01a"), Rule.VALUE),
    "a lone surrogate": (one(content=string(b"\xed\xa0\x80")), Rule.TEXT),
    "an overlong slash": (one(content=string(b"\xc0\xaf")), Rule.TEXT),
    "half a character": (one(content=string(b"\xf0\x9f\x98")), Rule.TEXT),
    "a root that is not UTF-8": (one(root=b"\xff"), Rule.TEXT),
    # other frames
    "no bytes": (b"", Rule.KIND),
    "a kind alone": (b"\x01\x01", Rule.SHORT),
    "an unknown kind": (RawUpdate(head=b"\x03\x01").encode(), Rule.KIND),
    "kind 0": (RawUpdate(head=b"\x00\x01").encode(), Rule.KIND),
    "a later root list": (RawUpdate(head=b"\x01\x02").encode(), Rule.KIND),
    "a chat put on a personal page": (RawUpdate(head=b"\x02\x01").encode(), Rule.ROOT),
    "no section": (b"\x01\x01\x00\x00", Rule.SECTIONS),
    "no struct": (RawUpdate(structs=[]).encode(), Rule.COUNT),
    "65 structs": (RawUpdate(structs=[RawStruct(key=key(7, n)) for n in range(65)]).encode(), Rule.COUNT),
    "two sections of one client": (two_sections(CLIENT, CLIENT), Rule.SECTIONS),
    "two sections": (two_sections(CLIENT, OTHERS), Rule.SECTIONS),
    "a trailing byte": (RawUpdate(tail=b"\x00").encode(), Rule.TRAILING),
    "a second update behind": (RawUpdate(tail=RawUpdate().encode()[2:]).encode(), Rule.TRAILING),
    "a long section count": (RawUpdate(sections=b"\x81\x00").encode(), Rule.FORM),
    "a long struct count": (RawUpdate(count=b"\x81\x00").encode(), Rule.FORM),
    "a long client": (RawUpdate(client=CLIENT[:-1] + bytes((CLIENT[-1] | 0x80, 0))).encode(), Rule.FORM),
    "a client of 54 bits": (RawUpdate(client=varuint(client_id(CORE, 7) | 1 << 53)).encode(), Rule.CLIENT),
    "a long clock": (RawUpdate(clock=b"\x80\x00").encode(), Rule.FORM),
    "a long string length": (one(content=b"\x01\x77\x82\x00{}"), Rule.FORM),
    "a long value count": (one(content=b"\x81\x00\x77\x02{}"), Rule.FORM),
    "a long delete set": (RawUpdate(deletes=b"\x80\x00").encode(), Rule.FORM),
    "a parent of another number": (one(parent=b"\x02"), Rule.FORM),
    "a v2 update": (b"\x01\x01" + bytes.fromhex("000003e5f301000001020100"), Rule.SECTIONS),
    "192 KiB and a byte": (longest(192 * 1024 + 1), Rule.SIZE),
}
