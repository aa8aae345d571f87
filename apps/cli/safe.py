"""Texts from elsewhere, made safe for a terminal: what could steer it is shown, not obeyed."""

from __future__ import annotations

import unicodedata

_STEERING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0x2028, 0x2029}
"""Direction overrides and line separators: they could make a line read as another one."""


def escaped(text: str) -> str:
    """Control characters but line ends and tabs, direction overrides and lone surrogates as `\\x1b`, `\\u202e`."""
    return "".join(_shown(char) for char in text)


def one_line(text: str) -> str:
    """As `escaped`, with line ends and tabs shown too."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def _shown(char: str) -> str:
    code = ord(char)
    if char in "\n\t" or (0x20 <= code < 0x7F):
        return char
    if unicodedata.category(char) in ("Cc", "Cs") or code in _STEERING:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return char
