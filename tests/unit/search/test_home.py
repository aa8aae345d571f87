"""Which home a profile gets."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sync.search.backend import open_search
from sync.search.fts5 import Fts5Search
from sync.search.worker import WorkerSearch
from tests.unit.search.homes import KEY, document, texts


def test_duckdb_where_it_has_a_build_and_fts5_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_search(tmp_path, KEY), WorkerSearch)
    assert list(tmp_path.iterdir()) == []

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name.startswith("duckdb") else real(name, *rest)
    )
    search = open_search(tmp_path, KEY)
    assert isinstance(search, Fts5Search)
    search.add([document("1", "word")])
    assert texts(search, "word") == ["word"]
    search.close()
