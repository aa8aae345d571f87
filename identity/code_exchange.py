"""Six digits as a proof: one run of SPAKE2, from which a wrong guess learns only that it was wrong.

The identity is the hash of the inner handshake, so that nobody between two handshakes can carry a run from one to the
other.  The one wrapper around the package `spake2`.
"""

from __future__ import annotations

from spake2 import SPAKE2_Symmetric

from identity.digest import derive
from identity.errors import DecodeError
from identity.keys import Random
from identity.labels import Label

ELEMENT = 32
MAC = 32
DIGITS = 6
TRIES = 3
MAX_CODE = 64
SIDE = b"S"  # the package's mark of a symmetric run; not sent


class CodeExchange:
    """One run.  `element` goes to the other side; `finish` takes its element and gives the shared key once."""

    __slots__ = ("_run", "element")

    def __init__(self, code: str, hashed: bytes, rng: Random) -> None:
        self._run = SPAKE2_Symmetric(code.encode("utf-8", "replace"), idSymmetric=hashed, entropy_f=rng)
        self.element: bytes = self._run.start()[1:]

    def finish(self, element: bytes) -> bytes:
        """32 bytes that both have exactly if both codes are equal.  Raises DecodeError for our own element, or one
        outside the group."""
        if len(element) != ELEMENT:
            raise DecodeError("not an element of the exchange")
        try:
            return bytes(self._run.finish(SIDE + element))
        except Exception:  # assertions, ValueError and three kinds of its own
            raise DecodeError("not an element of the exchange") from None


def code_mac(key: bytes, role: int, attempt: int, hashed: bytes) -> bytes:
    """32 bytes by which the side `role` shows that it has the key of try number `attempt` (0, 1, 2)."""
    return derive(key, Label.PAIRING_MAC, bytes((role, attempt)), hashed, size=MAC)


def draw_code(rng: Random) -> str:
    """Six uniform digits: 24 random bits, drawn again in the rare case that they lie beyond the last whole million."""
    limit = 2**24 - 2**24 % 10**DIGITS
    while True:
        number = int.from_bytes(rng(3), "little")
        if number < limit:
            return f"{number % 10**DIGITS:0{DIGITS}}"


def normal_code(typed: str) -> str:
    """What was typed without the spaces and hyphens that people read out.  Anything else stays: it is a wrong code."""
    return "".join(c for c in typed[:MAX_CODE] if not c.isspace() and c != "-")
