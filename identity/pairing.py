"""Pairing on `kithkin/pair/1`: what the two sides say, and what they tell their shells (`docs/protocol.md`, "Pairing").

The new device (`joiner.py`) shows a QR and answers; the device that is in (`approver.py`) scans it and speaks first.

    approver                                   new device
    Noise 1 (psk of the QR)          ->
                                     <-        Noise 2: S, D, P, name
    asks its person; draws six digits
    Noise 3 (its D)                  ->
    COMMIT: SPAKE2 element           ->        its person types the digits
                                     <-        ANSWER: SPAKE2 element, MAC
    WRONG, and COMMIT again          ->        … three tries in all
    CONFIRM: MAC, proof of D, certificate body ->
                                     <-        COUNTER: proof of D, counter-signature
    signs and stores the certificate
    GRANT: statements, personal space, Z       ->
                                     <-        JOIN: its writer and consent
    DONE                             ->
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from identity.codec import Reader, Writer
from identity.device import read_suite
from identity.inner import Failed, Send, Stray
from identity.kem import check_prekey, read_prekey
from identity.keys import agree, check_point
from identity.statement import MAX_STATEMENT_SET, PREFIX, Certificate, Statement, decode_statements, encode_statements

PROTOCOL = "kithkin/pair/1"
DECLINED = b""  # instead of Noise 3, which would tell D: the person said no
MAX_NAME = 64  # bytes
MAX_BODY = 256
MAX_EXTRA = 8 * 1024
MAX_JOIN = 8 * 1024


class PairingMessage(IntEnum):
    """Types of the messages under the session's keys, as on the wire."""

    COMMIT = 0
    ANSWER = 1
    WRONG = 2
    CONFIRM = 3
    COUNTER = 4
    GRANT = 5
    JOIN = 6
    DONE = 7


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What the new device says of itself; prekey: P, or P and K.  `name` is a claim: show it escaped."""

    signing: bytes
    agreement: bytes
    prekey: bytes
    name: str


@dataclass(frozen=True, slots=True)
class PairingGrant:
    """What a paired device gets: every statement of the identity, and the way into the personal space.

    `writer` is W of the approver's personal feed, `z` the rendezvous secret of the personal space, `history` whether
    packs follow.  `extra` is for layers above.
    """

    statements: tuple[Statement, ...]
    space: bytes
    writer: bytes
    z: bytes = field(repr=False)
    history: bool
    extra: bytes = b""


# Effects of the new device, beside Send, Stray and Failed


@dataclass(frozen=True, slots=True)
class Claimed:
    """Somebody who holds the QR is here: stop listening under T0."""


@dataclass(frozen=True, slots=True)
class NeedCode:
    """Ask for the six digits that the other device shows; `Joiner.submit_code` takes them."""

    left: int


@dataclass(frozen=True, slots=True)
class WrongCode:
    """That was not it.  `left` tries remain; NeedCode follows if there is one."""

    left: int


@dataclass(frozen=True, slots=True)
class Granted:
    """We are a device of `identity`: store this, make our writer, and answer with `Joiner.join`."""

    identity: bytes
    approver: bytes
    certificate: Certificate
    grant: PairingGrant


@dataclass(frozen=True, slots=True)
class PairingDone:
    """Both sides have everything."""


# Effects of the approver, beside Send, Failed and PairingDone


@dataclass(frozen=True, slots=True)
class AskApproval:
    """Say what is granted and ask; `Approver.approve` or `Approver.decline` answers."""

    device: bytes
    name: str


@dataclass(frozen=True, slots=True)
class ShowCode:
    """Show these digits here and nowhere else."""

    code: str


@dataclass(frozen=True, slots=True)
class Certified:
    """Store this certificate durably, tell the other devices, then call `Approver.grant`."""

    certificate: Certificate
    device: NewDevice
    history: bool


@dataclass(frozen=True, slots=True)
class DeviceJoined:
    """The new device's writer and consent, as `Joiner.join` gave them: admit it, then call `Approver.finish`."""

    device: bytes
    answer: bytes


JoinerEffect = Send | Stray | Failed | Claimed | NeedCode | WrongCode | Granted | PairingDone
ApproverEffect = Send | Failed | AskApproval | ShowCode | Certified | DeviceJoined | PairingDone


def encode_new_device(new: NewDevice) -> bytes:
    """`version | suite | S | D | prekey | name`: the payload of Noise message 2."""
    return Writer().raw(PREFIX).raw(new.signing).raw(new.agreement).buffer(new.prekey).string(new.name).finish()


def decode_new_device(data: bytes) -> NewDevice:
    """Raises DecodeError."""
    reader = Reader(data)
    read_suite(reader)
    new = NewDevice(check_point(reader.fixed(32)), reader.fixed(32), read_prekey(reader), reader.string(MAX_NAME))
    reader.end()
    agree(b"\x55" * 32, new.agreement)  # refuses what agrees on nothing
    check_prekey(new.prekey)
    return new


def encode_pairing_grant(grant: PairingGrant) -> bytes:
    """`version | suite | history | space id | W | Z | statements | extra`."""
    if len(grant.extra) > MAX_EXTRA:
        raise ValueError("too much beside the grant")
    out = Writer().raw(PREFIX).uint(int(grant.history)).raw(grant.space).raw(grant.writer).raw(grant.z)
    return out.buffer(encode_statements(grant.statements)).buffer(grant.extra).finish()


def read_pairing_grant(reader: Reader) -> PairingGrant:
    """Raises DecodeError."""
    read_suite(reader)
    history = reader.flag()
    space, writer, z = reader.fixed(32), check_point(reader.fixed(32)), reader.fixed(32)
    statements = decode_statements(reader.buffer(MAX_STATEMENT_SET))
    grant = PairingGrant(statements, space, writer, z, history, reader.buffer(MAX_EXTRA))
    reader.end()
    return grant


def short_name(name: str) -> str:
    """At most 64 bytes of UTF-8, cut between characters."""
    return name.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore")
