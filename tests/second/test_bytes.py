"""Bytes that nobody meant: production and this implementation take the same ones, and refuse the same ones.

Vectors are changed at random: a byte flipped, left out, put in, a stretch copied elsewhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from crdt.log.entry import decode_plaintext, read_block
from crdt.log.head import read_head as production_head
from crdt.log.pack import decode_pack
from crdt.log.transcript import read_transcript as production_transcript
from crdt.space.control import decode_control
from crdt.space.grant import decode_grant
from crdt.space.record import decode_record, decode_report
from identity.codec import Reader as ProductionReader
from identity.errors import DecodeError
from identity.statement import decode_statement, decode_statements
from tests.second.codec import Refused
from tests.second.control import read_body
from tests.second.entry import read_entry, read_plaintext
from tests.second.grant import read_grant
from tests.second.head import read_head
from tests.second.pack import read_pack, read_transcript
from tests.second.record import read_record, read_report
from tests.second.statement import read_set, read_statement

FOLDER = Path(__file__).parents[1] / "vectors"
EACH = 400
Read = Callable[[bytes], object]


def vectors(name: str, *fields: str) -> list[bytes]:
    """The bytes of some fields of a vector file."""
    held = json.loads((FOLDER / f"{name}.json").read_text("ascii"))
    rows = held if isinstance(held, list) else [held]
    return [bytes.fromhex(row[field]) for row in rows for field in fields if row.get(field)]


def verified_head(data: bytes) -> None:
    """Production's head, verified, without a tail."""
    reader = ProductionReader(data)
    head = production_head(reader)
    reader.end()
    if not head.verify():
        raise DecodeError("not signed")


def verified_record(data: bytes) -> None:
    """Production's record, verified."""
    if not decode_record(data).verify():
        raise DecodeError("not signed")


def whole_transcript(data: bytes) -> None:
    """Production's transcript, with its heads verified.  The tree is checked by whoever reads it on."""
    if not all(feed.head.verify() for feed in production_transcript(data).feeds):
        raise DecodeError("not signed")


def encoded(name: str) -> list[bytes]:
    """The statements, or the sets of them."""
    held = json.loads((FOLDER / "identity-statement.json").read_text("ascii"))
    return [bytes.fromhex(one["encoded"]) for one in held[name]]


FORMATS: dict[str, tuple[list[bytes], Read, Read]] = {
    "control": (vectors("space-control", "body"), decode_control, read_body),
    "grant": (vectors("space-grant", "grant"), decode_grant, read_grant),
    "plaintext": (vectors("log-entry", "plaintext"), decode_plaintext, read_plaintext),
    "block": (vectors("log-entry", "block"), read_block, read_entry),
    "pack": (vectors("log-pack", "blob"), decode_pack, read_pack),
    "report": (vectors("space-record", "report"), decode_report, read_report),
    "record": (vectors("space-record", "record"), verified_record, read_record),
    "head": (vectors("log-head", "head"), verified_head, read_head),
    "statement": (encoded("statements"), decode_statement, read_statement),
    "set": (encoded("sets"), decode_statements, read_set),
}


def changed(rng: random.Random, data: bytes) -> bytes:
    """The same bytes with one to three changes, more of them near the start, where lengths and counts stand."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1) if rng.random() < 0.6 else min(len(data), rng.randrange(120))
        match rng.randrange(5):
            case 0:
                bit = 1 << rng.randrange(8)
                data = data[:at] + bytes(byte ^ bit for byte in data[at : at + 1]) + data[at + 1 :]
            case 1:
                data = data[:at] + bytes([rng.choice((0, 1, 2, 252, 253, 254, 255))]) + data[at + 1 :]
            case 2:
                data = data[:at] + data[at + rng.choice((1, 1, 32)) :]
            case 3:
                data = data[:at] + rng.randbytes(rng.choice((1, 1, 32))) + data[at:]
            case _:
                start = rng.randrange(len(data) + 1)
                data = data[:at] + data[start : start + rng.choice((1, 8, 32, 64))] + data[at:]
    return data


def taken(read: Read, data: bytes) -> bool:
    """Whether a reader takes bytes."""
    try:
        read(data)
    except (DecodeError, Refused):
        return False
    return True


@pytest.mark.parametrize("name", FORMATS)
def test_both_take_and_refuse_the_same_bytes(name: str) -> None:
    known, theirs, mine = FORMATS[name]
    rng = random.Random(name)
    took = 0
    for place in range(EACH):
        data = changed(rng, known[place % len(known)])
        both = taken(theirs, data), taken(mine, data)
        took += both[0]
        assert both[0] == both[1], (both, data.hex())
    assert took > 0 or name in ("head", "statement", "record", "set"), "nothing changed was taken"


def test_both_refuse_the_same_transcripts() -> None:
    """Production reads them without the tree: what it takes is taken here if the entries give the head."""
    (known,) = vectors("log-transcript", "bytes")
    rng = random.Random("transcript")
    for _ in range(EACH):
        data = changed(rng, known)
        if taken(read_transcript, data):
            assert taken(whole_transcript, data), data.hex()
