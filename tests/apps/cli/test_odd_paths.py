"""Profiles and files under any names that the system allows, opened here and through a running node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync.service import profiles as real
from tests.apps.cli.desk import Desk
from tests.apps.cli.test_node import ROOT

NAMES = ["? * [1] # % ; ~ $HOME", "new\nline", "a" * 255, os.fsdecode(b"\xff\xfe"), os.fsdecode(b"?\xed\xa0\x80")]


@pytest.fixture
def profile(desk: Desk) -> Desk:
    desk.profiles = real
    return desk


@contextmanager
def running(folder: Path) -> Iterator[None]:
    words = [sys.executable, "-m", "apps.cli", "--json", "--profile", str(folder), "run", "--host", "127.0.0.1"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as node:
        try:
            assert node.stdout is not None
            first = json.loads(node.stdout.readline())
            assert first.get("ready") is True, first
            yield
        finally:
            node.terminate()
            assert node.wait(60) == 0


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:25])
def test_a_profile_lives_in_a_folder_of_any_name(profile: Desk, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    at = ("--profile", str(folder))
    assert profile.run(*at, "init", "--name", "Ada").code == 0
    assert profile.run(*at, "send", "self", "red kestrel").code == 0
    assert profile.run(*at, "search", "kestrel").lines[0]["total"] == 1
    assert profile.run(*at, "doctor").code == 0
    assert profile.run(*at, "init", "--name", "Eve").error == "profile_exists"
    with running(folder):
        assert profile.run(*at, "send", "self", "red sparrow").code == 0
        assert profile.run(*at, "search", "red").lines[0]["total"] == 2
        assert profile.run(*at, "init", "--name", "Eve").error == "profile_in_use"
    assert {child.name for child in tmp_path.iterdir()} == {name, "passphrase"}


@pytest.mark.parametrize("node", [True, False])
@pytest.mark.parametrize("name", [NAMES[0], NAMES[2], NAMES[4]], ids=lambda name: ascii(name)[:25])
def test_messages_go_to_and_come_from_files_of_any_name(profile: Desk, tmp_path: Path, name: str, node: bool) -> None:
    assert profile.run("init", "--name", "Ada").code == 0
    (tmp_path / name).write_text('{"at":"2024-01-01T00:00:00Z","from":"ida","text":"imported kelp"}\n')

    def story() -> None:
        assert profile.run("import", "self", str(tmp_path / name)).lines == [{"imported": 1, "skipped": 0}]
        assert profile.run("export", "self", str(tmp_path / name)).error == "file_exists"
        assert profile.run("export", "self", str(tmp_path / name), "--force").lines == [{"exported": 1}]
        (tmp_path / name).rename(tmp_path / "exported")
        assert profile.run("export", "self", str(tmp_path / name), "--format", "yjs").lines == [{"exported": 1}]

    if node:
        with running(profile.folder):
            story()
    else:
        story()
    assert "imported kelp" in (tmp_path / "exported").read_text()
    assert {child.name for child in tmp_path.iterdir()} == {name, "exported", "passphrase", "ada"}


@pytest.mark.parametrize("words", [("status",), ("init", "--name", "Ada"), ("run",), ("link",)], ids=" ".join)
def test_a_name_longer_than_the_system_takes_is_refused(profile: Desk, tmp_path: Path, words: tuple[str, ...]) -> None:
    for folder in (tmp_path / ("a" * 256), tmp_path / ("é" * 128) / "below", tmp_path / ("a" * 250) / ("a" * 9999)):
        said = profile.run("--profile", str(folder), *words)
        assert (said.code, said.error) == (1, "profile_unreadable"), folder
    assert {child.name for child in tmp_path.iterdir()} <= {"passphrase", "a" * 250}


def test_a_folder_that_lies_too_deep_for_the_store_is_refused_with_the_limit(profile: Desk, tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 255) / ("b" * 255)
    said = profile.run("--profile", str(folder), "init", "--name", "Ada")
    assert (said.code, said.error) == (1, "profile_unreadable") and "500 bytes" in said.out
    assert not folder.exists()


def test_files_with_names_longer_than_the_system_takes_are_refused(profile: Desk, tmp_path: Path) -> None:
    assert profile.run("init", "--name", "Ada").code == 0
    for words in (("import", "self"), ("export", "self"), ("export", "self", "--format", "yjs")):
        said = profile.run(*words, "--", str(tmp_path / ("a" * 256)))
        assert (said.code, said.error) == (1, "not_found" if words[0] == "import" else "not_allowed"), said
