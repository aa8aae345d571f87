"""The public names of `netstack`: complete, lazily imported, and enough for every example."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import netstack
from tests.house.names import imported_names, modules

ROOT = Path(__file__).parents[3]


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in netstack.__all__:
        assert getattr(netstack, name) is not None and name in dir(netstack)
    bare = [
        name
        for name in netstack.__all__
        if isinstance(getattr(netstack, name), type) and not vars(netstack)[name].__doc__
    ]
    assert bare == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = netstack.Nonsense  # type: ignore[attr-defined]


def test_importing_netstack_imports_no_other_module_of_it() -> None:
    program = "import sys, netstack; print([name for name in sys.modules if name.startswith(('netstack.', 'asyncio'))])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"


def test_modules_inside_never_import_from_the_public_face() -> None:
    users = [
        module.name
        for module in modules()
        if module.name.startswith("netstack.")
        for name, _ in imported_names(module.tree)
        if name == "netstack"
    ]
    assert users == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_imports_public_names_only(path: Path) -> None:
    ours = {
        module
        for module, _ in imported_names(ast.parse(path.read_text("utf-8")))
        if module.split(".")[0] in {"identity", "netstack", "crdt", "sync", "apps"}
    }
    assert ours == {"netstack"} or all(module.startswith("sync.service") for module in ours)


def test_names_imported_on_the_netstack_page_are_public() -> None:
    page = (ROOT / "docs" / "netstack.md").read_text("utf-8")
    named = {name for line in re.findall(r"from netstack import ([\w, ]+)", page) for name in line.split(", ")}
    assert named and named <= set(netstack.__all__)
