"""The bytes of a backup: header, records, rows, contents (`docs/protocol.md`, "Backup").

A file is a header and then records, each sealed for its own place.  Rows of the store come in records of about half a
megabyte; contents name every record that belongs to the newest state; an end record says where they stand.  A later
backup into the same file appends the records that are new, new contents and a new end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct

from identity.codec import Reader, Writer
from identity.device import read_suite
from identity.digest import derive, digest
from identity.errors import DecodeError, KithkinError
from identity.keys import SUITE, VERSION, Random
from identity.keystore import (
    MAX_MEMORY_KIB,
    MAX_OPS,
    MIN_MEMORY_KIB,
    SALT,
    USUAL,
    Cost,
    passphrase_key,
)
from identity.labels import Label
from identity.seal import NONCE, TAG, open_sealed, seal
from sync.store.port import MAX_KEY, MAX_VALUE, Row

MAGIC = b"kithkin backup"
CHECK = 16
HEADER = 2 + len(MAGIC) + SALT + 1 + 4 + CHECK + CHECK
HASH = 16
MAX_ROWS = MAX_KEY + MAX_VALUE + 6 + (2 << 20)  # bytes of one record of rows, before sealing
MAX_CONTENTS = 64 << 20
MAX_PARTS = 1 << 20
MAX_CHATS = 1 << 16
MAX_TITLE = 1024

_FRAME = Struct("<IB")
_ROW = Struct("<HI")
_PLACE = Struct("<BQI")
FRAME = _FRAME.size + NONCE
END = FRAME + 8 + TAG  # bytes of an end record


class Kind(IntEnum):
    """What a record holds."""

    ROWS = 1
    CONTENTS = 2
    END = 3


LIMITS = {Kind.ROWS: MAX_ROWS, Kind.CONTENTS: MAX_CONTENTS, Kind.END: 8}


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table, from `first` on: where their record stands, how long its plaintext is, and its hash."""

    table: int
    first: bytes
    rows: int
    offset: int
    length: int
    hash: bytes

    @property
    def end(self) -> int:
        """Where the record ends."""
        return self.offset + FRAME + self.length + TAG


