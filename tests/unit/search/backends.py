"""The backends of the search and documents for them.  Without DuckDB its tests are skipped, with one reason for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sync.search.fts5 import Fts5Search
from sync.search.installed import has_duckdb
from sync.search.memory import MemorySearch
from sync.search.port import Document, Query, Search
from sync.search.worker import WorkerSearch

if TYPE_CHECKING:
    from sync.search.duckdb import DuckSearch

KEY = bytes(range(32))
Disk = Callable[[Path], Search]  # a backend that keeps its index in the file at a path
needs_duckdb = pytest.mark.skipif(not has_duckdb(), reason="DuckDB is not installed")


def fts5(path: Path, key: bytes = KEY) -> Fts5Search:
    return Fts5Search(path, key)


def duckdb(path: Path, key: bytes = KEY) -> DuckSearch:
    from sync.search.duckdb import DuckSearch

    return DuckSearch(path, key)


BACKENDS: dict[str, Callable[[Path], Search]] = {
    "memory": lambda folder: MemorySearch(),
    "fts5": lambda folder: fts5(folder / "index"),
    "duckdb": lambda folder: duckdb(folder / "index"),
    "worker": lambda folder: WorkerSearch(folder / "index", KEY),
}


def params(*names: str) -> list[object]:
    """Backends as parameters of a fixture; those on DuckDB are skipped where there is none."""
    return [pytest.param(name, marks=needs_duckdb if name in ("duckdb", "worker") else ()) for name in names]


def name(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


def document(
    key: str, text: str, *, chat: str = "chat", author: str = "ada", source: str = "", at: int = 0, order: int = 0
) -> Document:
    return Document(name(key), name(chat), name(author), source, at, order.to_bytes(8, "big"), text)


def texts(search: Search, query: Query | str) -> list[str]:
    return [hit.text for hit in search.query(Query(query) if isinstance(query, str) else query).hits]
