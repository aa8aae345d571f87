"""Paths of any bytes, as the libraries below take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from identity import paths
from identity.errors import KithkinError
from identity.paths import duckdb_takes, library_path, path_of, path_text
from sync.search.backend import open_search
from sync.search.port import Search
from sync.store.port import Batch, Table
from sync.store.sqlite import SqliteStore
from tests.unit.search.backends import BACKENDS, KEY, document, needs_duckdb, params, texts

NAMES = [
    *("?", "*", "[1]", "#", "%41", ";", "~", "$HOME", "$(true)", "{a,b}", "\\", "'", '"', "a?mode=ro", "file:x"),
    *(" ", "-x", "...", "new\nline", "tab\tbell\a", "é", "e\u0301", "漢字", "\u202e", "a" * 255),
    *(os.fsdecode(octets) for octets in (b"\xff", b"\xff?\xfe", b"\xed\xa0\x80", b"\xc3", b"\xff" * 255)),
]
ids = [ascii(name)[:20] for name in NAMES]


@pytest.fixture(params=NAMES, ids=ids)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made: Path = tmp_path / request.param
    made.mkdir()
    return made


def test_a_store_lies_in_any_folder(folder: Path) -> None:
    batch = Batch()
    batch.put(Table.META, b"key", b"value")
    store = SqliteStore(folder / "store.db", bytes(32))
    store.write(batch, durable=True)
    store.scrub()
    store.close()
    store = SqliteStore(folder / "store.db", bytes(32))
    assert store.get(Table.META, b"key") == b"value"
    assert {path.name for path in folder.iterdir()} <= {"store.db", "store.db-wal"}
    store.close()


@pytest.fixture(params=params("fts5", "duckdb"))
def search(request: pytest.FixtureRequest, folder: Path) -> Search:
    if request.param == "duckdb" and not duckdb_takes(folder):
        return open_search(folder, KEY)  # and that is FTS5
    return BACKENDS[request.param](folder)


def test_an_index_lies_in_any_folder(search: Search, folder: Path) -> None:
    search.add([document("1", "word")])
    search.flush()
    search.scrub()
    search.release()
    assert texts(search, "word") == ["word"]
    assert len({path.name.partition("-")[0].removesuffix(".wal") for path in folder.iterdir()}) == 1
    search.close()
    assert len(list(folder.parent.iterdir())) == 1


@pytest.mark.parametrize("name", ["a*b", os.fsdecode(b"\xff*")], ids=ascii)
@pytest.mark.parametrize("backend", params("worker"))
def test_the_search_process_finds_its_index_in_any_folder(tmp_path: Path, backend: str, name: str) -> None:
    (tmp_path / name).mkdir()
    search = BACKENDS[backend](tmp_path / name)
    search.add([document("1", "word")])
    assert texts(search, "word") == ["word"]
    search.close()


@needs_duckdb
def test_a_folder_that_duckdb_cannot_work_in_is_said_where_it_is_asked_for(tmp_path: Path) -> None:
    assert open_search(tmp_path / "a?b", KEY).backend == "fts5"
    with pytest.raises(KithkinError) as refusal:
        open_search(tmp_path / "a?b", KEY, wanted="duckdb")
    assert refusal.value.code == "usage" and "question mark" in refusal.value.message


@pytest.mark.parametrize("handles", [True, False])
def test_a_way_around_leads_to_the_folder_and_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handles: bool
) -> None:
    """Through an open handle, or through a link where the system shows no handles."""
    if not handles:
        monkeypatch.setattr(paths, "HANDLES", tmp_path / "absent")
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    with library_path(folder / "file") as text:
        text.encode()
        Path(text).write_text("written by a library")
    assert (folder / "file").read_text() == "written by a library"
    assert not Path(text).exists()


def test_a_plain_path_is_taken_as_it_is(tmp_path: Path) -> None:
    with library_path(tmp_path / "file", limit=1000) as text:
        assert text == str(tmp_path / "file")
    with library_path(tmp_path / "file", limit=5) as text:
        assert text != str(tmp_path / "file")


def test_every_path_is_a_text_of_its_own_and_comes_back(folder: Path) -> None:
    path_text(folder).encode()
    assert path_of(path_text(folder)) == folder
    assert len({path_text(folder.parent / name) for name in NAMES}) == len(NAMES)
