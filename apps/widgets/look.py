"""Colours: KivyMD's roles for most things, and eight shades that tell people apart, each for light and dark."""

from __future__ import annotations

from typing import Any

SEED = "Teal"
Colour = tuple[float, float, float, float]
_LIGHT = ("0f766e", "b45309", "1d4ed8", "be185d", "6d28d9", "4d7c0f", "b91c1c", "0e7490")
_DARK = ("5eead4", "fbbf77", "93b4fd", "f9a8d4", "c4b5fd", "bef264", "fca5a5", "67e8f9")


def shade_hex(shade: int, dark: bool) -> str:
    return (_DARK if dark else _LIGHT)[shade % 8]


def rgba(hex6: str, alpha: float = 1.0) -> Colour:
    red, green, blue = (int(hex6[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue, alpha


def shade_colour(shade: int, dark: bool) -> Colour:
    return rgba(shade_hex(shade, dark))


def shade_ground(shade: int, dark: bool) -> Colour:
    """Behind the letters of a round picture."""
    return rgba(_LIGHT[shade % 8] if not dark else _DARK[shade % 8], 0.18 if not dark else 0.22)


def hex_of(colour: Any) -> str:
    return "".join(f"{round(part * 255):02x}" for part in list(colour)[:3])
