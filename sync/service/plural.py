"""Numbers of things in sentences for people."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 feed`, `2 feeds`; many: the plural where it is not `one` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"
