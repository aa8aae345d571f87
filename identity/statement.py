"""Device statements: certificates and revocations, each standing for itself (`docs/protocol.md`, "Statements").

A statement names its signer by both public keys, so its signatures can be checked without any other statement; whether
the signer had the right is decided by the fold in `device_set.py`.  The id covers the signed body and no signature:
nobody can make a second statement of one body, and a list of ids says what it means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from identity.codec import Reader, Writer
from identity.device import device_id, read_suite
from identity.digest import digest
from identity.errors import DecodeError
from identity.keys import SUITE, VERSION, SigningKey, agree, check_point, verify
from identity.labels import Label

CERTIFICATE, REVOCATION = 0, 1
BY_ROOT, BY_DEVICE = 0, 1
MAX_STAY = 64
MAX_STATEMENT = 2_560
MAX_STATEMENTS = 128
MAX_STATEMENT_SET = 48 * 1024  # bytes, so that a set fits one Noise message with room to spare
PREFIX = bytes((VERSION, SUITE))


@dataclass(frozen=True, slots=True)
class Certificate:
    """`device` (with its keys) belongs to `identity`.  `issuer` is a device id, or None for the root key.

    `created` is in Unix seconds.  `stay` is the root key's list of certificate ids that outlive this generation, empty
    in a device's certificate.  `encoded` is what was received or made, signatures included.
    """

    id: bytes
    identity: bytes
    device: bytes
    signing: bytes
    agreement: bytes
    created: int
    generation: int
    issuer: bytes | None
    stay: tuple[bytes, ...] = ()
    encoded: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Revocation:
    """`device` is out.  `stay` lists the certificates it issued that stay (the root key's: all that stay)."""

    id: bytes
    identity: bytes
    device: bytes
    created: int
    generation: int
    issuer: bytes | None
    stay: tuple[bytes, ...] = ()
    encoded: bytes = field(default=b"", repr=False)


Statement = Certificate | Revocation
Signer = tuple[bytes, bytes] | None  # S and D of a device; None is the root key


def certificate_body(
    identity: bytes,
    signing: bytes,
    agreement: bytes,
    *,
    created: int,
    generation: int,
    signer: Signer,
    stay: Iterable[bytes] = (),
) -> bytes:
    """The bytes that the new device counter-signs and the issuer signs."""
    out = Writer().uint(CERTIFICATE).raw(identity).raw(signing).raw(agreement).uint(created).uint(generation)
    write_signer(out, signer)
    if signer is None:
        write_stay(out, stay)
    elif tuple(stay):
        raise ValueError("a device's certificate has no list of what stays")
    return out.finish()


def counter_sign(body: bytes, device: SigningKey) -> bytes:
    """64 bytes by which the new device's S accepts the certificate."""
    return device.sign(Label.COUNTERSIGN, body)


def verify_counter(body: bytes, signing: bytes, signature: bytes) -> bool:
    """Whether the new device's S counter-signed this body."""
    return verify(signing, Label.COUNTERSIGN, body, signature)


def issue(body: bytes, counter_signature: bytes, issuer: SigningKey) -> Certificate:
    """The finished certificate.  Raises DecodeError if the body or the counter-signature is not good."""
    return want_certificate(PREFIX + body + counter_signature + issuer.sign(Label.CERTIFICATE, body))


def root_certificate(
    root: SigningKey,
    signing: SigningKey,
    agreement: bytes,
    *,
    created: int,
    generation: int,
    stay: Iterable[bytes] = (),
) -> Certificate:
    """What the phrase does for a device that holds it: the first certificate, or the first of a new generation."""
    body = certificate_body(
        root.public, signing.public, agreement, created=created, generation=generation, signer=None, stay=stay
    )
    return issue(body, counter_sign(body, signing), root)


def revoke(
    identity: bytes,
    device: bytes,
    *,
    created: int,
    generation: int,
    signer: Signer,
    key: SigningKey,
    stay: Iterable[bytes] = (),
) -> Revocation:
    """A signed revocation; `key` is S of `signer`, or the root key where `signer` is None."""
    out = Writer().uint(REVOCATION).raw(identity).raw(device).uint(created).uint(generation)
    write_signer(out, signer)
    write_stay(out, stay)
    body = out.finish()
    statement = decode_statement(PREFIX + body + key.sign(Label.REVOCATION, body))
    if not isinstance(statement, Revocation):
        raise DecodeError("not a revocation")
    return statement


def statement_id(body: bytes) -> bytes:
    """32 bytes over version, suite and signed body."""
    return digest(Label.STATEMENT, PREFIX, body)


@lru_cache(maxsize=1024)  # the same few statements arrive in every space; a failed one costs its sender the same again
def decode_statement(data: bytes) -> Statement:
    """A statement whose signatures are good.  Raises DecodeError."""
    if len(data) > MAX_STATEMENT:
        raise DecodeError("statement is too long")
    reader = Reader(data)
    read_suite(reader)
    kind = reader.fixed_uint(1)
    if kind == CERTIFICATE:
        return read_certificate(data, reader)
    if kind == REVOCATION:
        return read_revocation(data, reader)
    raise DecodeError("unknown kind of statement")


def identity_of(data: bytes) -> bytes:
    """Whose statement these bytes claim to be, unverified; shorter where they are none."""
    return data[3:35]


def want_certificate(data: bytes) -> Certificate:
    """As `decode_statement`, and a certificate.  Raises DecodeError."""
    statement = decode_statement(data)
    if not isinstance(statement, Certificate):
        raise DecodeError("not a certificate")
    return statement


def read_certificate(data: bytes, reader: Reader) -> Certificate:
    """The rest of a certificate, signatures checked.  Raises DecodeError."""
    identity, signing, agreement = reader.fixed(32), check_point(reader.fixed(32)), reader.fixed(32)
    agree(b"\x55" * 32, agreement)  # refuses the points that agree on nothing, once and for all
    created, generation = reader.uint(), reader.uint()
    key, issuer = read_signer(reader, identity)
    stay = read_stay(reader) if issuer is None else ()
    body = data[2 : reader.at]
    counter, signature = reader.fixed(64), reader.fixed(64)
    reader.end()
    if not verify_counter(body, signing, counter) or not verify(key, Label.CERTIFICATE, body, signature):
        raise DecodeError("certificate is not signed as it says")
    device = device_id(signing, agreement)
    return Certificate(
        statement_id(body), identity, device, signing, agreement, created, generation, issuer, stay, data
    )


def read_certificate_body(body: bytes) -> tuple[bytes, bytes, bytes, int, Signer]:
    """(identity, S, D, generation, signer) of a body that nobody has signed yet.  Raises DecodeError."""
    reader = Reader(body)
    if reader.fixed_uint(1) != CERTIFICATE:
        raise DecodeError("not a certificate")
    identity, signing, agreement = reader.fixed(32), reader.fixed(32), reader.fixed(32)
    reader.uint()
    generation = reader.uint()
    if reader.fixed_uint(1) != BY_DEVICE:
        raise DecodeError("that certificate is not of a device")
    signer = reader.fixed(32), reader.fixed(32)
    reader.end()
    return identity, signing, agreement, generation, signer


def read_revocation(data: bytes, reader: Reader) -> Revocation:
    """The rest of a revocation, signature checked.  Raises DecodeError."""
    identity, device = reader.fixed(32), reader.fixed(32)
    created, generation = reader.uint(), reader.uint()
    key, issuer = read_signer(reader, identity)
    stay = read_stay(reader)
    body = data[2 : reader.at]
    signature = reader.fixed(64)
    reader.end()
    if not verify(key, Label.REVOCATION, body, signature):
        raise DecodeError("revocation is not signed as it says")
    return Revocation(statement_id(body), identity, device, created, generation, issuer, stay, data)


def write_signer(out: Writer, signer: Signer) -> None:
    """Who signs: the root key, or a device by both its public keys."""
    if signer is None:
        out.uint(BY_ROOT)
    else:
        out.uint(BY_DEVICE).raw(signer[0]).raw(signer[1])


def read_signer(reader: Reader, identity: bytes) -> tuple[bytes, bytes | None]:
    """(key that signs, device id or None for the root key)."""
    by = reader.fixed_uint(1)
    if by == BY_ROOT:
        return check_point(identity), None
    if by != BY_DEVICE:
        raise DecodeError("unknown kind of signer")
    check_point(identity)
    signing, agreement = check_point(reader.fixed(32)), reader.fixed(32)
    return signing, device_id(signing, agreement)


def write_stay(out: Writer, stay: Iterable[bytes]) -> None:
    """Certificate ids, ascending, each once.  Raises ValueError for too many."""
    listed = sorted(set(stay))
    if len(listed) > MAX_STAY:
        raise ValueError("too many certificates listed")
    out.array(listed, Writer.raw)


def read_stay(reader: Reader) -> tuple[bytes, ...]:
    """Certificate ids, ascending.  Raises DecodeError."""
    listed = tuple(reader.array(lambda r: r.fixed(32), MAX_STAY))
    if any(a >= b for a, b in pairwise(listed)):
        raise DecodeError("a list of ids ascends")
    return listed


def encode_statements(statements: Iterable[Statement]) -> bytes:
    """`version | suite | count | statements`, ascending by id, each one once; at most 128 and 48 KiB (ValueError).

    Whoever may hold more sends `device_set.relevant(…)`.
    """
    unique = sorted({s.id: s for s in statements}.items())
    out = Writer().raw(PREFIX).array([s for _, s in unique], lambda w, s: w.buffer(s.encoded))
    if len(unique) > MAX_STATEMENTS or len(out) > MAX_STATEMENT_SET:
        raise ValueError("too many statements for one message")
    return out.finish()


def decode_statements(data: bytes) -> tuple[Statement, ...]:
    """Statements whose signatures are good, ascending by id.  One bad statement spoils the set.  Raises DecodeError."""
    if len(data) > MAX_STATEMENT_SET:
        raise DecodeError("too many statements")
    reader = Reader(data)
    read_suite(reader)
    statements = tuple(reader.array(lambda r: decode_statement(r.buffer(MAX_STATEMENT)), MAX_STATEMENTS))
    reader.end()
    if any(a.id >= b.id for a, b in pairwise(statements)):
        raise DecodeError("statements ascend by id")
    return statements
