"""What may stand in a name: characters that show, on one line, in the direction that they have by themselves.

`docs/protocol.md`, "Limits of texts".  Names of peers are made fit with `visible`; names that a person gives are
refused where `visible` would change them.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

# Controls, formats (zero-width characters, direction marks, tags), surrogates, private and unassigned code points, line
# and paragraph separators.
_UNFIT = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Default_Ignorable_Code_Point (DerivedCoreProperties of Unicode) in other categories: fillers and selectors; and two
# symbols without ink.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u2800\U0001d159")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_EMOJI = "\ufe0f"  # the selector that makes an emoji of a symbol
_JOINER, _NON_JOINER = "\u200d", "\u200c"
_VIRAMA = 9  # canonical combining class
_NAMES = 4096  # kept


@lru_cache(maxsize=_NAMES)
def visible(text: str) -> str:
    """The text in NFC, without what does not show or changes how others show; white space is one space between words.
    Empty where nothing is left that shows."""
    text = unicodedata.normalize("NFC", text)
    kept = "".join(char for place, char in enumerate(text) if _fits(text, place))
    if not any(unicodedata.category(char)[0] in "LNPS" for char in kept):
        return ""
    # What was left out may have kept two characters apart that compose.
    return unicodedata.normalize("NFC", " ".join(kept.split()))


def _fits(text: str, place: int) -> bool:
    char = text[place]
    if char in "\t\n\r":
        return True  # white space; `split` makes a space of it
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if char == _JOINER:
        return _ends(before) or (_is_emoji(before) and _is_emoji(after))
    if char == _NON_JOINER:
        return _ends(before) or (_arabic(before) and _arabic(after))
    if char == _EMOJI:
        return _is_emoji(before) or before in tuple("0123456789#*")
    if char in _BLANK or any(ord(char) in selectors for selectors in _SELECTORS):
        return False
    return unicodedata.category(char) not in _UNFIT


def _is_emoji(char: str) -> bool:
    return bool(char) and (char == _EMOJI or unicodedata.category(char) in ("So", "Sk", "Sm", "Po"))


def _ends(char: str) -> bool:
    """A virama before a joiner decides how an Indic letter is drawn (RFC 5892, A.1 and A.2)."""
    return bool(char) and unicodedata.combining(char) == _VIRAMA


def _arabic(char: str) -> bool:
    return bool(char) and unicodedata.bidirectional(char) == "AL"
