"""compact-encoding primitives (npm `compact-encoding`), read strictly.

Kithkin formats refuse non-minimal integers and trailing bytes; the HyperDHT family accepts the former, so its
readers are made with `minimal=False`.  Every length is compared with what is left before anything is allocated.
All integers are little-endian.  Writers never fail on what a reader would accept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from identity.errors import DecodeError

MAX_UINT = 2**53 - 1  # JavaScript's safe integers: compact-encoding refuses more
T = TypeVar("T")


class Writer:
    """Appends fields to one buffer; `finish()` returns the bytes."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out = bytearray()

    def uint(self, value: int) -> Writer:
        """One byte up to 252; `fd` + u16; `fe` + u32; `ff` + u64."""
        if value < 0 or value > MAX_UINT:
            raise ValueError(f"uint out of range: {value}")
        out = self._out
        if value <= 0xFC:
            out.append(value)
        elif value <= 0xFFFF:
            out.append(0xFD)
            out += value.to_bytes(2, "little")
        elif value <= 0xFFFFFFFF:
            out.append(0xFE)
            out += value.to_bytes(4, "little")
        else:
            out.append(0xFF)
            out += value.to_bytes(8, "little")
        return self

    def fixed_uint(self, value: int, size: int) -> Writer:
        """`size` bytes little-endian (u8, u16, u24, u32, u64)."""
        self._out += value.to_bytes(size, "little")
        return self

    def raw(self, data: bytes | bytearray | memoryview) -> Writer:
        """Bytes as they are: fixed-width fields, or the rest of the message."""
        self._out += data
        return self

    def buffer(self, data: bytes | bytearray | memoryview) -> Writer:
        """uint length, then the bytes.  An empty one reads as "none" in optional fields."""
        self.uint(len(data))
        self._out += data
        return self

    def string(self, text: str) -> Writer:
        """uint byte length, then UTF-8 (lone surrogates raise UnicodeEncodeError)."""
        return self.buffer(text.encode("utf-8"))

    def array(self, items: list[T] | tuple[T, ...], write: Callable[[Writer, T], object]) -> Writer:
        """uint count, then every item as `write(writer, item)` puts it."""
        self.uint(len(items))
        for item in items:
            write(self, item)
        return self

    def finish(self) -> bytes:
        """Everything that was appended."""
        return bytes(self._out)

    def __len__(self) -> int:
        return len(self._out)


class Reader:
    """Reads fields off `data`; whatever does not fit raises `DecodeError` and nothing else."""

    __slots__ = ("_data", "_end", "_minimal", "at")

    def __init__(self, data: bytes | bytearray | memoryview, *, minimal: bool = True) -> None:
        self._data = memoryview(data)
        self._end = len(self._data)
        self._minimal = minimal
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self.at

    def uint(self, limit: int = MAX_UINT) -> int:
        """A uint of at most `limit`."""
        first = self.fixed_uint(1)
        if first <= 0xFC:
            value = first
        else:
            size = 2 << (first - 0xFD)
            value = self.fixed_uint(size)
            floor = 0xFD if size == 2 else 1 << (4 * size)
            if self._minimal and value < floor:
                raise DecodeError("integer is not in its shortest form")
        if value > limit:
            raise DecodeError("integer is too large")
        return value

    def fixed_uint(self, size: int) -> int:
        """`size` bytes little-endian."""
        end = self.at + size
        if end > self._end:
            raise DecodeError("message ends early")
        value = int.from_bytes(self._data[self.at : end], "little")
        self.at = end
        return value

    def fixed(self, size: int) -> bytes:
        """`size` raw bytes."""
        end = self.at + size
        if size < 0 or end > self._end:
            raise DecodeError("message ends early")
        value = bytes(self._data[self.at : end])
        self.at = end
        return value

    def buffer(self, limit: int) -> bytes:
        """A length-prefixed buffer of at most `limit` bytes."""
        return self.fixed(self.uint(limit))

    def string(self, limit: int) -> str:
        """A length-prefixed UTF-8 string of at most `limit` bytes."""
        try:
            return self.buffer(limit).decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError("text is not UTF-8") from None

    def array(self, read: Callable[[Reader], T], limit: int) -> list[T]:
        """uint count of at most `limit`, then the items.  Items are read one by one: a lying count costs nothing."""
        return [read(self) for _ in range(self.uint(limit))]

    def flag(self) -> bool:
        """One byte, 0 or 1."""
        value = self.fixed_uint(1)
        if value > 1:
            raise DecodeError("a flag is 0 or 1")
        return bool(value)

    def rest(self) -> bytes:
        """All bytes that are left."""
        value = bytes(self._data[self.at :])
        self.at = self._end
        return value

    def end(self) -> None:
        """Refuses trailing bytes."""
        if self.at != self._end:
            raise DecodeError("bytes after the end of the message")
