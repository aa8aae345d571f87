"""Extension lists: room at the end of a format for what later versions say (`docs/protocol.md`, "Extension list").

A reader ignores kinds that it does not know and keeps their bytes as they came, so that what it passes on or writes
again loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from identity.codec import Reader, Writer
from identity.errors import DecodeError

MAX_EXTENSIONS = 16  # in one list
MAX_EXTENSION = 4096  # bytes of one


@dataclass(frozen=True, slots=True)
class Extension:
    """kind: what `body` (at most 4 KiB) is; a list names a kind once at most."""

    kind: int
    body: bytes


def extension_of(extensions: Iterable[Extension], kind: int) -> bytes | None:
    """The body of that kind, or None where the list has none."""
    return next((one.body for one in extensions if one.kind == kind), None)


def write_extensions(out: Writer, extensions: tuple[Extension, ...]) -> Writer:
    """uint count, then each as kind (uint) | body (length first), kinds rising."""
    return out.array(extensions, lambda w, one: w.uint(one.kind).buffer(one.body))


def read_extensions(data: Reader) -> tuple[Extension, ...]:
    """At most 16 of at most 4 KiB each, unknown ones too.  Raises DecodeError, also where kinds do not rise."""
    found = tuple(data.array(lambda r: Extension(r.uint(), r.buffer(MAX_EXTENSION)), MAX_EXTENSIONS))
    if any(one.kind >= other.kind for one, other in pairwise(found)):
        raise DecodeError("kinds of extensions rise")
    return found
