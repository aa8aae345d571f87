"""Every backend finds what a plain scan finds: any texts, any edits and removals, any queries and filters."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from sync.search.port import Document, Query, Search, Sort
from tests.unit.search.backends import BACKENDS, params

HAN = "東京都大阪"
UNSPACED = re.compile(f"[{HAN}]+")


def plain_fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def plain_match(text: str, wanted: list[str]) -> bool:
    """The contract in a few lines that share nothing with the index but the standard library."""
    folded = plain_fold(text)
    whole = set(re.findall(r"\w+", UNSPACED.sub(" ", folded)))
    for word in wanted:
        star = word.endswith("*")
        word = plain_fold(word.rstrip("*"))
        if UNSPACED.fullmatch(word):
            if word not in folded:
                return False
        elif not any(token.startswith(word) if star else token == word for token in whole):
            return False
    return True


def plain_pass(document: Document, query: Query) -> bool:
    persons = query.authors or query.sources
    return (
        (not query.chats or document.chat in query.chats)
        and (not persons or document.author in query.authors or document.source in query.sources)
        and (query.since_ms is None or query.since_ms <= document.at_ms)
        and (query.until_ms is None or document.at_ms < query.until_ms)
    )


vocabulary = st.sampled_from(
    [
        "red",
        "Red",
        "redder",
        "fox",
        "FOX",
        "ﬁsh",
        "fish",
        "straße",
        "STRASSE",
        "é",
        "e\u0301",
        "x_1",
        "１２",
        "12",
        "the",
    ]
)
han = st.text(HAN, min_size=1, max_size=4)
signs = st.sampled_from([" ", "  ", ", ", "-", "'", '"', "*", "%", "\n", "🎉", ""])
odd = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
bodies = st.lists(vocabulary | han | signs | odd, max_size=8).map(" ".join)
asked = st.lists(vocabulary | vocabulary.map(lambda w: w[:2] + "*") | han, min_size=1, max_size=3)
small = st.integers(0, 3)
keys = small.map(lambda n: bytes([n]) * 32)
documents = st.builds(
    Document,
    id=st.integers(0, 9).map(lambda n: bytes([n]) * 32),
    chat=keys,
    author=keys,
    source=st.sampled_from(["", "eve", "|x|"]),
    at_ms=small,
    order=st.integers(0, 1 << 16).map(lambda n: n.to_bytes(4, "big")),
    text=bodies,
)
steps = st.lists(
    st.tuples(st.lists(documents, max_size=5), st.lists(st.integers(0, 9).map(lambda n: bytes([n]) * 32), max_size=2)),
    min_size=1,
    max_size=4,
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "chats": st.lists(keys, max_size=2).map(tuple),
        "authors": st.lists(keys, max_size=2).map(tuple),
        "sources": st.lists(st.sampled_from(["eve", "|x|"]), max_size=1).map(tuple),
        "since_ms": small,
        "until_ms": small,
        "sort": st.sampled_from(Sort),
        "limit": st.integers(0, 5),
    },
)


@pytest.fixture(scope="module", params=params("memory", "fts5", "duckdb"))
def search(request: pytest.FixtureRequest) -> Iterator[Search]:
    """One index for all examples, emptied by removals: what they leave behind must not show."""
    with tempfile.TemporaryDirectory() as folder:
        backend = BACKENDS[request.param](Path(folder))
        yield backend
        backend.close()


@settings(max_examples=50)
@given(steps=steps, queries=st.lists(st.tuples(asked, filters), min_size=1, max_size=4))
def test_any_query_finds_what_a_plain_scan_finds(
    search: Search, steps: list[tuple[list[Document], list[bytes]]], queries: list[tuple[list[str], dict[str, object]]]
) -> None:
    search.remove([bytes([n]) * 32 for n in range(10)])
    held: dict[bytes, Document] = {}
    for number, (added, removed) in enumerate(steps):
        search.add(added, removed=removed, cursor=b"%d" % number)
        for key in removed:
            held.pop(key, None)
        held.update((document.id, document) for document in added)
    assert (search.cursor(), search.count()) == (b"%d" % (len(steps) - 1), len(held))

    for wanted, filtered in queries:
        query = Query(" ".join(wanted), **filtered)  # type: ignore[arg-type]
        expected = [d for d in held.values() if plain_match(d.text, wanted) and plain_pass(d, query)]
        expected.sort(key=lambda document: (document.order, document.id), reverse=True)
        result = search.query(query)
        found = [hit.id for hit in result.hits]
        assert result.total == len(expected)
        assert len(found) == min(query.limit, len(expected))
        if query.sort is Sort.TIME:
            assert found == [document.id for document in expected[: query.limit]]
        else:
            assert set(found) <= {document.id for document in expected}
            assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
        for hit in result.hits:
            document = held[hit.id]
            assert (hit.chat, hit.author, hit.source, hit.at_ms, hit.order, hit.text) == (
                document.chat,
                document.author,
                document.source,
                document.at_ms,
                document.order,
                document.text,
            )
            assert all(0 <= start < end <= len(hit.snippet) for start, end in hit.marks)
