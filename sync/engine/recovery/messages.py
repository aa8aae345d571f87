"""What devices say of recovery: who holds a copy (a record in the DHT), and who asks to be let into a chat again.

`docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Iterable

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.kem import check_prekey, read_prekey
from identity.keys import check_point
from identity.statement import MAX_STATEMENT, PREFIX, Certificate, want_certificate
from sync.account.recovery_copy import MAX_WRITERS
from sync.engine.dialling import Whereabouts, decode_whereabouts, encode_whereabouts

KEEP, ASK, COPY, REJOIN, INTRODUCE, KEPT = range(5, 11)  # message types of the hello channel
MAX_CERTIFICATES = 2  # of one holder in a record: its own, and that of the device that let it in


def encode_holder(device: bytes, certificates: Iterable[Certificate], where: Whereabouts) -> bytes:
    """version | suite | device id | certificates, the device's own first | whereabouts."""
    out = Writer().raw(PREFIX).raw(device).array([c.encoded for c in certificates], Writer.buffer)
    return out.buffer(encode_whereabouts(where)).finish()


def decode_holder(data: bytes) -> tuple[bytes, list[Certificate], Whereabouts]:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a record of another version")
    device = reader.fixed(32)
    certificates = reader.array(lambda r: want_certificate(r.buffer(MAX_STATEMENT)), MAX_CERTIFICATES)
    where = decode_whereabouts(reader.buffer(len(data)))
    reader.end()
    if not certificates or certificates[0].device != device:
        raise DecodeError("a holder without its certificate")
    return device, certificates, where


def encode_rejoin(space: bytes, writer: bytes, prekey: bytes, consents: Iterable[tuple[bytes, bytes]]) -> bytes:
    """version | suite | space id | W | prekey | consents: W of the admitting feed, signature (64)."""
    out = Writer().raw(PREFIX).raw(space).raw(writer).buffer(prekey)
    return out.array(list(consents), lambda w, c: w.raw(c[0]).raw(c[1])).finish()


def decode_rejoin(data: bytes) -> tuple[bytes, bytes, bytes, dict[bytes, bytes]]:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a request of another version")
    space, writer, prekey = reader.fixed(32), check_point(reader.fixed(32)), check_prekey(read_prekey(reader))
    consents = dict(reader.array(lambda r: (r.fixed(32), r.fixed(64)), MAX_WRITERS))
    reader.end()
    return space, writer, prekey, consents
