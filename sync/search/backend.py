"""Which search a profile gets: DuckDB in a process of its own where it has a build, FTS5 elsewhere (phones)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sync.search.fts5 import Fts5Search
from sync.search.port import Search
from sync.search.worker import IDLE_S, WorkerSearch

DUCKDB = "search.duckdb"
FTS5 = "search.fts5"


def open_search(folder: Path, key: bytes, *, idle_s: float = IDLE_S) -> Search:
    """The index of the profile in `folder`; `key`: 32 bytes for it alone.  Nothing is opened before the first call."""
    if all(importlib.util.find_spec(name) is not None for name in ("duckdb", "duckdb_extension_httpfs")):
        return WorkerSearch(folder / DUCKDB, key, idle_s=idle_s)
    return Fts5Search(folder / FTS5, key)
