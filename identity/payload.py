"""Texts that people scan, paste or read out: `kithkin:KIND/` + base32 of the bytes and a 4-byte BLAKE2b checksum.

QR codes stay in their alphanumeric mode when the whole text is made upper case, which reads the same.  Kinds are told
apart before anything else is said about a text: whoever pastes the wrong one learns what it is.
"""

from __future__ import annotations

from identity.digest import base32, digest, unbase32
from identity.errors import DecodeError, KithkinError
from identity.labels import Label

SCHEME = "kithkin:"
MAX_TEXT = 4096
KINDS = {  # kind -> (code where another text was given, what it is, what to do with it)
    "pair": ("not_a_pair_code", "a pairing code", "approve it with `kithkin device approve`"),
    "invite": ("not_an_invite", "an invite", "accept it with `kithkin contact accept`"),
    "relay": ("not_allowed", "the address of a relay", "use it with `kithkin relay use`"),
}


def encode_payload(kind: str, data: bytes) -> str:
    """`kithkin:pair/…`, `kithkin:invite/…`, `kithkin:relay/…`."""
    return f"{SCHEME}{kind}/{base32(data + checksum(kind, data))}"


def decode_payload(text: str) -> tuple[str, bytes]:
    """(kind, bytes).  White space is forgiven, since people paste and mails wrap.  Raises DecodeError."""
    kind, body = split_payload(text)
    data = unbase32(body.upper())
    if len(data) < 4 or checksum(kind, data[:-4]) != data[-4:]:
        raise DecodeError("the text is damaged")
    return kind, data[:-4]


def split_payload(text: str) -> tuple[str, str]:
    """(kind, body), the body unchecked.  Raises DecodeError."""
    if len(text) > MAX_TEXT:
        raise DecodeError("too long for a Kithkin text")
    text = "".join(text.split())
    if not text.lower().startswith(SCHEME) or "/" not in text:
        raise DecodeError("not a Kithkin text")
    kind, _, body = text[len(SCHEME) :].partition("/")
    return kind.lower(), body


def expect_payload(text: str, kind: str) -> bytes:
    """The bytes of a text of that kind.  Raises KithkinError: its code in `KINDS`, or `payload_damaged`."""
    code, what, _ = KINDS[kind]
    try:
        found, _ = split_payload(text)
    except DecodeError:
        raise KithkinError(code, f"That is not {what}.") from None
    if found != kind:
        if found in KINDS:
            _, other, then = KINDS[found]
            raise KithkinError(code, f"That is {other}, not {what}; {then}.")
        raise KithkinError(code, f"That is a Kithkin text, but not {what}.")
    try:
        return decode_payload(text)[1]
    except DecodeError:
        raise damaged(kind) from None


def damaged(kind: str) -> KithkinError:
    """The error for a text of which a part is missing or changed."""
    return KithkinError(
        "payload_damaged", f"A part of {KINDS[kind][1]} is missing or changed; copy or scan the whole text again."
    )


def checksum(kind: str, data: bytes) -> bytes:
    """The 4 bytes that end a text; they cover its kind too."""
    return digest(Label.PAYLOAD, kind.encode("utf-8", "replace"), b"/", data, size=4)
