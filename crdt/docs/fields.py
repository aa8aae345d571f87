"""The fields of document values: what each may hold, and its one JSON form.

`docs/protocol.md`, "Values".  A value is an object of at most a dozen members in a fixed order, absent members left
out, in the shortest JSON: no spaces, strings raw but for `"`, `\\` and control characters (the escapes that
`JSON.stringify` gives).  A text is taken only if writing what was read gives the same text: so there is one form, no
duplicate member, no unknown one, no float, no lone surrogate.  What later versions add stands in the last member `ext`,
pairs of a kind and bytes: they are checked for their form, kept with the text, and no part of what is read.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from json import JSONDecoder
from json.encoder import encode_basestring as quote  # JSON's escapes alone; the rest of Unicode stays as it is
from typing import Any, Generic, TypeVar

from identity.extension import MAX_EXTENSION, MAX_EXTENSIONS
from identity.kem import CLASSICAL, HYBRID

EXT = "ext"
MAX_INT = 2**53 - 1
MAX_TEXT = 64 * 1024  # bytes of UTF-8
MAX_OVER = 64  # values that one value names as replaced
VALUE_ID = 16  # bytes of a value's id
MAX_MS = 253_402_300_799_999  # the end of the year 9999: every time can be shown

Json = Any  # what a JSON parser gives: checked member by member below
T = TypeVar("T")

_scan: Callable[[str], tuple[Json, int]] = JSONDecoder().raw_decode


class Invalid(ValueError):
    """A value out of its bounds, read or about to be written."""


@dataclass(frozen=True, slots=True)
class Field:
    """One type of member.  `read` checks and converts parsed JSON, `write` checks a value and gives JSON text."""

    read: Callable[[Json], Any]
    write: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Member:
    """JSON name, attribute of the dataclass, type; optional ones default to None, repeated ones to ()."""

    name: str
    attribute: str
    field: Field
    optional: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Shape(Generic[T]):
    """One dataclass as JSON.  `check` looks at what no single member can know."""

    make: type[T]
    members: tuple[Member, ...]
    check: Callable[[T], bool] | None = None
    places: dict[str, tuple[int, Member]] = field(init=False, repr=False)
    needed: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {member.name: (n, member) for n, member in enumerate(self.members)})
        object.__setattr__(self, "needed", sum(not member.optional for member in self.members))

    def from_object(self, found: Json) -> T:
        """The value of a parsed object.  Raises Invalid."""
        return self.read(found)[0]

    def read(self, found: Json) -> tuple[T, str]:
        """The value of a parsed object and its one text.  Raises Invalid."""
        if type(found) is not dict:
            raise Invalid("not an object")
        given: dict[str, Any] = {}
        parts = []
        last, needed = -1, self.needed
        for name, item in found.items():
            if name == EXT and last < len(self.members):
                last = len(self.members)
                parts.append(f'"{EXT}":{EXTENSIONS.write(EXTENSIONS.read(item))}')
                continue
            place, member = self.places.get(name, (-1, None))
            if member is None or place < last:
                raise Invalid("a member that is unknown or out of order")
            last = place
            needed -= not member.optional
            given[member.attribute] = value = member.field.read(item)
            parts.append(f'"{name}":{member.field.write(value)}')
        if needed:
            raise Invalid("a member is missing")
        value = self.make(**given)
        if self.check is not None and not self.check(value):
            raise Invalid("members contradict one another")
        return value, "{" + ",".join(parts) + "}"

    def text(self, value: T, extensions: tuple[tuple[int, bytes], ...] = ()) -> str:
        """The one JSON text of a value.  Raises Invalid where it is out of bounds.

        extensions: (kind, bytes) of what a later version says beside it, kinds rising.
        """
        if self.check is not None and not self.check(value):
            raise Invalid("members contradict one another")
        parts = []
        for member in self.members:
            item = getattr(value, member.attribute)
            if not (member.optional and item == member.default):
                parts.append(f'"{member.name}":{member.field.write(item)}')
        if extensions:
            parts.append(f'"{EXT}":{EXTENSIONS.write(extensions)}')
        return "{" + ",".join(parts) + "}"


def parse(shape: Shape[T], text: str) -> T | None:
    """The value of exactly this JSON text, or None: any other text of the same value is refused as well."""
    try:
        found, _ = _scan(text)
        value, written = shape.read(found)
        return value if written == text else None
    except (ValueError, RecursionError):
        return None


def scan_object(text: str) -> Mapping[str, Json] | None:
    """The object that a JSON text starts with, unchecked."""
    try:
        found, _ = _scan(text)
    except (ValueError, RecursionError):
        return None
    return found if type(found) is dict else None


def words(limit: int, *, empty: bool = False) -> Field:
    """Text of at most `limit` bytes of UTF-8 without NUL."""

    def check(value: Json) -> str:
        # a lone surrogate raises UnicodeEncodeError, a ValueError
        if type(value) is not str or not (value or empty) or len(value.encode()) > limit or "\0" in value:
            raise Invalid("text out of bounds")
        return value

    return Field(check, lambda value: quote(check(value)))


def octets(low: int, high: int | None = None) -> Field:
    """Bytes as base64 without padding."""
    high = low if high is None else high
    longest = (high * 4 + 2) // 3

    def read(value: Json) -> bytes:
        if type(value) is not str or len(value) > longest:
            raise Invalid("bytes out of bounds")
        try:
            data = a2b_base64(value + "=" * (-len(value) % 4))
        except (Base64Error, ValueError):
            raise Invalid("not base64") from None
        if not low <= len(data) <= high:
            raise Invalid("bytes out of bounds")
        return data

    def write(value: Any) -> str:
        if type(value) is not bytes or not low <= len(value) <= high:
            raise Invalid("bytes out of bounds")
        return f'"{b2a_base64(value, newline=False).decode().rstrip("=")}"'

    return Field(read, write)


def whole(low: int, high: int) -> Field:
    """An integer of JSON, below 2^53."""

    def check(value: Json) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Invalid("integer out of bounds")
        return value

    return Field(check, lambda value: str(check(value)))


def _flag(value: Json) -> bool:
    if type(value) is not bool:
        raise Invalid("not a flag")
    return value


def choice(*names: str) -> Field:
    """One of a few words."""
    allowed = frozenset(names)

    def check(value: Json) -> str:
        if type(value) is not str or value not in allowed:
            raise Invalid("not one of the words")
        return value

    return Field(check, lambda value: quote(check(value)))


def pattern(expression: str) -> Field:
    """Text that a pattern matches whole."""
    match = re.compile(expression, re.ASCII).fullmatch

    def check(value: Json) -> str:
        if type(value) is not str or match(value) is None:
            raise Invalid("text of another form")
        return value

    return Field(check, lambda value: quote(check(value)))


def several(item: Field, low: int, high: int) -> Field:
    """A list, as a tuple."""

    def read(value: Json) -> tuple[Any, ...]:
        if type(value) is not list or not low <= len(value) <= high:
            raise Invalid("list out of bounds")
        return tuple([item.read(entry) for entry in value])

    def write(value: Any) -> str:
        if type(value) is not tuple or not low <= len(value) <= high:
            raise Invalid("list out of bounds")
        return "[" + ",".join([item.write(entry) for entry in value]) + "]"

    return Field(read, write)


def pair(first: Field, second: Field) -> Field:
    """A list of exactly two."""

    def read(value: Json) -> tuple[Any, Any]:
        if type(value) is not list or len(value) != 2:
            raise Invalid("not a pair")
        return first.read(value[0]), second.read(value[1])

    def write(value: Any) -> str:
        if type(value) is not tuple or len(value) != 2:
            raise Invalid("not a pair")
        return f"[{first.write(value[0])},{second.write(value[1])}]"

    return Field(read, write)


def rising(items: Field, key: Callable[[Any], Any] = lambda item: item) -> Field:
    """A list whose items rise, none twice.  key: of an item, what is compared."""

    def check(value: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(key(first) >= key(second) for first, second in pairwise(value)):
            raise Invalid("items do not rise")
        return value

    return Field(lambda value: check(items.read(value)), lambda value: items.write(check(value)))


def nested(shape: Shape[Any]) -> Field:
    """An object inside an object; `ext` stands in the outer one alone."""

    def write(value: Any) -> str:
        if type(value) is not shape.make:
            raise Invalid("another type")
        return shape.text(value)

    return Field(shape.from_object, write)


def sized(*sizes: int) -> Field:
    """Bytes of one of a few lengths, as base64."""
    inner = octets(min(sizes), max(sizes))

    def check(value: Any) -> Any:
        if type(value) is bytes and len(value) not in sizes:
            raise Invalid("bytes of another length")
        return value

    return Field(lambda value: check(inner.read(value)), lambda value: inner.write(check(value)))


KEY = octets(32)  # ids, public keys, hashes
PREKEY = sized(CLASSICAL, HYBRID)  # P, or P and K
TEXT = words(MAX_TEXT)
NAME = words(256)
FLAG = Field(_flag, lambda value: "true" if _flag(value) else "false")
MOMENT = whole(0, MAX_MS)  # Unix milliseconds
WRITER = pattern("[A-Z2-7]{16}")
UPTO = rising(several(pair(WRITER, whole(0, MAX_INT)), 1, 1024), lambda one: one[0])  # how far: (writer id, seq)
OVER = rising(several(octets(VALUE_ID), 1, MAX_OVER))  # ids of the values that this one replaces
EXTENSIONS = rising(several(pair(whole(0, MAX_INT), octets(0, MAX_EXTENSION)), 1, MAX_EXTENSIONS), lambda one: one[0])
