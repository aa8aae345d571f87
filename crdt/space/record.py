"""Device records: what a device last said of itself in a space (`docs/protocol.md`).

Not in the feed; the latest counter of a writer wins.  Peers and relays see writer, counter and signature and store and
forward only the newest; what stands inside is sealed as an entry is, under the newest epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from crdt.log import cipher
from crdt.log.entry import opening_of
from crdt.log.head import HeadRef, read_length, valid_writer
from crdt.log.manifest import core_key
from crdt.log.merkle import MAX_LENGTH
from crdt.log.padding import pad, padded_size, unpad
from crdt.space.erasures import ERASURES, Erased, decode_erasures
from crdt.space.proof import PROOFS, decode_proofs
from identity.codec import Reader, Writer
from identity.device import read_suite
from identity.digest import derive
from identity.errors import DecodeError
from identity.extension import Extension, extension_of, read_extensions, write_extensions
from identity.kem import read_prekey
from identity.keys import SUITE, VERSION, SigningKey, verify
from identity.labels import Label

MAX_RECORD = 64 * 1024  # encoded; what replication carries
MAX_FRONTIER = 640  # feeds: two for each of the 300 places, and both frontiers fit a record whatever their lengths are
MAX_RANGES = 256
MAX_HINTS = 8
MAX_HINT = 64  # bytes of one address
MAX_OPENED = 32  # epochs
MAX_INSIDE = MAX_RECORD - (2 + 32 + 9 + 8 + 32 + 3 + 16 + 64)  # padded: less all that stands around it


@dataclass(frozen=True, slots=True)
class Range:
    """Entries `start` to `end` (not included) of a feed; core8: first 8 bytes of its core key."""

    core8: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Report:
    """The inside of a record.

    at: Unix ms of the author's clock; stored, opened: frontiers, ascending by core8, at most 640 heads each; missing:
    ranges it holds and cannot open, at most 256; prekey: P, or P and K; transports: T of this and of next week (32
    each); hints: addresses as `host:port`, at most 8; epochs: first 8 bytes of the ids of epochs it has, the newest 32;
    extensions: what later versions say, kept as received.
    """

    at: int
    stored: tuple[HeadRef, ...]
    opened: tuple[HeadRef, ...]
    missing: tuple[Range, ...]
    prekey: bytes
    transports: tuple[bytes, bytes]
    hints: tuple[str, ...]
    epochs: tuple[bytes, ...] = ()
    extensions: tuple[Extension, ...] = ()

    @property
    def erasures(self) -> tuple[Erased, ...]:
        """Deletion entries that the device has carried out; none where it says nothing, or nothing readable."""
        body = extension_of(self.extensions, ERASURES)
        try:
            return decode_erasures(body) if body is not None else ()
        except DecodeError:
            return ()

    @property
    def proofs(self) -> frozenset[bytes]:
        """Proofs that the writer of the record is the device that it says, each for one reader."""
        body = extension_of(self.extensions, PROOFS)
        try:
            return decode_proofs(body) if body is not None else frozenset()
        except DecodeError:
            return frozenset()


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """writer: W; counter: rises with each; tag: first 8 bytes of the key hash, as in entries; signature: by W."""

    writer: bytes
    counter: int
    tag: bytes
    opening: bytes
    ciphertext: bytes
    signature: bytes

    @property
    def core(self) -> bytes:
        """Core key of the feed of its writer."""
        return core_key(self.writer)

    def verify(self) -> bool:
        """Whether W signed this.  W belongs to one space, so a relay need not know which to tell."""
        body = _header(self) + self.ciphertext
        return valid_writer(self.writer) and verify(self.writer, Label.RECORD, body, self.signature)

    def newer(self, other: DeviceRecord | None) -> bool:
        """Whether it replaces `other`, a verified record of the same writer."""
        return other is None or self.counter > other.counter


def record_key(secret: bytes, core: bytes, counter: int) -> tuple[bytes, bytes]:
    """(key (32), tag (8)) out of E: a label of its own keeps these apart from entries."""
    made = derive(secret, Label.RECORD_KEY, core, counter.to_bytes(8, "little"), size=40)
    return made[:32], made[32:]


def seal_record(key: SigningKey, space: bytes, secret: bytes, counter: int, report: Report) -> DeviceRecord:
    """The signed record.  secret: E of the newest epoch.  A counter is never used for two reports (store it first).
    Raises ValueError for a report that no reader would accept, or whose record would be over 64 KiB."""
    core = core_key(key.public)
    own, tag = record_key(secret, core, counter)
    padded = pad(encode_report(report))
    opening = opening_of(own, core, counter, padded)
    header = _start(key.public, counter) + tag + opening
    ciphertext = cipher.seal(own, opening[:24], padded, header + space)
    signature = key.sign(Label.RECORD, header + ciphertext)
    return DeviceRecord(key.public, counter, tag, opening, ciphertext, signature)


def open_record(record: DeviceRecord, space: bytes, secret: bytes) -> Report | None:
    """The report, or None where E is not the one (the tag tells).  Raises DecodeError for a malformed inside."""
    own, tag = record_key(secret, record.core, record.counter)
    if tag != record.tag:
        return None
    padded = cipher.open_sealed(own, record.opening[:24], record.ciphertext, _header(record) + space)
    if opening_of(own, record.core, record.counter, padded) != record.opening:
        raise DecodeError("the opening does not fit the record")
    return decode_report(unpad(padded))


def encode_record(record: DeviceRecord) -> bytes:
    """version | suite | W (32) | counter | tag (8) | opening (32) | ciphertext (length first) | signature (64)."""
    return Writer().raw(_header(record)).buffer(record.ciphertext).raw(record.signature).finish()


def decode_record(data: bytes) -> DeviceRecord:
    """Not verified yet.  Raises DecodeError."""
    if len(data) > MAX_RECORD:
        raise DecodeError("a device record is too long")
    reader = Reader(data)
    read_suite(reader)
    writer, counter = reader.fixed(32), reader.uint()
    record = DeviceRecord(
        writer, counter, reader.fixed(8), reader.fixed(32), reader.buffer(MAX_RECORD), reader.fixed(64)
    )
    reader.end()
    if len(record.ciphertext) < 16:
        raise DecodeError("a device record ends early")
    return record


def encode_report(report: Report) -> bytes:
    """Raises ValueError for what no reader would accept."""
    out = Writer().fixed_uint(report.at, 8)
    for frontier in (report.stored, report.opened):
        out.array(frontier, lambda w, h: w.raw(h.core8).uint(h.length).raw(h.root16))
    out.array(report.missing, lambda w, r: w.raw(r.core8).uint(r.start).uint(r.end - r.start))
    out.buffer(report.prekey).raw(report.transports[0]).raw(report.transports[1])
    out.array(report.hints, Writer.string).array(report.epochs, Writer.raw)
    write_extensions(out, report.extensions)
    made = out.finish()
    try:
        decode_report(made)
    except DecodeError as refused:
        raise ValueError(str(refused)) from None
    return made


def decode_report(data: bytes) -> Report:
    """Raises DecodeError."""
    if padded_size(len(data)) > MAX_INSIDE:
        raise DecodeError("a device report is too long")
    reader = Reader(data)
    at = reader.fixed_uint(8)
    stored, opened = _read_frontier(reader), _read_frontier(reader)
    missing = tuple(reader.array(_read_range, MAX_RANGES))
    prekey, this, following = read_prekey(reader), reader.fixed(32), reader.fixed(32)
    hints = tuple(reader.array(lambda r: r.string(MAX_HINT), MAX_HINTS))
    epochs = tuple(reader.array(lambda r: r.fixed(8), MAX_OPENED))
    extensions = read_extensions(reader)
    reader.end()
    return Report(at, stored, opened, missing, prekey, (this, following), hints, epochs, extensions)


def _start(writer: bytes, counter: int) -> bytes:
    return Writer().raw(bytes((VERSION, SUITE))).raw(writer).uint(counter).finish()


def _header(record: DeviceRecord) -> bytes:
    return _start(record.writer, record.counter) + record.tag + record.opening


def _read_frontier(data: Reader) -> tuple[HeadRef, ...]:
    heads = tuple(data.array(lambda r: HeadRef(r.fixed(8), read_length(r), r.fixed(16)), MAX_FRONTIER))
    if any(a.core8 >= b.core8 for a, b in pairwise(heads)):
        raise DecodeError("a frontier ascends")
    return heads


def _read_range(data: Reader) -> Range:
    core8, start, count = data.fixed(8), data.uint(MAX_LENGTH - 1), data.uint(MAX_LENGTH)
    if not count or start + count > MAX_LENGTH:
        raise DecodeError("a range holds something")
    return Range(core8, start, start + count)
