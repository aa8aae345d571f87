"""From text to the words that are indexed and asked for; the one place that decides what matches.

`docs/protocol.md`.  Text and query go through the same fold: NFKC, case folding, NFKC.  A word is a stretch
of letters, digits, marks and `_`.  Stretches of scripts that are written without spaces (Chinese, Japanese, Korean,
Thai and its neighbours) are not words: they are found by any part, so they are indexed as pairs of neighbours and the
last letter alone, which makes any one letter the beginning of a token.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from identity.errors import KithkinError

MAX_QUERY = 1_000  # code points, before and after folding
MAX_TERMS = 64
MAX_WORD = MAX_QUERY  # longer words are indexed by their beginning: no query reaches further
CUT = "…"  # not part of any word, so a cut word equals no whole one

# Thai to Khmer with their marks, Hangul, kana and bopomofo, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
    "\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\U0001aff0-\U0001b16f"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
)
# Invisible inside words: joiners, soft hyphen, variation selectors.  The zero-width space stays: it divides words.
_INVISIBLE = dict.fromkeys((0xAD, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
_ASCII_WORD = re.compile(r"[a-z0-9_]+")
_PIECE = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_RUN = re.compile(f"[{_UNSPACED}]+")


class Words(NamedTuple):
    tokens: list[str]  # every occurrence, in order
    folded: str | None  # the folded text where a query of three and more unspaced letters needs it, else None


class Term(NamedTuple):
    """One thing that must occur: some token lies between `low` and `high`, both included."""

    low: str
    high: str

    @property
    def exact(self) -> bool:
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed query: all `terms` occur, and the folded text contains all of `inside`.

    `inside`: unspaced stretches of three and more letters; their pairs are among the terms.
    """

    terms: tuple[Term, ...]
    inside: tuple[str, ...]


def clean(text: str) -> str:
    """Text that every database takes: no NUL and no half of a surrogate pair.  Senders refuse both, peers may not."""
    if "\x00" in text or not text.isascii():
        return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return text


def fold(text: str) -> str:
    """The text as it is compared: without invisible signs, NFKC, case folded, NFKC again."""
    if text.isascii():
        return text.lower()
    visible = text.translate(_INVISIBLE)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def words(text: str) -> Words:
    """What a document is indexed by."""
    folded = fold(text)
    if folded.isascii():
        tokens = _ASCII_WORD.findall(folded)
        if any(len(token) > MAX_WORD for token in tokens):
            tokens = [_cut(token) for token in tokens]
        return Words(tokens, None)
    tokens = []
    long = False
    for word in _word().findall(folded):
        for piece in (word,) if word.isascii() else _PIECE.findall(word):
            if _RUN.match(piece):
                tokens += [piece[at : at + 2] for at in range(len(piece))]
                long = long or len(piece) > 2
            else:
                tokens.append(_cut(piece))
    return Words(tokens, folded if long else None)


def spans(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where words and unspaced stretches stand in the text as written: (start, end, is unspaced)."""
    for match in _word().finditer(text):
        at = match.start()
        for piece in _PIECE.findall(match[0]):
            yield at, at + len(piece), _RUN.match(piece) is not None
            at += len(piece)


def parse(text: str) -> Asked:
    """Several words must all occur; `word*` is a beginning; other signs only divide.  Raises KithkinError bad_query."""
    if len(text) > MAX_QUERY:
        raise KithkinError("bad_query", f"a search has at most {MAX_QUERY} characters")
    folded = fold(clean(text))
    if len(folded) > MAX_QUERY:
        raise KithkinError("bad_query", f"a search has at most {MAX_QUERY} characters")
    terms: dict[Term, None] = {}
    inside: dict[str, None] = {}
    for match in _word().finditer(folded):
        pieces = _PIECE.findall(match[0])
        for number, piece in enumerate(pieces):
            starred = number == len(pieces) - 1 and folded[match.end() : match.end() + 1] == "*"
            if not _RUN.match(piece):
                terms[_beginning(piece) if starred else Term(piece, piece)] = None
            elif len(piece) == 1:
                terms[_beginning(piece)] = None
            else:
                terms.update((Term(piece[at : at + 2], piece[at : at + 2]), None) for at in range(len(piece) - 1))
                if len(piece) > 2:
                    inside[piece] = None
    if not terms:
        raise KithkinError("bad_query", "there is no word to search for: type letters or digits")
    if len(terms) > MAX_TERMS:
        raise KithkinError("bad_query", f"a search has at most {MAX_TERMS} words")
    return Asked(tuple(terms), tuple(inside))


@cache
def _word() -> re.Pattern[str]:
    # `\w` leaves out marks, without which half of India's words fall apart.  Enclosing marks make keycaps, not words.
    marks, start = [], None
    for code in range(0x300, 0x20000):
        joins = unicodedata.category(chr(code)) in ("Mn", "Mc")
        if joins and start is None:
            start = code
        elif not joins and start is not None:
            marks.append(f"{chr(start)}-{chr(code - 1)}")
            start = None
    return re.compile(rf"\w[\w{''.join(marks)}]*")


def _cut(word: str) -> str:
    return word if len(word) <= MAX_WORD else word[:MAX_WORD] + CUT


def _beginning(start: str) -> Term:
    return Term(start, start + chr(sys.maxunicode))
