"""The text that a new device shows: `kithkin:pair/…` (`docs/protocol.md`, "Pairing").

It is good for one pairing and 120 seconds.  Whoever sees it can reach the new device and can keep the right person from
pairing, and gets nothing without the six digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from identity.codec import Reader, Writer
from identity.device import read_suite
from identity.errors import DecodeError, KithkinError
from identity.hints import Address, read_hints, write_hints
from identity.keys import SUITE, VERSION, Random, SigningKey, check_point
from identity.payload import damaged, encode_payload, expect_payload

KIND = "pair"
LIFETIME = 120  # seconds
MAX_PAIR_CODE = 220  # bytes, so that a phone's camera reads the QR at level M


@dataclass(frozen=True, slots=True)
class PairPayload:
    """What the text says: T0 (Ed25519, used once, no other key of the device), a 32-byte psk, when it ends (Unix
    seconds by the clock of the new device), and where it listens."""

    transport: bytes
    psk: bytes = field(repr=False)
    expires: int
    hints: tuple[Address, ...] = ()

    @property
    def text(self) -> str:
        """`kithkin:pair/…`."""
        return encode_payload(KIND, encode_pair(self))


@dataclass(frozen=True, slots=True)
class PairCode:
    """The payload and the secret of T0."""

    payload: PairPayload
    key: SigningKey


def new_pair_code(rng: Random, now: float, hints: Iterable[Address] = ()) -> PairCode:
    """A fresh code with a T0 and a psk of its own, good for 120 s; `now` is in Unix seconds."""
    key = SigningKey.generate(rng)
    return PairCode(PairPayload(key.public, rng(32), int(now) + LIFETIME, tuple(hints)), key)


def read_pair_code(text: str, now: float) -> PairPayload:
    """Raises KithkinError `not_a_pair_code`, `payload_damaged` or `expired`."""
    try:
        payload = decode_pair(expect_payload(text, KIND))
    except DecodeError:
        raise damaged(KIND) from None
    if now > payload.expires:
        raise KithkinError(
            "expired", "That pairing code has expired (or one of the two clocks is wrong); show a new one."
        )
    return payload


def encode_pair(payload: PairPayload) -> bytes:
    """`version | suite | flags | T0 | psk | expires | hints`."""
    out = Writer().raw(bytes((VERSION, SUITE))).uint(0).raw(payload.transport).raw(payload.psk).uint(payload.expires)
    return write_hints(out, payload.hints).finish()


def decode_pair(data: bytes) -> PairPayload:
    """Raises DecodeError."""
    if len(data) > MAX_PAIR_CODE:
        raise DecodeError("a pairing code is shorter")
    reader = Reader(data)
    read_suite(reader)
    reader.uint(0)  # flags, none yet: one that we do not know may change what the person agrees to
    payload = PairPayload(check_point(reader.fixed(32)), reader.fixed(32), reader.uint(), read_hints(reader))
    reader.end()
    return payload
