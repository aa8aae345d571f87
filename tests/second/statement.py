"""Device statements: section 3 of docs/protocol.md, "Statements". Certificates, revocations, sets of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tests.second.codec import Reader, Refused, array, buffer, require, rising
from tests.second.digest import blake
from tests.second.signature import agrees, valid_point, verified

CERTIFICATE, REVOCATION = 0, 1
STATEMENT = 2560
LISTED = 64
SET_COUNT = 128
SET_SIZE = 48 << 10


def device_id(signing: bytes, agreement: bytes) -> bytes:
    """BLAKE2b(kithkin device, S ‖ D)."""
    return blake(b"kithkin device", signing + agreement)


@dataclass(frozen=True, slots=True)
class Statement:
    """One verified statement; `issuer` is the id of the device that signed it, empty for R."""

    encoded: bytes
    id: bytes
    kind: int
    identity: bytes
    device: bytes
    agreement: bytes
    created: int
    generation: int
    issuer: bytes
    stay: frozenset[bytes]


def take_signer(reader: Reader) -> tuple[bytes, bytes]:
    """`0` (R) gives two empty keys, `1` ‖ S ‖ D the keys of a device."""
    return (reader.take(32), reader.take(32)) if reader.flag() else (b"", b"")


@lru_cache(maxsize=1 << 16)
def read_statement(data: bytes) -> Statement:
    """Reads a statement and verifies all its signatures."""
    require(len(data) <= STATEMENT, "a statement has at most 2,560 bytes")
    reader = Reader(data)
    reader.version()
    kind = reader.byte()
    require(kind in (CERTIFICATE, REVOCATION), "a known kind")
    identity = reader.take(32)
    require(valid_point(identity), "R is a point of the prime-order group")
    keys = (reader.take(32), reader.take(32)) if kind == CERTIFICATE else (b"", b"")
    device = device_id(*keys) if kind == CERTIFICATE else reader.take(32)
    created, generation = reader.uint(), reader.uint()
    signing, agreement = take_signer(reader)
    # "ids that stay (R alone)": a device's certificate has no such field, not even a count of zero.
    has_list = kind == REVOCATION or not signing
    stay = reader.array(LISTED, lambda: reader.take(32)) if has_list else ()
    rising(stay, "lists ascend and hold each id once")
    body = data[2 : reader.at]
    if kind == CERTIFICATE:
        require(valid_point(keys[0]) and agrees(keys[1]), "S and D are good keys")
        require(verified(keys[0], b"kithkin counter", body, reader.take(64)), "the counter-signature is good")
    if signing:
        require(valid_point(signing) and agrees(agreement), "the signer's keys are good keys")
    label = b"kithkin cert" if kind == CERTIFICATE else b"kithkin revoke"
    require(verified(signing or identity, label, body, reader.take(64)), "the signature is good")
    reader.end()
    return Statement(
        data,
        blake(b"kithkin stmt id", data[:2] + body),
        kind,
        identity,
        device,
        keys[1],
        created,
        generation,
        device_id(signing, agreement) if signing else b"",
        frozenset(stay),
    )


def readable(data: bytes) -> Statement | None:
    """The statement, or nothing: one that is none, or not signed as it says, is as good as absent (section 10)."""
    try:
        return read_statement(data)
    except Refused:
        return None


def take_statements(reader: Reader) -> tuple[bytes, ...]:
    """Count and statements, not verified here: at most 128 and together at most 48 KiB."""
    held = reader.array(SET_COUNT, lambda: reader.buffer(STATEMENT))
    require(sum(map(len, held)) <= SET_SIZE, "statements have together at most 48 KiB")
    return held


def read_set(data: bytes) -> tuple[Statement, ...]:
    """A set of statements, ascending by id; one bad statement spoils it."""
    require(len(data) <= SET_SIZE, "a set has at most 48 KiB")
    reader = Reader(data)
    reader.version()
    held = tuple(read_statement(statement) for statement in take_statements(reader))
    reader.end()
    rising((statement.id for statement in held), "a set ascends by id")
    return held


def write_set(held: tuple[Statement, ...]) -> bytes:
    """The bytes of a set."""
    return b"\0\1" + array(buffer(one.encoded) for one in sorted(held, key=lambda one: one.id))