@dataclass(frozen=True, slots=True)
class Contents:
    """One finished state.  number: from 1, one higher each time; created: Unix ms; octets: of all rows; chats: space
    id and title, for sentences about what is lost."""

    number: int
    created: int
    identity: bytes
    device: bytes
    messages: int
    octets: int
    chats: tuple[tuple[bytes, str], ...]
    parts: tuple[Part, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Header:
    """What the key follows from.  check: tells a wrong passphrase from damage."""

    salt: bytes
    cost: Cost
    check: bytes

    def encode(self) -> bytes:
        """69 bytes."""
        out = Writer().raw(bytes((VERSION, SUITE))).raw(MAGIC).raw(self.salt)
        out.fixed_uint(self.cost.ops, 1).fixed_uint(self.cost.memory, 4).raw(self.check)
        body = out.finish()
        return body + digest(Label.BACKUP, body, size=CHECK)


class BackupKey:
    """Seals and opens records.  A nonce is drawn for each; the place of a record is part of what is authenticated."""

    def __init__(self, secret: bytes) -> None:
        self._records = derive(secret, Label.BACKUP, b"records")
        self.check = derive(secret, Label.BACKUP, b"check", size=CHECK)

    def seal(self, kind: Kind, offset: int, plaintext: bytes, nonce: bytes) -> bytes:
        """The record that stands at `offset`.  Raises ValueError beyond the bound of its kind."""
        if len(plaintext) > LIMITS[kind]:
            raise ValueError(f"a record of {len(plaintext)} bytes is over its bound")
        sealed = seal(self._records, nonce, plaintext, _PLACE.pack(kind, offset, len(plaintext)))
        return _FRAME.pack(len(plaintext), kind) + nonce + sealed

    def open(self, kind: Kind, offset: int, nonce: bytes, sealed: bytes) -> bytes:
        """The plaintext.  Raises DecodeError where a bit differs, or it was made for another place."""
        return open_sealed(self._records, nonce, sealed, _PLACE.pack(kind, offset, len(sealed) - TAG))


def new_header(passphrase: str, rng: Random, cost: Cost = USUAL) -> tuple[Header, BackupKey]:
    """For a new file.  Raises KithkinError `no_passphrase` for an empty one."""
    if not passphrase:
        raise KithkinError("no_passphrase", "An empty passphrase protects nothing; choose one.")
    salt = rng(SALT)
    key = BackupKey(passphrase_key(passphrase, salt, cost))
    return Header(salt, cost, key.check), key


def decode_header(data: bytes) -> Header:
    """Raises DecodeError for anything but an undamaged header with a cost that we would run."""
    reader = Reader(data)
    body = data[:-CHECK]
    if len(data) != HEADER or data[2 : 2 + len(MAGIC)] != MAGIC:
        raise DecodeError("not a backup")
    if digest(Label.BACKUP, body, size=CHECK) != data[-CHECK:]:
        raise DecodeError("the header is damaged")
    read_suite(reader)
    reader.fixed(len(MAGIC))
    salt, ops, memory = reader.fixed(SALT), reader.fixed_uint(1), reader.fixed_uint(4)
    if not (1 <= ops <= MAX_OPS and MIN_MEMORY_KIB <= memory <= MAX_MEMORY_KIB):
        raise DecodeError("that is no cost for Argon2id")
    return Header(salt, Cost(ops, memory), reader.fixed(CHECK))


def key_of(header: Header, passphrase: str) -> BackupKey:
    """Raises KithkinError `wrong_passphrase`, `no_passphrase`."""
    if not passphrase:
        raise KithkinError("no_passphrase", "A backup needs its own passphrase.")
    key = BackupKey(passphrase_key(passphrase, header.salt, header.cost))
    if key.check != header.check:
        raise KithkinError("wrong_passphrase", "That is not the passphrase of this backup.")
    return key


def decode_frame(data: bytes) -> tuple[Kind, int, bytes]:
    """(kind, length of the plaintext, nonce) of a record's first bytes.  Raises DecodeError for what no record has."""
    if len(data) != FRAME:
        raise DecodeError("the file ends inside a record")
    length, number = _FRAME.unpack_from(data)
    try:
        kind = Kind(number)
    except ValueError:
        raise DecodeError("no kind of record") from None
    if length > LIMITS[kind]:
        raise DecodeError("a record beyond its bound")
    return kind, length, data[_FRAME.size :]


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Each: length of the key (u16), of the value (u32), key, value."""
    pack = _ROW.pack
    return b"".join([pack(len(key), len(value)) + key + value for key, value in rows])


def decode_rows(data: bytes) -> Iterator[Row]:
    """Raises DecodeError for bytes that are no rows."""
    at, end, unpack, size = 0, len(data), _ROW.unpack_from, _ROW.size
    while at < end:
        start = at + size
        if start > end:
            raise DecodeError("a row that ends early")
        key, value = unpack(data, at)
        middle = start + key
        at = middle + value
        if key > MAX_KEY or value > MAX_VALUE or at > end:
            raise DecodeError("a row that ends early")
        yield data[start:middle], data[middle:at]


def encode_contents(contents: Contents) -> bytes:
    """See `decode_contents`."""
    out = Writer().raw(bytes((VERSION, SUITE))).uint(contents.number).fixed_uint(contents.created, 8)
    out.raw(contents.identity).raw(contents.device).uint(contents.messages).uint(contents.octets)
    out.array(contents.chats, lambda w, chat: w.raw(chat[0]).string(chat[1]))

    def part(w: Writer, p: Part) -> None:
        w.uint(p.table).buffer(p.first).uint(p.rows).uint(p.offset).uint(p.length).raw(p.hash)

    return out.array(contents.parts, part).finish()


def decode_contents(data: bytes) -> Contents:
    """Parts ascend by table and first key.  Raises DecodeError."""
    reader = Reader(data)
    read_suite(reader)
    number, created = reader.uint(), reader.fixed_uint(8)
    identity, device, messages, octets = reader.fixed(32), reader.fixed(32), reader.uint(), reader.uint()
    chats = reader.array(lambda r: (r.fixed(32), r.string(MAX_TITLE)), MAX_CHATS)

    def part(r: Reader) -> Part:
        return Part(r.uint(255), r.buffer(MAX_KEY), r.uint(), r.uint(1 << 62), r.uint(MAX_ROWS), r.fixed(HASH))

    parts = reader.array(part, MAX_PARTS)
    reader.end()
    return Contents(number, created, identity, device, messages, octets, tuple(chats), tuple(parts))


def content_hash(plaintext: bytes) -> bytes:
    """By which a record of rows is recognised as one that the file holds already."""
    return digest(Label.BACKUP, plaintext, size=HASH)


def encode_end(contents: int) -> bytes:
    """Where the contents stand."""
    return contents.to_bytes(8, "little")


def live_octets(parts: Sequence[Part]) -> int:
    """Bytes of the records that a state needs."""
    return sum({part.offset: part.end - part.offset for part in parts}.values())
