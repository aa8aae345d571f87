"""The desk that the command line tests sit at."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.service import profiles as real
from tests.apps.cli.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    secret = tmp_path / "passphrase"
    secret.write_text("secret\n")
    folder = tmp_path / "ada"
    monkeypatch.setenv("KITHKIN_PASSPHRASE_FILE", str(secret))
    monkeypatch.setenv("KITHKIN_PROFILE", str(folder))
    monkeypatch.setenv("KITHKIN_BOOTSTRAP", "")
    return Desk(folder, monkeypatch, capsys)


@pytest.fixture
def ada(desk: Desk) -> Desk:
    """A desk with a profile on it."""
    assert desk.run("init", "--name", "Ada").code == 0
    return desk


@pytest.fixture
def home(desk: Desk) -> Desk:
    """A desk with a real profile."""
    desk.profiles = real
    said = desk.run("init", "--name", "Ada")
    assert said.code == 0 and len(said.lines[0]["phrase"].split()) == 24
    return desk
