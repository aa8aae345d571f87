"""The index on disk: unreadable to others, thrown away when it cannot be read, whole after a full disk."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from identity.errors import KithkinError
from sync.search.port import Query, Search
from tests.unit.search.backends import BACKENDS, KEY, document, duckdb, fts5, name, needs_duckdb, params, texts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WORD = "xylophonist"
Backend = Callable[[Path, bytes], Search]
CLASSES: dict[Backend, tuple[str, str]] = {
    fts5: ("sync.search.fts5", "Fts5Search"),
    duckdb: ("sync.search.duckdb", "DuckSearch"),
}


@pytest.fixture(params=params("fts5", "duckdb"))
def backend(request: pytest.FixtureRequest) -> Backend:
    return fts5 if request.param == "fts5" else duckdb


@pytest.fixture
def search(backend: Backend, tmp_path: Path) -> Iterator[Search]:
    made = backend(tmp_path / "index", KEY)
    yield made
    made.close()


def opened(path: Path) -> DuckDBPyConnection:
    """DuckDB's own view of an index."""
    from sync.search import duckdb as duck

    database = duck._connect({"ix": path}, KEY, duck.MEMORY_MB, contextlib.ExitStack())
    database.execute("USE ix")
    return database


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_plaintext_in_any_file(search: Search, tmp_path: Path) -> None:
    batch = [
        document(str(n), f"{WORD} {n} Wörter 東京都庁", chat="the chat", source="quoted person", order=n)
        for n in range(300)
    ]
    search.add(batch, cursor=b"a cursor that shows")
    logged = images(tmp_path)
    search.query(Query(WORD))
    search.add([document("edit", f"{WORD} again")])
    search.flush()
    placed = images(tmp_path)
    search.close()

    assert any(len(image) > 10_000 for image in logged.values())
    secrets = [WORD.encode(), "Wörter".encode(), "東京".encode(), b"quoted person", b"a cursor that", name("the chat")]
    for found in (logged, placed, images(tmp_path)):
        for file, image in found.items():
            assert [secret for secret in secrets if secret in image] == [], file


def test_only_its_owner_may_read_the_files(backend: Backend, tmp_path: Path) -> None:
    """The worker is the one that ships; it sets the mask for all that its process makes."""
    search = BACKENDS["worker" if backend is duckdb else "fts5"](tmp_path)
    search.add([document("1", "word")])
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}
    search.close()


def test_nothing_is_written_outside_the_index(search: Search, tmp_path: Path) -> None:
    search.add([document("1", "word")])
    search.scrub()
    assert {path.name.partition(".")[0].partition("-")[0] for path in tmp_path.iterdir()} == {"index"}


