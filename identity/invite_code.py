"""The text that one person gives another: `kithkin:invite/…` (`docs/protocol.md`, "Invite").

It is for one person.  Every device of the inviter listens and announces under I until it expires.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from identity.codec import Reader, Writer
from identity.device import read_suite
from identity.errors import DecodeError, KithkinError
from identity.hints import Address, read_hints, write_hints
from identity.inner import SENTENCES
from identity.keys import SUITE, VERSION, Random, SigningKey, check_point
from identity.payload import damaged, encode_payload, expect_payload

KIND = "invite"
LIFETIME = 7 * 86_400  # seconds
MAX_NAME = 64  # bytes
MAX_INVITE = 512


@dataclass(frozen=True, slots=True)
class InvitePayload:
    """What the text says.  `name` is a claim of whoever made the text: show it escaped, believe nothing.

    `key` is I, which answers the connection; `secret` is the psk; `expires` is in Unix seconds.
    """

    identity: bytes
    key: bytes
    secret: bytes = field(repr=False)
    expires: int
    hints: tuple[Address, ...] = ()
    name: str = ""

    @property
    def text(self) -> str:
        """`kithkin:invite/…`."""
        return encode_payload(KIND, encode_invite(self))


@dataclass(frozen=True, slots=True)
class InviteCode:
    """The payload and the secret of I.  Both are kept in the personal space: every device answers with these bytes."""

    payload: InvitePayload
    key: SigningKey


def new_invite(
    rng: Random,
    identity: bytes,
    now: float,
    *,
    lifetime: int = LIFETIME,
    hints: Iterable[Address] = (),
    name: str = "",
) -> InviteCode:
    """A fresh invite of `identity` with a key I and a secret of its own; `now` and `lifetime` are in seconds."""
    key = SigningKey.generate(rng)
    short = name.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore")
    return InviteCode(InvitePayload(identity, key.public, rng(32), int(now) + lifetime, tuple(hints), short), key)


def read_invite(text: str, now: float, identity: bytes) -> InvitePayload:
    """`identity` is our own.  Raises KithkinError `not_an_invite`, `payload_damaged`, `own_code`, `expired`."""
    try:
        payload = decode_invite(expect_payload(text, KIND))
    except DecodeError:
        raise damaged(KIND) from None
    if payload.identity == identity:
        raise KithkinError("own_code", SENTENCES["own_code"])
    if now > payload.expires:
        raise KithkinError("expired", SENTENCES["expired"])
    return payload


def encode_invite(payload: InvitePayload) -> bytes:
    """`version | suite | flags | R | I | secret | expires | hints | name`."""
    out = Writer().raw(bytes((VERSION, SUITE))).uint(0).raw(payload.identity).raw(payload.key).raw(payload.secret)
    return write_hints(out.uint(payload.expires), payload.hints).string(payload.name).finish()


def decode_invite(data: bytes) -> InvitePayload:
    """Raises DecodeError."""
    if len(data) > MAX_INVITE:
        raise DecodeError("an invite is shorter")
    reader = Reader(data)
    read_suite(reader)
    reader.uint(0)  # flags, none yet
    payload = InvitePayload(
        check_point(reader.fixed(32)),
        check_point(reader.fixed(32)),
        reader.fixed(32),
        reader.uint(),
        read_hints(reader),
        reader.string(MAX_NAME),
    )
    reader.end()
    return payload
