"""Names inside documents, all of them hashes: writers, Yjs clients, messages; and the key that orders a timeline.

`docs/protocol.md`, "Documents and the guard" and "Timeline".  Every entry is a Yjs client of its own, so a client id
is worked out once an entry on the way in and out: the hash over the core key is kept and copied.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

from identity.digest import base32, digest
from identity.errors import DecodeError
from identity.labels import Label

WRITER_BYTES = 10
NONCE_BYTES = 16
SORT_KEY_BYTES = 26
LOW_53 = 2**53 - 1

_sort_pack = Struct(">Q10sQ")


@lru_cache(maxsize=4096)
def writer_bytes(core: bytes) -> bytes:
    """The first 10 bytes of BLAKE2b(core key): a writer in sort keys."""
    return digest(Label.WRITER, core)[:WRITER_BYTES]


@lru_cache(maxsize=4096)
def writer_id(core: bytes) -> str:
    """`writer_bytes` as 16 characters of base32: a writer in document keys and receipts."""
    return base32(writer_bytes(core))


@lru_cache(maxsize=4096)
def client_hash(core: bytes) -> blake2b:
    """BLAKE2b(person CLIENT) that has already read the core key; copy it, never update it."""
    return blake2b(core, digest_size=32, person=Label.CLIENT.value)


def client_id(core: bytes, seq: int) -> int:
    """The Yjs client of one entry: the low 53 bits of BLAKE2b(core key | seq as u64)."""
    state = client_hash(core).copy()
    state.update(seq.to_bytes(8, "little"))
    return int.from_bytes(state.digest()[:8], "little") & LOW_53


def document_key(core: bytes, seq: int, index: int) -> str:
    """`writer/seq/n`: the only key that struct n of this entry may set."""
    return f"{writer_id(core)}/{seq}/{index}"


def sort_key(stamp: int, core: bytes, seq: int) -> bytes:
    """26 bytes that sort as (stamp, writer, seq): u64 big-endian | 10 | u64 big-endian."""
    return _sort_pack.pack(stamp, writer_bytes(core), seq)


def split_sort_key(key: bytes) -> tuple[int, bytes, int]:
    """(stamp, writer bytes, seq) of a sort key.  Raises DecodeError."""
    if len(key) != SORT_KEY_BYTES:
        raise DecodeError("a sort key has 26 bytes")
    stamp, writer, seq = _sort_pack.unpack(key)
    return stamp, writer, seq


def message_id(author: bytes, nonce: bytes) -> bytes:
    """32 bytes that only this author can claim.

    author: the core key of the feed that the author's `add` (or the `create`) names, whichever of the author's devices
    writes; in a direct chat the root keys of the author and of the other (64 bytes), so that copies in two direct
    spaces of one pair of people are one message.  A message published again keeps its id.
    """
    return blake2b(author + nonce, digest_size=32, person=Label.MESSAGE_ID.value).digest()


def import_nonce(space: bytes, at_ms: int, source: str, text: str, ordinal: int) -> bytes:
    """The 16-byte nonce of an imported line: the same line imported again is the same message.

    ordinal: how many equal lines (same time, source and text) stood before it in the file.
    """
    name, body = source.encode(), text.encode()
    head = at_ms.to_bytes(8, "little") + ordinal.to_bytes(8, "little") + len(name).to_bytes(4, "little")
    return digest(Label.IMPORT_ID, space, head, name, body)[:NONCE_BYTES]
