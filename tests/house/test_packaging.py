"""What a package needs besides its code: types, one version, locks that name no place, hooks that fetch nothing."""

from __future__ import annotations

import re
import tomllib

import pytest

from apps.cli import parser
from tests.house.names import PACKAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["*"]


def test_the_version_is_the_same_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    version = PROJECT["project"]["version"]
    with pytest.raises(SystemExit):
        parser.parse(["--version"])
    assert capsys.readouterr().out == f"kithkin {version}\n"
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_locked_package_has_hashes_and_no_lock_names_a_place() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        text = lock.read_text("utf-8")
        assert not re.search(r"://|^-|^/", text, re.MULTILINE), lock.name
        entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if not entry.startswith("#")]
        assert entries and all("--hash=sha256:" in entry for entry in entries), lock.name


def test_the_hooks_run_the_tools_of_make_check_and_fetch_nothing() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]
    check = (ROOT / "Makefile").read_text("utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    tools = {line.split()[0] for line in check.splitlines()[1:]}
    assert tools == {entry.split()[0] for entry in re.findall(r"entry: (.+)", hooks)}
