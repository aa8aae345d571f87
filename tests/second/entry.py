"""Entries: section 8 of docs/protocol.md. Header, keys, opening, padding, plaintext; section 9: items become blocks."""

from __future__ import annotations

from dataclasses import dataclass

from tests.second.codec import Extension, Reader, array, buffer, read_extensions, require, u64, uint, write_extensions
from tests.second.digest import derive
from tests.second.head import BLOCKS, Reference, take_reference, write_reference
from tests.second.signature import seal, unseal

BLOCK = 256 << 10
GRANT = 80 << 10
ZERO_TAG = bytes(8)
CEILING = 4_102_444_800_000
KINDS = UPDATE, CONTROL, DELETION, MERGE = range(4)
STEPS = (256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
HEADS = 16


def padded_size(size: int) -> int:
    """The size that `size` bytes, the length before them included, are padded to."""
    for step in STEPS:
        if size <= step:
            return step
    exponent = size.bit_length() - 1
    kept = exponent.bit_length()  # S = floor(log2 E) + 1
    unit = 1 << (exponent - kept)
    return -(-size // unit) * unit


def pad(text: bytes) -> bytes:
    """u32 length ‖ text ‖ zeros."""
    size = padded_size(4 + len(text))
    return (len(text).to_bytes(4, "little") + text).ljust(size, b"\0")


def unpad(padded: bytes) -> bytes:
    """The text; any padding but the one of the page is refused."""
    reader = Reader(padded)
    text = reader.take(int.from_bytes(reader.take(4), "little"))
    require(pad(text) == padded, "one padding for each text")
    return text


def message_key(epoch: bytes, core: bytes, seq: int) -> tuple[bytes, bytes]:
    """Message key (32) and epoch tag (8) of an entry."""
    both = derive(epoch, b"kithkin message", core + u64(seq), 40)
    return both[:32], both[32:]


def opening_of(key: bytes, core: bytes, seq: int, padded: bytes) -> bytes:
    """The commitment to key and text; its first 24 bytes are the nonce."""
    return derive(key, b"kithkin opening", core + u64(seq) + padded)


@dataclass(frozen=True, slots=True)
class Entry:
    """One block, taken apart."""

    seq: int
    tag: bytes
    opening: bytes
    grant: bytes
    ciphertext: bytes

    def header(self) -> bytes:
        """Everything before the ciphertext."""
        grant = buffer(self.grant) if self.tag == ZERO_TAG else b""
        return b"\0\1" + uint(self.seq) + self.tag + self.opening + grant

    def encoded(self) -> bytes:
        """The block."""
        return self.header() + self.ciphertext


def read_entry(block: bytes, seq: int | None = None) -> Entry:
    """Takes a block apart; a reader that knows its place refuses another."""
    require(len(block) <= BLOCK, "a block has at most 256 KiB")
    reader = Reader(block)
    reader.version()
    place, tag, opening = reader.uint(BLOCKS - 1), reader.take(8), reader.take(32)
    grant = reader.buffer(GRANT) if tag == ZERO_TAG else b""
    require(tag != ZERO_TAG or grant != b"", "a grant is never empty")
    entry = Entry(place, tag, opening, grant, reader.rest())
    require(len(entry.ciphertext) >= 272, "a ciphertext has at least 272 bytes")
    require(seq is None or seq == place, "seq is the place of the block")
    return entry


def open_entry(entry: Entry, key: bytes, core: bytes, space: bytes) -> bytes:
    """The plaintext under a message key: cipher, opening and padding are checked."""
    padded = unseal(key, entry.opening[:24], entry.ciphertext, entry.header() + core + space)
    require(opening_of(key, core, entry.seq, padded) == entry.opening, "the opening commits to key and text")
    return unpad(padded)


def seal_entry(key: bytes, tag: bytes, core: bytes, space: bytes, seq: int, text: bytes, grant: bytes) -> bytes:
    """The block of a plaintext: sealing is deterministic."""
    padded = pad(text)
    entry = Entry(seq, ZERO_TAG if grant else tag, opening_of(key, core, seq, padded), grant, b"")
    head = entry.header()
    return head + seal(key, entry.opening[:24], padded, head + core + space)


@dataclass(frozen=True, slots=True)
class Plaintext:
    """What an entry says."""

    kind: int
    stamp: int
    heads: tuple[Reference, ...]
    extensions: tuple[Extension, ...]
    body: bytes

    def encoded(self) -> bytes:
        """Its bytes before padding."""
        heads = array(map(write_reference, self.heads))
        return bytes([self.kind]) + u64(self.stamp) + heads + write_extensions(self.extensions) + self.body


def read_plaintext(data: bytes) -> Plaintext:
    """Reads what an entry says; a stamp beyond the ceiling is refused."""
    reader = Reader(data)
    kind, stamp = reader.byte(), reader.u64()
    require(kind in KINDS, "a known kind")
    require(stamp >> 16 < CEILING, "stamps lie below the year 2100")
    heads = reader.array(HEADS, lambda: take_reference(reader))
    require(len({head.core for head in heads}) == len(heads), "no two heads of one feed")
    return Plaintext(kind, stamp, heads, read_extensions(reader), reader.rest())
