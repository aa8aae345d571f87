"""No files import each other in a circle, imports for type checking and inside functions included."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.house.names import Module, modules

FREE = ("netstack",)  # packages without circles


def imports_of(module: Module, names: set[str]) -> set[str]:
    """The files among `names` that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in names else node.module)
    return (found & names) - {module.name}


@pytest.mark.parametrize("package", FREE)
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    files = [module for module in modules() if module.name.partition(".")[0] == package]
    names = {module.name for module in files}
    graph = {module.name: imports_of(module, names) for module in files}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
