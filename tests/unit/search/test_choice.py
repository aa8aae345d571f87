"""Which backend a profile gets, and that nothing of the other one is left."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from identity.errors import KithkinError
from sync.search.backend import FILES, open_search
from sync.search.fts5 import Fts5Search
from sync.search.installed import duckdb_extension, has_duckdb
from sync.search.worker import WorkerSearch
from tests.unit.search.backends import KEY, document, needs_duckdb, texts


@pytest.fixture
def without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name.startswith("duckdb") else real(name, *rest)
    )


@needs_duckdb
def test_duckdb_keeps_the_index_where_it_is_installed(tmp_path: Path) -> None:
    search = open_search(tmp_path, KEY)
    assert isinstance(search, WorkerSearch) and search.backend == "duckdb"
    assert list(tmp_path.iterdir()) == []


def test_fts5_keeps_the_index_where_duckdb_is_not_installed(tmp_path: Path, without_duckdb: None) -> None:
    search = open_search(tmp_path, KEY)
    assert isinstance(search, Fts5Search) and search.backend == "fts5"
    search.add([document("1", "word")])
    assert texts(search, "word") == ["word"]
    search.close()


@needs_duckdb
def test_duckdb_without_its_extension_for_this_version_counts_as_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extension = duckdb_extension()
    assert extension is not None and extension.is_file() and has_duckdb()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0.1")
    assert not has_duckdb()


def test_the_setting_chooses_fts5_whatever_is_installed(tmp_path: Path) -> None:
    assert open_search(tmp_path, KEY, wanted="fts5").backend == "fts5"


@pytest.mark.parametrize("wanted", ["duckdb", "sqlite", "FTS5"])
def test_a_setting_that_cannot_be_met_is_refused(tmp_path: Path, without_duckdb: None, wanted: str) -> None:
    with pytest.raises(KithkinError) as refusal:
        open_search(tmp_path, KEY, wanted=wanted)
    assert refusal.value.code == "usage" and "KITHKIN_SEARCH" in refusal.value.message


@pytest.mark.parametrize(("wanted", "other"), [("fts5", "duckdb"), pytest.param("duckdb", "fts5", marks=needs_duckdb)])
def test_the_file_of_the_other_backend_is_deleted(tmp_path: Path, wanted: str, other: str) -> None:
    """It would miss what came since, and keep what has been deleted since."""
    for name in (FILES[other], FILES[other] + ".wal", FILES[other] + "-wal", FILES[other] + ".new", "other"):
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / FILES[wanted]).write_bytes(b"mine")
    open_search(tmp_path, KEY, wanted=wanted)
    assert {path.name for path in tmp_path.iterdir()} == {"other", FILES[wanted]}
