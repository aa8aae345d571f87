"""Colours: the palette of the theme, and eight shades that tell people apart, each for light and dark."""

from __future__ import annotations

from typing import Any

PRIMARY = "Teal"
Colour = tuple[float, float, float, float]
_LIGHT = ("0f766e", "b45309", "1d4ed8", "be185d", "6d28d9", "4d7c0f", "b91c1c", "0e7490")
_DARK = ("5eead4", "fbbf77", "93b4fd", "f9a8d4", "c4b5fd", "bef264", "fca5a5", "67e8f9")


def shade_hex(shade: int, dark: bool) -> str:
    """The colour of a shade for text, as six hex digits."""
    return (_DARK if dark else _LIGHT)[shade % 8]


def rgba(hex6: str, alpha: float = 1.0) -> Colour:
    """Six hex digits as Kivy's numbers from 0 to 1."""
    red, green, blue = (int(hex6[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue, alpha


def shade_colour(shade: int, dark: bool) -> Colour:
    """The colour of a shade for text."""
    return rgba(shade_hex(shade, dark))


def shade_background(shade: int, dark: bool) -> Colour:
    """The colour behind the letters of an avatar."""
    return rgba(_LIGHT[shade % 8] if not dark else _DARK[shade % 8], 0.18 if not dark else 0.22)


def hex_of(colour: Any) -> str:
    """A colour as six hex digits, without its alpha."""
    return "".join(f"{round(part * 255):02x}" for part in list(colour)[:3])
