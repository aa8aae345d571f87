"""The search index of a real profile: either backend, one after the other, and what is said of them."""

from __future__ import annotations

import pytest

from sync.service import profiles as real
from tests.apps.cli.desk import Desk
from tests.unit.search.backends import needs_duckdb

BACKENDS = [pytest.param("duckdb", marks=needs_duckdb), "fts5"]


@pytest.fixture
def profile(desk: Desk) -> Desk:
    """A desk with a real profile."""
    desk.profiles = real
    assert desk.run("init", "--name", "Ada").code == 0
    return desk


def found(desk: Desk, query: str) -> list[str]:
    return [hit["text"] for hit in desk.run("search", query).lines[0]["hits"]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_search_and_doctor_work_with_either_backend(profile: Desk, backend: str) -> None:
    profile.patch.setenv("KITHKIN_SEARCH", backend)
    for text in ("red kestrel", "red sparrow"):
        assert profile.run("send", "self", text).code == 0
    assert found(profile, "red") == ["red sparrow", "red kestrel"]
    checks = profile.run("doctor").lines[0]["checks"]
    assert [check["detail"] for check in checks if check["name"] == "search index"] == [
        f"2 messages, kept by {backend}"
    ]
    assert [path.name for path in (profile.folder / "index").iterdir()] == [f"search.{backend}"]


@needs_duckdb
@pytest.mark.parametrize(("first", "second"), [("duckdb", "fts5"), ("fts5", "duckdb")])
def test_an_index_of_one_backend_is_rebuilt_from_the_logs_by_the_other(profile: Desk, first: str, second: str) -> None:
    """And back again: nothing that came or went meanwhile is missing or still there."""
    profile.patch.setenv("KITHKIN_SEARCH", first)
    gone = profile.run("send", "self", "red kestrel").lines[0]["id"]
    assert found(profile, "red") == ["red kestrel"]
    profile.patch.setenv("KITHKIN_SEARCH", second)
    assert found(profile, "red") == ["red kestrel"]
    assert profile.run("send", "self", "red sparrow").code == 0
    assert profile.run("delete", "self", gone).code == 0
    assert found(profile, "red") == ["red sparrow"]
    profile.patch.setenv("KITHKIN_SEARCH", first)
    assert found(profile, "red") == ["red sparrow"]
    assert profile.run("doctor").code == 0


def test_a_setting_that_names_no_backend_is_refused(profile: Desk) -> None:
    profile.patch.setenv("KITHKIN_SEARCH", "grep")
    said = profile.run("status")
    assert (said.code, said.error) == (2, "usage") and "KITHKIN_SEARCH" in said.out


def test_an_index_that_fails_says_which_backend_it_is_and_what_mends_it(profile: Desk) -> None:
    profile.patch.setenv("KITHKIN_SEARCH", "fts5")
    (profile.folder / "index").mkdir(exist_ok=True)
    (profile.folder / "index" / "search.fts5").mkdir()
    assert profile.run("send", "self", "red kestrel").code == 0
    said = profile.shown("search", "red")
    assert said.code == 1 and "kept by fts5" in said.err and "kithkin doctor --repair" in said.err
    assert profile.run("search", "red").error == "index_failed"
    (profile.folder / "index" / "search.fts5").rmdir()
    assert found(profile, "red") == ["red kestrel"]
