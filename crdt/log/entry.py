"""Entries: what one block of a feed is, sealed, and what stands inside.

Block = version | suite | seq | epoch tag (8) | opening (32) | [grant] | ciphertext.  Sealing is deterministic and the
opening commits to key and plaintext, which the cipher alone does not.  `docs/protocol.md`, "Entry".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b

from crdt.log import cipher
from crdt.log.head import MAX_HEADS, HeadRef, read_length
from crdt.log.merkle import MAX_LENGTH
from crdt.log.padding import SIZES, pad, unpad
from crdt.log.stamp import MAX_STAMP
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.extension import Extension, read_extensions, write_extensions
from identity.keys import SUITE, VERSION
from identity.labels import Label

MAX_BLOCK = 256 * 1024
MAX_GRANT = 80 * 1024  # 64 slots, each with an ML-KEM ciphertext
GRANT_TAG = bytes(8)  # the epoch tag of an entry that carries a grant
_START = bytes((VERSION, SUITE))
_KEY_PERSON = Label.MESSAGE_KEY.value
_OPENING_PERSON = Label.OPENING.value
_TAG_AND_OPENING = 40
_SHORTEST = 16 + SIZES[0]  # cipher tag and the least padded text


class Kind(IntEnum):
    """What an entry does.  Decoders refuse other values; who meets one keeps the entry for a later version."""

    UPDATE = 0
    CONTROL = 1
    DELETION = 2
    MERGE = 3


@dataclass(frozen=True, slots=True)
class Plaintext:
    """kind; stamp (ms << 16 | counter, below the year 2100); heads: at most 16, the own previous entry implied; body:
    as the kind says; extensions: what later versions say beside it, of whatever kind of entry."""

    kind: Kind
    stamp: int
    heads: tuple[HeadRef, ...]
    body: bytes
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What a block shows without keys.  grant: e | count | slots, or empty; at: where the ciphertext begins."""

    seq: int
    tag: bytes
    opening: bytes
    grant: bytes
    at: int


_KINDS = tuple(Kind)


def encode_plaintext(entry: Plaintext) -> bytes:
    """kind (u8) | stamp (u64) | heads: count, then core8 | length | root16 each | extensions | body (the rest)."""
    if len(entry.heads) > MAX_HEADS:
        raise ValueError("more heads than an entry may name")
    if entry.stamp > MAX_STAMP:
        raise ValueError("a stamp beyond the ceiling")
    out = Writer().fixed_uint(entry.kind, 1).fixed_uint(entry.stamp, 8)
    out.array(entry.heads, lambda w, head: w.raw(head.core8).uint(head.length).raw(head.root16))
    return write_extensions(out, entry.extensions).raw(entry.body).finish()


def decode_plaintext(data: bytes) -> Plaintext:
    """The inverse; two heads of one feed and a stamp beyond the ceiling are refused.  Raises DecodeError."""
    if len(data) < 11 or data[0] > Kind.MERGE or data[9] > MAX_HEADS:
        raise DecodeError("not the text of an entry")
    stamp = int.from_bytes(data[1:9], "little")
    if stamp > MAX_STAMP:
        raise DecodeError("a stamp of the year 2100 or later")
    if not data[9] and not data[10]:  # the common case: the only writer of a moment names nobody
        return Plaintext(_KINDS[data[0]], stamp, (), data[11:])
    reader = Reader(data)
    reader.at = 9
    heads = tuple(reader.array(_read_ref, MAX_HEADS))
    if len({head.core8 for head in heads}) != len(heads):
        raise DecodeError("two heads of one feed")
    extensions = read_extensions(reader)
    return Plaintext(_KINDS[data[0]], stamp, heads, data[reader.at :], extensions)


def _read_ref(data: Reader) -> HeadRef:
    return HeadRef(data.fixed(8), read_length(data), data.fixed(16))


def message_key(epoch_key: bytes, core: bytes, seq: int) -> tuple[bytes, bytes]:
    """(message key (32), epoch tag (8)) = BLAKE2b-320(key=E, core key | u64 seq).  One hash, no chain."""
    made = blake2b(core + seq.to_bytes(8, "little"), digest_size=40, key=epoch_key, person=_KEY_PERSON).digest()
    return made[:32], made[32:]


def opening_of(key: bytes, core: bytes, seq: int, padded: bytes) -> bytes:
    """BLAKE2b-256(key=message key, core key | u64 seq | padded plaintext)."""
    return blake2b(core + seq.to_bytes(8, "little") + padded, digest_size=32, key=key, person=_OPENING_PERSON).digest()


def seal_entry(
    key: bytes, tag: bytes, core: bytes, space: bytes, seq: int, plaintext: bytes, grant: bytes = b""
) -> bytes:
    """The block.  The same arguments always give the same bytes.

    key, core, space: 32 bytes; tag: 8, the zero tag exactly where a grant rides along.  Raises ValueError for what
    does not fit a block.
    """
    if len(tag) != 8 or len(core) != 32 or len(space) != 32 or not 0 <= seq < MAX_LENGTH:
        raise ValueError("an entry has an 8-byte tag, 32-byte core key and space id, and a seq")
    if bool(grant) != (tag == GRANT_TAG) or len(grant) > MAX_GRANT:
        raise ValueError("a grant rides under the zero tag and nothing else does")
    padded = pad(plaintext)
    opening = opening_of(key, core, seq, padded)
    at_front = _START + bytes((seq,)) if seq < 0xFD else Writer().raw(_START).uint(seq).finish()
    header = at_front + tag + opening
    if grant:
        header += Writer().buffer(grant).finish()
    # The opening's first 24 bytes are the nonce: even a cloned writer never uses one nonce for two texts.
    block = header + cipher.seal(key, opening[:24], padded, header + core + space)
    if len(block) > MAX_BLOCK:
        raise ValueError("longer than an entry may be")
    return block


def read_block(block: bytes, place: int | None = None) -> BlockHeader:
    """What stands before the ciphertext.  Raises DecodeError, also where the entry says another seq than `place`.

    place: where the block stands in its feed; only who has no proof of it leaves it out.
    """
    if len(block) > MAX_BLOCK:
        raise DecodeError("longer than an entry may be")
    if block[:2] != _START:
        raise DecodeError("an entry of another version or suite")
    reader = Reader(block)
    reader.at = 2
    seq = reader.uint(MAX_LENGTH - 1)
    if place is not None and seq != place:
        raise DecodeError("an entry that belongs to another place")
    fixed = reader.fixed(_TAG_AND_OPENING)
    tag = fixed[:8]
    grant = b""
    if tag == GRANT_TAG:
        grant = reader.buffer(MAX_GRANT)
        if not grant:
            raise DecodeError("the zero tag without a grant")
    if reader.left < _SHORTEST:
        raise DecodeError("an entry ends early")
    return BlockHeader(seq, tag, fixed[8:], grant, reader.at)


def open_entry(key: bytes, core: bytes, space: bytes, block: bytes, header: BlockHeader | None = None) -> bytes:
    """The plaintext.  Raises DecodeError where key, place, a byte of the block, opening or padding is wrong.

    header: what `read_block` gave for this block, to save reading it twice.
    """
    if header is None:
        header = read_block(block)
    at = header.at
    opening = header.opening
    padded = cipher.open_sealed(key, opening[:24], block[at:], block[:at] + core + space)
    if opening_of(key, core, header.seq, padded) != opening:
        raise DecodeError("the opening does not fit the text")
    return unpad(padded)
