"""Which characters a font file has: its `cmap` table (OpenType 1.9, formats 4 and 12), read without a font library.

Kivy draws a text in one font, with boxes for what that lacks.  To choose a font for each run of a text, one must know
which characters it has.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from pathlib import Path

MAX_RANGES = 100_000
_UNICODE = ((3, 10), (0, 6), (0, 4), (3, 1), (0, 3))  # (platform, encoding), the fullest first


class Coverage:
    """Sorted ranges of code points.  Empty for a file that is no font."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        ranges.sort()
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]

    def __contains__(self, char: str) -> bool:
        at = bisect_right(self._starts, ord(char)) - 1
        return at >= 0 and ord(char) <= self._ends[at]


def read_coverage(path: Path) -> Coverage:
    """The coverage of the first face in a font file; empty for any other file."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
            base = 0
            if head[:4] == b"ttcf":
                base = struct.unpack(">I", head[12:16])[0]
            file.seek(base)
            count = struct.unpack(">4xH6x", file.read(12))[0]
            tables = file.read(16 * min(count, 256))
            for at in range(0, len(tables), 16):
                tag, _, offset, length = struct.unpack(">4sIII", tables[at : at + 16])
                if tag == b"cmap":
                    file.seek(offset)
                    return Coverage(_ranges(file.read(min(length, 4 * 1024 * 1024))))
    except (OSError, struct.error):
        pass
    return Coverage([])


def _ranges(cmap: bytes) -> list[tuple[int, int]]:
    count = struct.unpack(">2xH", cmap[:4])[0]
    found = {}
    for at in range(4, 4 + 8 * min(count, 64), 8):
        platform, encoding, offset = struct.unpack(">HHI", cmap[at : at + 8])
        found[platform, encoding] = offset
    for kind in _UNICODE:
        if kind in found:
            offset = found[kind]
            form = struct.unpack(">H", cmap[offset : offset + 2])[0]
            if form == 12:
                return _format_12(cmap[offset:])
            if form == 4:
                return _format_4(cmap[offset:])
    return []


def _format_12(table: bytes) -> list[tuple[int, int]]:
    groups = struct.unpack(">12xI", table[:16])[0]
    ends = range(16, 16 + 12 * min(groups, MAX_RANGES), 12)
    return [struct.unpack(">II", table[at : at + 8]) for at in ends]


def _format_4(table: bytes) -> list[tuple[int, int]]:
    """Segments; what they leave out within (glyph 0) is rare enough to be counted as there."""
    twice = struct.unpack(">6xH", table[:8])[0]
    ends = struct.unpack(f">{twice // 2}H", table[14 : 14 + twice])
    starts = struct.unpack(f">{twice // 2}H", table[16 + twice : 16 + 2 * twice])
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start <= end and start != 0xFFFF]
