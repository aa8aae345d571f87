"""Proofs of writers: "the device that you know by its D writes this feed", said to one reader and deniable.

Opening a grant of a feed proves it, too; but whoever joins later finds no slot in the grants of those who were there.
So device records carry a proof for each reader that has opened no grant of their writer (`docs/protocol.md`, "Device
records", extension kind 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from identity.codec import Reader, Writer
from identity.digest import derive
from identity.errors import DecodeError
from identity.labels import Label

PROOFS = 4  # the kind of the extension
PROOF = 12  # bytes of one
MAX_PROOFS = 300


def writer_proof(shared: bytes, space: bytes, writer: bytes, reader: bytes) -> bytes:
    """12 bytes that only the two devices can make.  shared: DH of their D; writer, reader: W of each in the space."""
    return derive(shared, Label.WRITER_PROOF, space + writer + reader, size=PROOF)


def encode_proofs(proofs: Iterable[bytes]) -> bytes:
    """The body of the extension.  Sorted, so that the order does not tell whose is whose."""
    return Writer().array(sorted(set(proofs))[:MAX_PROOFS], Writer.raw).finish()


def decode_proofs(body: bytes) -> frozenset[bytes]:
    """At most 300, rising.  Raises DecodeError."""
    reader = Reader(body)
    found = reader.array(lambda r: r.fixed(PROOF), MAX_PROOFS)
    reader.end()
    if any(one >= other for one, other in pairwise(found)):
        raise DecodeError("proofs of a writer rise")
    return frozenset(found)
