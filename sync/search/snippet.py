"""The part of a text that shows why it was found, and where the matches stand in it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from sync.search.port import Mark
from sync.search.words import Asked, fold, spans, words

_SPACE = re.compile(r"\s")
WIDTH = 120  # code points
BEFORE = 30  # of them before the first match, where the text is longer
ELLIPSIS = "…"


class Snippet(NamedTuple):
    text: str
    marks: tuple[Mark, ...]


def snippet(text: str, asked: Asked, width: int = WIDTH) -> Snippet:
    """About `width` code points around the stretch with most matches, as one line, cut between words."""
    line = _SPACE.sub(" ", text)
    marks = list(_matches(line, asked))
    if len(line) <= width:
        return Snippet(line, tuple(marks))
    start = _start(marks, width, len(line))
    end = min(len(line), start + width)
    start, end = _at_words(line, start, end)
    lead = ELLIPSIS if start > 0 else ""
    shift = start - len(lead)
    inside = tuple(
        Mark(mark.start - shift, mark.end - shift) for mark in marks if start <= mark.start < mark.end <= end
    )
    return Snippet(lead + line[start:end] + (ELLIPSIS if end < len(line) else ""), inside)


def marked(found: Snippet, before: str, after: str) -> str:
    """The snippet with signs around its matches, for terminals and markup."""
    parts, at = [], 0
    for start, end in found.marks:
        parts += [found.text[at:start], before, found.text[start:end], after]
        at = end
    return "".join([*parts, found.text[at:]])


def _matches(line: str, asked: Asked) -> Iterator[Mark]:
    exact = {term.low for term in asked.terms if term.exact}
    ranges = [term for term in asked.terms if not term.exact]
    for start, end, unspaced in spans(line):
        piece = line[start:end]
        folded = fold(piece)
        if not unspaced or len(folded) != len(piece):  # half-width kana and the like: no letter stands for itself
            tokens = (folded,) if folded.isascii() and folded.isidentifier() else words(piece).tokens
            if any(token in exact or any(term.low <= token <= term.high for term in ranges) for token in tokens):
                yield Mark(start, end)
            continue
        hit = bytearray(len(piece))
        for at in range(len(folded)):
            pair = folded[at : at + 2]
            if pair in exact:
                hit[at : at + 2] = b"\x01\x01"
            elif any(term.low <= pair <= term.high for term in ranges):
                hit[at] = 1
        at = hit.find(1)
        while at >= 0:
            stop = hit.find(0, at)
            stop = len(hit) if stop < 0 else stop
            yield Mark(start + at, start + stop)
            at = hit.find(1, stop)


def _start(marks: list[Mark], width: int, length: int) -> int:
    """Where the window with most matches begins; the earliest of equals."""
    if not marks:
        return 0
    ends = [mark.end for mark in marks]
    best, most = 0, 0
    for number, mark in enumerate(marks):
        inside = bisect_left(ends, mark.start + width - BEFORE) - number
        if inside > most:
            best, most = mark.start, inside
    return max(0, min(best - BEFORE, length - width))


def _at_words(line: str, start: int, end: int) -> tuple[int, int]:
    """Move both ends inwards to a space, where one is near."""
    if start > 0:
        space = line.find(" ", start, start + BEFORE // 2)
        start = start if space < 0 else space + 1
    if end < len(line):
        space = line.rfind(" ", end - BEFORE // 2, end)
        end = end if space < 0 else space
    return start, end
