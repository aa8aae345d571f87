"""Twenty searches over 20,000 real messages, each against a plain scan, in every backend that ships."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.search.port import Document, Query, Search
from tests.support.shared import shared
from tests.unit.search.backends import BACKENDS, params

COUNT = 20_000
SEARCHES: list[tuple[str, dict[str, object]]] = [
    ("ubuntu", {}),
    ("the", {}),
    ("install package", {}),
    ("nvidia driver", {}),
    ("apt*", {}),
    ("x* the", {}),
    ("don t", {}),
    ("HOWTO", {}),
    ("hoary warty", {}),
    ("sudo apt-get install", {}),
    ("how can i", {}),
    ("http*", {}),
    ("Mountain-bike gibberish qwertyuiop", {}),
    ("é*", {}),
    ("100", {}),
    ("kernel", {"chats": (b"\x01" * 32,)}),
    ("kernel", {"authors": (b"\x00" * 32,)}),
    ("thanks", {"sources": ("tweaked",)}),
    ("i", {"since_ms": 1_100_525_000_000, "until_ms": 1_100_550_000_000}),
    ("usb*", {"chats": (b"\x00" * 32, b"\x02" * 32), "until_ms": 1_100_600_000_000}),
]


@pytest.fixture(scope="module")
def corpus() -> list[Document]:
    documents = []
    with gzip.open(shared("data/irc-ubuntu.jsonl.gz"), "rt", encoding="utf-8") as lines:
        for number, line in zip(range(COUNT), lines, strict=False):
            message = json.loads(line)
            at = datetime.datetime.fromisoformat(message["at"])
            documents.append(
                Document(
                    hashlib.blake2b(b"%d" % number, digest_size=32).digest(),
                    bytes((number % 3,)) * 32,
                    bytes((number % 2,)) * 32,
                    message["from"],
                    int(at.timestamp() * 1_000),
                    number.to_bytes(8, "big"),
                    message["text"],
                )
            )
    return documents


@pytest.fixture(scope="module", params=params("fts5", "worker"))
def search(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> Iterator[Search]:
    folder: Path = tmp_path_factory.mktemp("corpus")
    backend = BACKENDS[request.param](folder)
    for start in range(0, COUNT, 1_000):
        backend.add(corpus[start : start + 1_000], cursor=start.to_bytes(4, "big"))
    yield backend
    backend.close()


@pytest.mark.parametrize(("text", "filters"), SEARCHES)
def test_search_of_real_messages_equals_a_plain_scan(
    search: Search, corpus: list[Document], text: str, filters: dict[str, object]
) -> None:
    query = Query(text, limit=COUNT, **filters)  # type: ignore[arg-type]
    patterns = []
    for word in text.casefold().replace("-", " ").split():
        last = "" if word.endswith("*") else r"(?!\w)"
        patterns.append(re.compile(r"(?<!\w)" + re.escape(word.rstrip("*")) + last))
    expected = [
        document.id
        for document in reversed(corpus)
        if all(pattern.search(document.text.casefold()) for pattern in patterns)
        and (not query.chats or document.chat in query.chats)
        and (not query.authors or document.author in query.authors)
        and (not query.sources or document.source in query.sources)
        and (query.since_ms is None or document.at_ms >= query.since_ms)
        and (query.until_ms is None or document.at_ms < query.until_ms)
    ]
    result = search.query(query)

    assert result.total == len(expected)
    assert [hit.id for hit in result.hits] == expected[: len(result.hits)]
    assert len(result.hits) == min(len(expected), 10_000)


def test_most_of_these_searches_find_something(search: Search) -> None:
    totals = [search.query(Query(text, **filters)).total for text, filters in SEARCHES]  # type: ignore[arg-type]
    assert sum(total > 0 for total in totals) >= 16
    assert max(totals) > 3_000
