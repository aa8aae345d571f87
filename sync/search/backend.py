"""Which backend keeps the search index of a profile: chosen by what is installed, or by a setting.

DuckDB in a process of its own where it and its httpfs extension have a build, SQLite FTS5 elsewhere.  Each backend has
a file of its own.  The index is a fold of the logs, so the file of the other backend is deleted, never converted: it
would miss what came since, and keep what has been deleted since.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from identity.errors import KithkinError
from identity.paths import duckdb_takes
from sync.search.installed import has_duckdb
from sync.search.port import Search
from sync.search.worker import IDLE_S, WorkerSearch

SETTING = "KITHKIN_SEARCH"
"""The environment variable that names a backend; empty or absent: by what is installed."""
DUCKDB, FTS5 = "duckdb", "fts5"
FILES = {DUCKDB: "search.duckdb", FTS5: "search.fts5"}


def open_search(folder: Path, key: bytes, *, wanted: str | None = None, idle_s: float = IDLE_S) -> Search:
    """The index of the profile in `folder`; `key`: 32 bytes for it alone.  Nothing is opened before the first call.

    wanted: what the setting says.  Raises KithkinError `usage` where that is no backend, or one that is not installed.
    """
    backend = chosen(wanted, folder)
    for other, name in FILES.items():
        if other != backend:
            _delete(folder, name)
    if backend == DUCKDB:
        return WorkerSearch(folder / FILES[DUCKDB], key, idle_s=idle_s)
    from sync.search.fts5 import Fts5Search  # late: where DuckDB keeps the index, nothing here needs it

    return Fts5Search(folder / FILES[FTS5], key)


def chosen(wanted: str | None, folder: Path) -> str:
    """DUCKDB or FTS5.  Raises KithkinError `usage`, as `open_search`."""
    if not wanted:
        return DUCKDB if has_duckdb() and duckdb_takes(folder) else FTS5
    if wanted not in FILES:
        raise KithkinError("usage", f"{SETTING} is {DUCKDB} or {FTS5}, not {wanted!r}.")
    if wanted == DUCKDB and not has_duckdb():
        raise KithkinError(
            "usage",
            f"{SETTING} asks for DuckDB, which is not installed here: install the packages duckdb and "
            f"duckdb-extension-httpfs, or unset it and SQLite FTS5 keeps the index.",
        )
    if wanted == DUCKDB and not duckdb_takes(folder):
        raise KithkinError(
            "usage",
            f"{SETTING} asks for DuckDB, which takes no question mark in the path of a profile: unset it and SQLite "
            f"FTS5 keeps the index.",
        )
    return wanted


def _delete(folder: Path, name: str) -> None:
    """The file of a backend and what lies beside it (a log, a draft).  What cannot go now goes at the next start."""
    with contextlib.suppress(OSError):
        for entry in list(folder.iterdir()):
            if entry.name == name or entry.name.startswith((f"{name}.", f"{name}-")):
                entry.unlink()
