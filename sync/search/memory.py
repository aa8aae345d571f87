"""Search by reading everything: for the simulator and as the oracle that the real backends are held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sync.search.port import MAX_LIMIT, Document, Hit, Query, Result, Sort
from sync.search.snippet import snippet
from sync.search.words import Asked, clean, fold, parse, words

K1, B = 1.2, 0.75  # BM25: how soon a repeated word counts no more, how much a long text is held against it


def bm25(occurs: int, length: int, mean: float, documents: int, holding: int) -> float:
    """One term's part of the score.  The 1 in the logarithm keeps the score of words in most documents above 0."""
    rarity = math.log(1 + (documents - holding + 0.5) / (holding + 0.5))
    return rarity * occurs * (K1 + 1) / (occurs + K1 * (1 - B + B * length / mean))


class MemorySearch:
    """`Search` without an index."""

    backend = "memory"

    def __init__(self) -> None:
        self._documents: dict[bytes, Document] = {}
        self._cursor = b""

    def cursor(self) -> bytes:
        return self._cursor

    def count(self) -> int:
        return len(self._documents)

    def add(self, documents: Sequence[Document], *, removed: Sequence[bytes] = (), cursor: bytes | None = None) -> None:
        for key in removed:
            self._documents.pop(key, None)
        for document in documents:
            self._documents[document.id] = replace(document, text=clean(document.text), source=clean(document.source))
        self._cursor = self._cursor if cursor is None else cursor

    def remove(self, ids: Sequence[bytes], *, cursor: bytes | None = None) -> None:
        self.add((), removed=ids, cursor=cursor)

    def query(self, query: Query) -> Result:
        asked = parse(query.text)
        found = []
        holding = [0] * len(asked.terms)
        lengths = 0
        for document in self._documents.values():
            tokens = words(document.text).tokens
            lengths += len(tokens)
            counts = [sum(term.low <= token <= term.high for token in tokens) for term in asked.terms]
            holding = [had + (count > 0) for had, count in zip(holding, counts, strict=True)]
            if all(counts) and _holds(document, asked) and passes(document, query):
                found.append((document, counts, len(tokens)))
        mean = max(lengths / max(len(self._documents), 1), 1.0)
        scored = [
            (
                sum(
                    bm25(count, length, mean, len(self._documents), had)
                    for count, had in zip(counts, holding, strict=True)
                ),
                document,
            )
            for document, counts, length in found
        ]
        scored.sort(key=lambda pair: (pair[1].order, pair[1].id), reverse=True)
        if query.sort is Sort.SCORE:
            scored.sort(key=lambda pair: pair[0], reverse=True)
        shown = scored[: min(max(query.limit, 0), MAX_LIMIT)]
        return Result(tuple(hit(document, score, asked) for score, document in shown), len(scored))

    def flush(self) -> None:
        pass

    def scrub(self) -> None:
        pass

    def reset(self) -> None:
        self._documents.clear()
        self._cursor = b""

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


def hit(document: Document, score: float, asked: Asked) -> Hit:
    """A document that matches, with its snippet and the marks in it."""
    shown = snippet(document.text, asked)
    return Hit(
        document.id,
        document.chat,
        document.author,
        document.source,
        document.at_ms,
        document.order,
        document.text,
        score,
        shown.text,
        shown.marks,
    )


def passes(document: Document, query: Query) -> bool:
    """Whether the filters let it through."""
    persons = bool(query.authors or query.sources)
    sources = {fold(source) for source in query.sources}
    return (
        (not query.chats or document.chat in query.chats)
        and (not persons or document.author in query.authors or fold(document.source) in sources)
        and (query.since_ms is None or document.at_ms >= query.since_ms)
        and (query.until_ms is None or document.at_ms < query.until_ms)
    )


def _holds(document: Document, asked: Asked) -> bool:
    folded = fold(document.text)
    return all(stretch in folded for stretch in asked.inside)
