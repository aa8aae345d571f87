"""Pages are exported through a process with limits; what ends it is left out by name, and the app goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycrdt import Doc, Map

from sync.pages import process
from tests.apps.cli.desk import Desk
from tests.support.hostile_pages import HOSTILE


def exported(folder: Path) -> set[str]:
    texts: set[str] = set()
    for file in folder.glob("*.yjs"):
        doc: Doc[Map[str]] = Doc()
        doc.apply_update(file.read_bytes())
        messages = doc.get("messages", type=Map).to_py() or {}
        texts |= {json.loads(value)["text"] for value in messages.values()}
    return texts


def of_pages(home: Desk, *words: str) -> list[tuple[bool, str]]:
    checks = home.run("doctor", *words).lines[0]["checks"]
    return [(check["ok"], check["detail"]) for check in checks if check["name"].startswith("pages of")]


def test_what_ends_the_page_process_is_left_out_by_name_and_the_app_still_opens(
    home: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("red kestrel", "do KILL now", "blue heron"):
        assert home.run("send", "self", text).code == 0
    export = ("export", "self", "--format", "yjs")
    with monkeypatch.context() as patch:
        patch.setattr(process, "WORKER", HOSTILE)
        assert home.run(*export, str(tmp_path / "first")).lines == [{"exported": 2}]
        assert exported(tmp_path / "first") == {"red kestrel", "blue heron"}

        # Each command opens the profile anew.
        assert len(home.run("read", "self").lines[0]["messages"]) == 3
        ((ok, detail),) = of_pages(home)
        assert not ok and "by Ada" in detail and "SIGKILL" in detail and "entry " in detail

        # It is known now: no process dies of it again.
        patch.setattr(process, "MAX_SET_ASIDE", 0)
        assert home.run(*export, str(tmp_path / "second")).lines == [{"exported": 2}]

    # A mended library may read it: who repairs has it tried again.
    ((ok, detail),) = of_pages(home, "--repair")
    assert ok and "tried again" in detail
    assert of_pages(home) == []
    assert home.run(*export, str(tmp_path / "third")).lines == [{"exported": 3}]


def test_a_page_that_cannot_be_built_is_a_refusal_that_leaves_no_folder(
    home: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.run("send", "self", "one").code == 0
    assert home.run("send", "self", "MANY").code == 0
    monkeypatch.setattr(process, "WORKER", HOSTILE)
    said = home.run("export", "self", "--format", "yjs", str(tmp_path / "pages"))
    assert (said.code, said.error) == (1, "system_refused") and "SIGABRT" in said.out
    assert not (tmp_path / "pages").exists() and of_pages(home) == []
    assert [message["text"] for message in home.run("read", "self").lines[0]["messages"]] == ["one", "MANY"]
