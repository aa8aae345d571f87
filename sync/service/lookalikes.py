"""Names that look alike: the skeleton of UTS 39 (Unicode's confusables), by the data of `confusable-homoglyphs`.

Two names are alike if their skeletons are equal, or those of their lower-case forms.  A skeleton is compared and never
shown.
"""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from importlib.resources import files

_MARK = "\u200e"  # stands around right-to-left letters in the data file, to draw it; it belongs to no letter
_EMOJI = "\ufe0f"  # the selector that makes an emoji of a symbol
_NAMES = 4096  # whose looks are kept
# What the data says of ASCII: most names are, and the file is large.  A test compares the two.
ASCII = {"`": "'", '"': "''", "|": "l", "1": "l", "I": "l", "0": "O", "%": "\u00ba/\u2080", "m": "rn"}


def alike(one: str, other: str) -> bool:
    """Whether people may take one name for the other."""
    return not looks_of(one).isdisjoint(looks_of(other))


@lru_cache(maxsize=_NAMES)
def looks_of(name: str) -> frozenset[str]:
    """The skeletons of a name: two names with one in common look alike."""
    return frozenset((skeleton(name), skeleton(name.casefold())))


def skeleton(text: str) -> str:
    """What a text looks like: canonical decomposition, each character by its prototype, decomposed again.  Characters
    that show as nothing are left out, and runs of white space are one space (they are wider, and nobody measures)."""
    prototypes = ASCII if text.isascii() else data()
    apart = unicodedata.normalize("NFD", text)
    shown = (char for char in apart if unicodedata.category(char) != "Cf" and char != _EMOJI)
    made = "".join(prototypes.get(char, char) for char in shown)
    return " ".join(unicodedata.normalize("NFD", made).split())


@lru_cache(maxsize=1)
def data() -> dict[str, str]:
    """Character -> what it looks like.  The data links each character with its prototype, in both directions, so the
    one of a group with the most links is the prototype; of two the longer one, else the lower."""
    text = (files("confusable_homoglyphs") / "confusables.json").read_text("utf-8")
    links: dict[str, set[str]] = {}
    for key, entries in json.loads(text).items():
        links.setdefault(key.replace(_MARK, ""), set()).update(entry["c"].replace(_MARK, "") for entry in entries)

    def rank(char: str) -> tuple[int, int, list[int]]:
        return -len(links.get(char, ())), -len(char), [ord(one) for one in char]

    return {
        char: unicodedata.normalize("NFD", min((char, *others), key=rank))
        for char, others in links.items()
        if len(char) == 1 and others
    }
