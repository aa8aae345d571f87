"""Another project's package that has one of our names and comes first on the path is noticed with a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apps.cli.foreign import NAMES, foreign_package
from tests.house.names import PACKAGES, ROOT


def kithkin(first: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line with the folder `first` before the product on Python's path."""
    return subprocess.run(
        [sys.executable, "-m", "apps.cli", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(first), str(ROOT)])},
        cwd=first,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_package_that_comes_first_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('of somebody else')")
    ended = kithkin(tmp_path, "--version")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"kithkin: Another package named `{name}` comes before Kithkin's on Python's path")
    assert str(tmp_path / name) in ended.stderr and "Traceback" not in ended.stderr


def test_a_foreign_module_is_named_in_json(tmp_path: Path) -> None:
    (tmp_path / "sync.py").write_text("")
    ended = kithkin(tmp_path, "status", "--json")
    assert (ended.returncode, ended.stderr) == (1, "")
    error = json.loads(ended.stdout)["error"]
    assert error["code"] == "foreign_package" and "`sync`" in error["message"]


def test_a_folder_without_python_files_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "sync").mkdir()
    ended = kithkin(tmp_path, "--version")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_our_own_packages_are_not_foreign() -> None:
    assert foreign_package() is None
    assert {*NAMES, "apps"} == set(PACKAGES)
