"""Fields as section 2 of docs/protocol.md writes them ("Fields", "Extension list"): a reader with bounds; writers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")

# "shortest form, below 2^53"
UINT_END = 1 << 53
EXTENSIONS = 16
EXTENSION_BODY = 4 << 10


class Refused(ValueError):
    """Bytes that the page does not allow; the text says which rule."""


def require(held: bool, rule: str) -> None:
    """Raises `Refused` with the rule unless it is held."""
    if not held:
        raise Refused(rule)


def uint(value: int) -> bytes:
    """A number in its shortest form."""
    require(0 <= value < UINT_END, "a number is below 2^53")
    if value <= 252:
        return bytes([value])
    for mark, size in ((0xFD, 2), (0xFE, 4), (0xFF, 8)):
        if value < 1 << 8 * size:
            return bytes([mark]) + value.to_bytes(size, "little")
    raise AssertionError


def buffer(value: bytes) -> bytes:
    """Length and bytes; strings are buffers of UTF-8."""
    return uint(len(value)) + value


def u64(value: int) -> bytes:
    """Eight bytes, little-endian."""
    return value.to_bytes(8, "little")


def array(items: Iterable[bytes]) -> bytes:
    """Count and items."""
    held = list(items)
    return uint(len(held)) + b"".join(held)


class Reader:
    """Reads fields in order; every method raises `Refused` for bytes that are missing or not as the page says."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """`size` bytes."""
        require(self.at + size <= len(self.data), "bytes are missing")
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def flag(self) -> bool:
        """One byte, 0 or 1."""
        value = self.byte()
        require(value < 2, "a flag is 0 or 1")
        return value == 1

    def uint(self, most: int = UINT_END - 1) -> int:
        """A number in its shortest form, at most `most`."""
        first = self.byte()
        value = first if first <= 252 else int.from_bytes(self.take(1 << (first - 252)), "little")
        require(value < UINT_END and len(uint(value)) == (1 if first <= 252 else 1 + (1 << (first - 252))), "uint form")
        require(value <= most, "a number is within its limit")
        return value

    def u64(self) -> int:
        """Eight bytes, little-endian."""
        return int.from_bytes(self.take(8), "little")

    def buffer(self, most: int) -> bytes:
        """Length, at most `most`, and bytes."""
        return self.take(self.uint(most))

    def string(self, most: int) -> str:
        """UTF-8 of at most `most` bytes."""
        try:
            return self.buffer(most).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("strings are UTF-8") from None

    def array(self, most: int, item: Callable[[], Item]) -> tuple[Item, ...]:
        """Count, at most `most`, and items, read one by one."""
        return tuple(item() for _ in range(self.uint(most)))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        """Refuses trailing bytes."""
        require(self.at == len(self.data), "trailing bytes are refused")

    def version(self) -> None:
        """Version 0 and suite 1; any other is refused."""
        require(self.take(2) == b"\0\1", "version 0, suite 1")


def rising(values: Iterable[object], rule: str) -> None:
    """Refuses values that do not ascend, each once."""
    held = list(values)
    require(all(a < b for a, b in pairwise(held)), rule)  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Extension:
    """What a later version says: a kind and its bytes."""

    kind: int
    body: bytes


def read_extensions(reader: Reader) -> tuple[Extension, ...]:
    """Section 2, "Extension list": at most 16, kinds rising, bodies up to 4 KiB."""
    held = reader.array(EXTENSIONS, lambda: Extension(reader.uint(), reader.buffer(EXTENSION_BODY)))
    rising((extension.kind for extension in held), "kinds of extensions rise")
    return held


def write_extensions(held: Iterable[Extension]) -> bytes:
    """The bytes of an extension list."""
    return array(uint(extension.kind) + buffer(extension.body) for extension in held)
