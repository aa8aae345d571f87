"""The layout is as docs/architecture.md says: floors, no circles of files, small files with one subject."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tests.house.names import Module, modules


def imports(module: Module, known: Mapping[str, Module]) -> Iterator[str]:
    """Product files that a file imports, those for type checkers alone included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        for name in names:
            if name in known and name != module.name and known[name].path.name != "__init__.py":
                yield name


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups of more than one file (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def test_no_two_files_import_each_other_in_a_circle() -> None:
    known = {module.name: module for module in modules()}
    graph = {name: set(imports(module, known)) for name, module in known.items()}
    assert sum(map(len, graph.values())) > 1000, "the imports were not read"
    assert circles(graph) == []


def test_no_folder_is_called_by_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "common", "helpers", "misc", "pipeline"}
    assert not [module.name for module in modules() if empty & set(module.name.split("."))]
