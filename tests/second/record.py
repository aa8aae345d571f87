"""Device records: section 13 of docs/protocol.md; names that follow from Z: section 14."""

from __future__ import annotations

from dataclasses import dataclass

from tests.second.codec import (
    Extension,
    Reader,
    array,
    buffer,
    read_extensions,
    require,
    rising,
    u64,
    uint,
    write_extensions,
)
from tests.second.control import PREKEYS
from tests.second.digest import blake, derive
from tests.second.entry import pad, unpad
from tests.second.head import Reference, core_key, take_reference, write_reference
from tests.second.signature import seal, sign, unseal, verified

RECORD = 64 << 10


@dataclass(frozen=True, slots=True)
class Report:
    """What a record says inside."""

    at: int
    stored: tuple[Reference, ...]
    opened: tuple[Reference, ...]
    missing: tuple[tuple[bytes, int, int], ...]
    prekey: bytes
    transports: tuple[bytes, bytes]
    hints: tuple[str, ...]
    epochs: tuple[bytes, ...]
    extensions: tuple[Extension, ...]

    def encoded(self) -> bytes:
        """Its bytes before padding."""
        return (
            u64(self.at)
            + array(map(write_reference, self.stored))
            + array(map(write_reference, self.opened))
            + array(core + uint(start) + uint(count) for core, start, count in self.missing)
            + buffer(self.prekey)
            + b"".join(self.transports)
            + array(buffer(hint.encode()) for hint in self.hints)
            + array(self.epochs)
            + write_extensions(self.extensions)
        )


def read_report(data: bytes) -> Report:
    """Reads the inside of a record."""
    reader = Reader(data)
    at = reader.u64()
    stored = reader.array(640, lambda: take_reference(reader))
    opened = reader.array(640, lambda: take_reference(reader))
    for heads in (stored, opened):
        rising((head.core for head in heads), "heads ascend by core8")
    missing = reader.array(256, lambda: (reader.take(8), reader.uint(), reader.uint()))
    require(all(count > 0 for _, _, count in missing), "a missing stretch has at least one entry")
    prekey = reader.buffer(max(PREKEYS))
    require(len(prekey) in PREKEYS, "a prekey is P, or P and K")
    transports = reader.take(32), reader.take(32)
    hints = reader.array(8, lambda: reader.string(64))
    epochs = reader.array(32, lambda: reader.take(8))
    report = Report(at, stored, opened, missing, prekey, transports, hints, epochs, read_extensions(reader))
    reader.end()
    return report


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose signature was good."""

    writer: bytes
    counter: int
    tag: bytes
    opening: bytes
    ciphertext: bytes
    signature: bytes

    def header(self) -> bytes:
        """All before the length of the ciphertext."""
        return b"\0\1" + self.writer + uint(self.counter) + self.tag + self.opening

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.header() + buffer(self.ciphertext) + self.signature


def signed_part(record: Record) -> bytes:
    """What W signs: everything before it without the length, version and suite included."""
    return record.header() + record.ciphertext


def read_record(data: bytes) -> Record:
    """Reads a record and verifies its signature."""
    require(len(data) <= RECORD, "a record has at most 64 KiB")
    reader = Reader(data)
    reader.version()
    writer, counter, tag, opening = reader.take(32), reader.uint(), reader.take(8), reader.take(32)
    record = Record(writer, counter, tag, opening, reader.buffer(RECORD), reader.take(64))
    reader.end()
    require(verified(writer, b"kithkin record", signed_part(record), record.signature), "W signed the record")
    return record


def record_key(epoch: bytes, writer: bytes, counter: int) -> tuple[bytes, bytes]:
    """Key 32 and tag 8 of a record."""
    both = derive(epoch, b"kithkin rec key", core_key(writer) + u64(counter), 40)
    return both[:32], both[32:]


def open_record(record: Record, epoch: bytes, space: bytes) -> Report:
    """What a record says, under E."""
    key, tag = record_key(epoch, record.writer, record.counter)
    require(tag == record.tag, "the tag names the epoch")
    padded = unseal(key, record.opening[:24], record.ciphertext, record.header() + space)
    core = core_key(record.writer)
    expected = derive(key, b"kithkin opening", core + u64(record.counter) + padded)
    require(expected == record.opening, "the opening commits to key and text")
    return read_report(unpad(padded))


def seal_record(seed: bytes, writer: bytes, counter: int, epoch: bytes, space: bytes, report: Report) -> Record:
    """The record of a report, by the seed of W."""
    key, tag = record_key(epoch, writer, counter)
    padded = pad(report.encoded())
    opening = derive(key, b"kithkin opening", core_key(writer) + u64(counter) + padded)
    bare = Record(writer, counter, tag, opening, b"", b"")
    text = seal(key, opening[:24], padded, bare.header() + space)
    unsigned = Record(writer, counter, tag, opening, text, b"")
    signature = sign(seed, b"kithkin record", signed_part(unsigned))
    return Record(writer, counter, tag, opening, text, signature)


def writer_proof(shared: bytes, space: bytes, writer: bytes, reader: bytes) -> bytes:
    """Section 13, "Proved writers": the proof in a record."""
    return derive(shared, b"kithkin wr proof", space + writer + reader, 12)


def space_id(core: bytes) -> bytes:
    """The id of a space, from the core key of the creator's feed."""
    return blake(b"kithkin space", core)


def z_check(z: bytes) -> bytes:
    """What the epoch operation says of its Z."""
    return derive(z, b"kithkin z", b"")


def capability(z: bytes) -> bytes:
    """What proves that the other side is in the space."""
    return derive(z, b"kithkin cap", b"")


def channel_id(z: bytes, handshake: bytes) -> bytes:
    """The id of a channel on one connection."""
    return derive(capability(z), b"kithkin channel", handshake)


def topic(z: bytes, day: int) -> bytes:
    """The topic of a UTC day."""
    return derive(z, b"kithkin topic", day.to_bytes(4, "little"))
