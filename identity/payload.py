"""Texts that people scan, paste or read out: `kithkin:KIND/` + base32 of the bytes and a 4-byte BLAKE2b checksum.

QR codes stay in their alphanumeric mode because everything after the scheme is upper case.
"""

from __future__ import annotations

from identity.digest import base32, digest, unbase32
from identity.errors import DecodeError
from identity.labels import Label

SCHEME = "kithkin:"
MAX_TEXT = 4096


def encode_payload(kind: str, data: bytes) -> str:
    """`kithkin:pair/…`, `kithkin:invite/…`, `kithkin:relay/…`."""
    return f"{SCHEME}{kind}/{base32(data + checksum(kind, data))}"


def decode_payload(text: str) -> tuple[str, bytes]:
    """(kind, bytes).  White space around is forgiven, since people paste.  Raises DecodeError."""
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise DecodeError("too long for a Kithkin text")
    if not text.lower().startswith(SCHEME) or "/" not in text:
        raise DecodeError("not a Kithkin text")
    kind, _, body = text[len(SCHEME) :].partition("/")
    kind = kind.lower()
    data = unbase32(body.upper())
    if len(data) < 4 or checksum(kind, data[:-4]) != data[-4:]:
        raise DecodeError("the text is damaged")
    return kind, data[:-4]


def checksum(kind: str, data: bytes) -> bytes:
    return digest(Label.PAYLOAD, kind.encode(), b"/", data, size=4)
