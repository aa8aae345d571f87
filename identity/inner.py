"""The inner session of pairing and invite: a Noise handshake inside a connection, then typed messages under its keys.

Effects that both have in common stand here.  A message after the handshake is `type (1) | body`, encrypted, in order:
repeated, left out, reordered, reflected or shortened ones do not open, and end the session.
"""

from __future__ import annotations

from dataclasses import dataclass

from identity.codec import Reader, Writer
from identity.noise import NoiseSession

REFUSE = 255  # type of the last message of either side that ends a session early; its body is a code
MAX_CODE = 32
SENTENCES = {
    "expired": "That code has expired (or one of the two clocks is wrong); ask for a new one.",
    "already_used": "That invite was used by somebody else; ask for a new one.",
    "own_code": "That is an invite of your own.",
    "wrong_code": "Three wrong codes; start again with a new pairing code.",
    "too_many_devices": "There are six devices already; revoke one first.",
    "not_allowed": "The other side refused.",
    "timeout": "The other side went away before it was done.",
}

SESSION = 300  # seconds from the first good message of a pairing or an invite to the last


@dataclass(frozen=True, slots=True)
class Send:
    """Put these bytes on the channel, in order."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stray:
    """This connection is not from somebody who holds the text: close it and keep listening; the text stays good."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It is over, and nothing more will come: a stable code and a sentence for people."""

    code: str
    sentence: str


BROKEN = Failed("not_allowed", "The other side said something that does not belong here.")


def failed(code: str) -> Failed:
    """A failure with the sentence of its code; one that we do not know reads as a plain refusal."""
    known = code if code in SENTENCES else "not_allowed"
    return Failed(known, SENTENCES[known])


def say(session: NoiseSession, kind: int, body: bytes = b"") -> Send:
    """One message of the session: its type and body, encrypted in order."""
    return Send(session.encrypt(bytes((kind,)) + body))


def say_refusal(session: NoiseSession, code: str) -> Send:
    """The message that ends a session early; `code` tells the other side why."""
    return say(session, REFUSE, Writer().string(code).finish())


def hear(session: NoiseSession, message: bytes) -> tuple[int, Reader]:
    """(type, body).  Raises DecodeError."""
    reader = Reader(session.decrypt(message))
    return reader.fixed_uint(1), reader


def read_refusal(reader: Reader) -> Failed:
    """What the other side gave as its reason.  Raises DecodeError."""
    code = reader.string(MAX_CODE)
    reader.end()
    return failed(code)
