"""`backup` on the command line: whose passphrase is asked for, what is said, and that a path is made absolute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apps.cli.desk import Desk


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the backup's own passphrase."""
    secret = tmp_path / "backup passphrase"
    secret.write_text("backup\n")
    monkeypatch.setenv("KITHKIN_BACKUP_PASSPHRASE_FILE", str(secret))
    return secret


def test_create_verify_and_restore_say_what_programs_read(ada: Desk, own: Path, tmp_path: Path) -> None:
    created = ada.run("backup", "create", "b")
    assert created.code == 0 and created.lines == [{"ok": True, "messages": 0, "bytes": 2048, "written": 1024}]
    assert ada.run("backup", "verify", "b").lines == [{"ok": True, "messages": 3, "bytes": 2048, "written": 0}]
    restored = ada.run("--profile", str(tmp_path / "new"), "backup", "restore", "b")
    assert restored.code == 0
    assert restored.lines == [{"ok": True, "identity": "id_ada", "device": "device_new", "lost": ""}]


def test_people_are_told_that_a_restored_profile_is_a_new_device(ada: Desk, own: Path, tmp_path: Path) -> None:
    said = ada.shown("--profile", str(tmp_path / "new"), "backup", "restore", "b", "--salvage")
    assert "new device of yours, device_new" in said.out and "Not restored: 7 rows" in said.out
    assert "The backup is whole: 3 messages" in ada.shown("backup", "verify", "b").out


def test_a_backup_has_a_passphrase_of_its_own(ada: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KITHKIN_BACKUP_PASSPHRASE_FILE", raising=False)
    for words in (("backup", "create", "b"), ("backup", "verify", "b")):
        said = ada.run(*words)
        assert (said.code, said.error) == (1, "no_passphrase")
    assert "KITHKIN_BACKUP_PASSPHRASE_FILE" in ada.shown("backup", "create", "b").err


def test_a_folder_with_a_profile_is_refused_before_anything_is_asked(ada: Desk, own: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "keystore").write_bytes(b"")
    said = ada.run("--profile", str(tmp_path / "taken"), "backup", "restore", "b")
    assert (said.code, said.error) == (1, "profile_exists")
