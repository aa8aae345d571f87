"""Whoever imports a name of another file can read what it does."""

from __future__ import annotations

import ast

from tests.house.names import ROOT, imported_names, modules, public_definitions, public_methods

# Files that applications outside this repository import: here every public method is documented too.
FACES = (
    "netstack/shell/connection.py",
    "netstack/shell/host.py",
    "netstack/shell/testnet.py",
    "netstack/swarm/shell/swarm.py",
    "netstack/swarm/shell/topic.py",
    "sync/service/api.py",
)


def test_imported_functions_and_classes_have_docstrings() -> None:
    files = list(modules())
    imported = {pair for module in files for pair in imported_names(module.tree)}
    bare = [
        f"{module.path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for module in files
        for node in public_definitions(module)
        if (module.name, node.name) in imported and not ast.get_docstring(node)
    ]
    assert not bare, f"{len(bare)} names without a docstring:\n" + "\n".join(bare)


def test_every_method_of_a_public_face_has_a_docstring() -> None:
    bare = [
        f"{module.path.relative_to(ROOT)}:{method.lineno} {node.name}.{method.name}"
        for module in modules()
        if str(module.path.relative_to(ROOT)) in FACES
        for node in public_definitions(module)
        if isinstance(node, ast.ClassDef)
        for method in public_methods(node)
        if not ast.get_docstring(method)
    ]
    assert not bare, f"{len(bare)} methods without a docstring:\n" + "\n".join(bare)


def test_every_file_says_what_it_is_about() -> None:
    bare = [
        str(module.path.relative_to(ROOT))
        for module in modules()
        if module.tree.body and not ast.get_docstring(module.tree)
    ]
    assert not bare, bare