def test_second_process_that_opens_the_index_is_refused(backend: Backend, search: Search, tmp_path: Path) -> None:
    search.add([document("1", "word")])
    module, cls = CLASSES[backend]
    code = (
        "from pathlib import Path\nfrom identity.errors import KithkinError\n"
        f"from {module} import {cls} as Backend\n"
        f"try:\n    Backend(Path({str(tmp_path / 'index')!r}), bytes(range(32))).count()\n"
        "except KithkinError as error:\n    print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "profile_in_use"
    assert texts(search, "word") == ["word"]


def test_a_wrong_key_finds_an_empty_index_and_no_word(backend: Backend, search: Search, tmp_path: Path) -> None:
    """The key comes from the profile: another one means that the index belongs to no profile any more."""
    search.add([document("1", "word")], cursor=b"c")
    search.close()
    other = backend(tmp_path / "index", bytes(32))
    assert (other.cursor(), texts(other, "word")) == (b"", [])
    other.add([document("2", "word two")])
    other.close()


@pytest.mark.parametrize("damage", ["text", "beginning", "empty", "cut"])
def test_a_damaged_index_is_thrown_away(backend: Backend, search: Search, tmp_path: Path, damage: str) -> None:
    search.add([document(str(n), f"word {n}") for n in range(500)], cursor=b"c")
    search.flush()
    search.close()
    image = (tmp_path / "index").read_bytes()
    (tmp_path / "index").write_bytes(
        {
            "text": b"this is no index\n" * 5_000,
            "beginning": bytes(8_192) + image[8_192:],
            "empty": b"",
            "cut": image[:2_000],
        }[damage]
    )
    again = backend(tmp_path / "index", KEY)
    assert (again.cursor(), again.count()) == (b"", 0)
    again.add([document("1", "word")], cursor=b"d")
    assert texts(again, "word") == ["word"]
    again.close()


def test_flipped_byte_never_gives_a_wrong_answer(backend: Backend, search: Search, tmp_path: Path) -> None:
    """Refused, or the index starts anew; then a reset helps in any case."""
    search.add([document(str(n), f"word {n}") for n in range(2_000)], cursor=b"c")
    search.flush()
    search.close()
    image = (tmp_path / "index").read_bytes()
    for place in range(20_000, len(image), len(image) // 4):
        (tmp_path / "index").write_bytes(image[:place] + bytes((image[place] ^ 1,)) + image[place + 1 :])
        again = backend(tmp_path / "index", KEY)
        try:
            result = again.query(Query("word", limit=5_000))
            assert {hit.text for hit in result.hits} in ({f"word {n}" for n in range(2_000)}, set())
        except KithkinError as refusal:
            assert refusal.code == "profile_unreadable"
        again.reset()
        assert (again.cursor(), again.count()) == (b"", 0)
        again.close()


@pytest.mark.parametrize("column", ["version", "unicode"])
def test_index_of_another_version_or_unicode_is_thrown_away(
    backend: Backend, search: Search, tmp_path: Path, column: str
) -> None:
    search.add([document("1", "word")], cursor=b"c")
    search.close()
    change = f"UPDATE state SET {column} = '99'"
    if backend is duckdb:
        database = opened(tmp_path / "index")
        database.execute(change)
        database.close()
    else:
        sqlite = apsw.Connection(str(tmp_path / "index"))
        sqlite.execute(f"PRAGMA cipher = 'chacha20'; PRAGMA key = 'raw:{KEY.hex()}'; {change}").fetchall()
        sqlite.close()
    again = backend(tmp_path / "index", KEY)
    assert (again.cursor(), again.count()) == (b"", 0)
    again.close()


def test_after_a_scrub_no_removed_word_is_left(backend: Backend, search: Search, tmp_path: Path) -> None:
    """Seen through the encryption: the tables hold no trace, and the file is new or wiped."""
    search.add([document(str(n), f"{WORD if n % 2 else 'stays'} {n}", order=n) for n in range(400)], cursor=b"c")
    search.remove([name(str(n)) for n in range(1, 400, 2)])
    search.scrub()
    assert (search.cursor(), search.query(Query("stays")).total) == (b"c", 200)
    search.close()
    if backend is duckdb:
        database = opened(tmp_path / "index")
        held = database.execute("SELECT word FROM postings UNION ALL SELECT body FROM docs").fetchall()
        database.close()
        assert len(held) >= 400
        assert [row for row in held if WORD in row[0]] == []
    else:
        sqlite = apsw.Connection(str(tmp_path / "index"))
        sqlite.execute(f"PRAGMA cipher = 'chacha20'; PRAGMA key = 'raw:{KEY.hex()}'").fetchall()
        sqlite.execute("PRAGMA journal_mode = DELETE; PRAGMA rekey = ''").fetchall()
        sqlite.close()
        image = (tmp_path / "index").read_bytes()
        assert b"stays" in image
        assert WORD.encode() not in image


@needs_duckdb
def test_a_scrub_of_a_large_index_stays_within_the_memory_limit(tmp_path: Path) -> None:
    """40,000 messages in 40 MB: less than DuckDB takes to copy them at once."""
    from sync.search.duckdb import DuckSearch

    search = DuckSearch(tmp_path / "index", KEY, memory_mb=40)
    for first in range(0, 40_000, 4_000):
        batch = [
            document(str(n), f"every message has some words in common and {n} {n % 97} {WORD * 5} its own", order=n)
            for n in range(first, first + 4_000)
        ]
        search.add(batch, cursor=b"%d" % first)
    search.remove([name(str(n)) for n in range(0, 40_000, 3)])

    def found() -> list[tuple[int, list[str]]]:
        asked = (Query("message 13"), Query("39998"), Query("every"))
        return [(search.query(query).total, texts(search, query)) for query in asked]

    before = found()
    search.scrub()
    assert found() == before
    assert (search.cursor(), search.count()) == (b"36000", 26_666)
    search.close()


def test_a_full_disk_loses_nothing_and_the_index_goes_on(backend: Backend, tmp_path: Path) -> None:
    """The limit on file size stands in for the disk's end."""
    pytest.importorskip("resource", reason="no file size limit on this system")
    module, cls = CLASSES[backend]
    code = f"""
import resource
from pathlib import Path
from identity.errors import KithkinError
from sync.search.port import Document, Query
from {module} import {cls} as Backend
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
search = Backend(Path({str(tmp_path / "index")!r}), bytes(range(32)))
def add(number):
    rows = []
    for row in range(200):
        text = f"word{{number}} {{row}} " + f"filler{{number * 200 + row}} " * 30
        rows.append(Document(bytes([number, row]) * 16, b"c", b"a", "", 0, bytes([number, row]), text))
    try:
        search.add(rows, cursor=b"%d" % number)
        return "kept"
    except KithkinError as error:
        return error.code if error.code == "disk_full" else repr(error.__cause__)
search.count()
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
said = [add(number) for number in range(16)]
kept = [number for number, word in enumerate(said) if word == "kept"]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert search.count() == 200 * len(kept), (search.count(), kept)
assert search.cursor() == b"%d" % kept[-1]
for number in range(16):
    assert search.query(Query("word%d" % number)).total == (200 if number in kept else 0)
assert add(99) == "kept"
search.close()
assert search.count() == 200 * (len(kept) + 1)
search.close()
print(sorted(set(said)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "['disk_full', 'kept']"), done.stderr


@needs_duckdb
def test_duckdb_reaches_nothing_but_its_file(tmp_path: Path) -> None:
    import duckdb as library

    search = duckdb(tmp_path / "index", KEY)
    search.count()
    database = search._database
    assert database is not None
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for statement in (
        f"SELECT * FROM read_csv('{tmp_path / 'other.csv'}')",
        f"COPY docs TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'plain.db'}'",
        "INSTALL spatial",
        "LOAD spatial",
        "SET enable_external_access = true",
        "SET temp_directory = '/tmp'",
    ):
        with pytest.raises(library.Error):
            database.execute(statement)
    assert database.execute("SELECT current_setting('temp_directory')").fetchall() == [("",)]
    search.close()
