"""The homes of the search and documents for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from sync.search.duckdb import DuckSearch
from sync.search.fts5 import Fts5Search
from sync.search.memory import MemorySearch
from sync.search.port import Document, Query, Search
from sync.search.worker import WorkerSearch

KEY = bytes(range(32))
HOMES: dict[str, Callable[[Path], Search]] = {
    "memory": lambda folder: MemorySearch(),
    "fts5": lambda folder: Fts5Search(folder / "index", KEY),
    "duckdb": lambda folder: DuckSearch(folder / "index", KEY),
    "worker": lambda folder: WorkerSearch(folder / "index", KEY),
}
ON_DISK = ("fts5", "duckdb")


def name(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


def document(
    key: str, text: str, *, chat: str = "chat", author: str = "ada", source: str = "", at: int = 0, order: int = 0
) -> Document:
    return Document(name(key), name(chat), name(author), source, at, order.to_bytes(8, "big"), text)


def texts(search: Search, query: Query | str) -> list[str]:
    return [hit.text for hit in search.query(Query(query) if isinstance(query, str) else query).hits]
