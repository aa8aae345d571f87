"""The bytes that a pairing or an invite carries for the engine: what a newcomer answers, and what a person tells.

`docs/protocol.md`, "Pairing" and "Invite".
"""

from __future__ import annotations

import unicodedata

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import check_point
from identity.statement import PREFIX
from sync.engine.dialling import Whereabouts, decode_whereabouts, encode_whereabouts

MAX_PROFILE = 512
MAX_CLAIM = 60  # characters of a claimed name that are kept


def encode_answer(writer: bytes, consent: bytes) -> bytes:
    """version | suite | W (32) | consent (64): what a newcomer says in a pairing or an invite."""
    return Writer().raw(PREFIX).raw(writer).raw(consent).finish()


def decode_answer(data: bytes) -> tuple[bytes, bytes]:
    """(W, consent).  Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("an answer of another version")
    writer, consent = check_point(reader.fixed(32)), reader.fixed(64)
    reader.end()
    return writer, consent


def encode_profile(name: str, where: Whereabouts | None) -> bytes:
    """name | whereabouts, empty where they are not known: what a person met by invite tells of itself."""
    return Writer().string(name[:128]).buffer(b"" if where is None else encode_whereabouts(where)).finish()


def decode_profile(data: bytes) -> tuple[str, Whereabouts | None]:
    """(claimed name, where its device is reached) of a person met by invite; what does not decode is left out."""
    try:
        reader = Reader(data)
        name, where = reader.string(MAX_PROFILE), reader.buffer(MAX_PROFILE * 2)
        reader.end()
        # A claimed name that no value may hold is as good as none; what is left is shown escaped.
        name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cs"))[:MAX_CLAIM]
        return name, decode_whereabouts(where) if where else None
    except DecodeError:
        return "", None
