"""Which functions of the product run, in the order of their calls."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
PRODUCT = ("identity", "netstack", "crdt", "sync", "apps")


@dataclass(frozen=True, slots=True)
class Call:
    """name: `folder/file.py:Class.function`; stack: folders of the product's functions that lead to it."""

    name: str
    stack: frozenset[str]


@contextmanager
def calls_of_the_product() -> Iterator[list[Call]]:
    """A list that is filled while the block runs: every call of the product in this thread."""
    found: list[Call] = []
    files: dict[str, str | None] = {}

    def file_of(frame: FrameType) -> str | None:
        name = frame.f_code.co_filename
        if name not in files:
            path = Path(name)
            inside = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PRODUCT
            files[name] = str(path.relative_to(ROOT)) if inside else None
        return files[name]

    def note(frame: FrameType, event: str, _: object) -> None:
        file = file_of(frame) if event == "call" else None
        if file is None:
            return
        folders: set[str] = set()
        at: FrameType | None = frame
        while at is not None:
            one = file_of(at)
            if one is not None:
                folders.add(one.rpartition("/")[0])
            at = at.f_back
        found.append(Call(f"{file}:{frame.f_code.co_qualname}", frozenset(folders)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)
