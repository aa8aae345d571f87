"""The second implementation stands apart: none of its files but the generator and the comparison knows production."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.names import PACKAGES

MEETING = {"random_space.py", "comparison.py"}


def test_the_second_implementation_imports_nothing_of_production() -> None:
    files = [path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("test_")]
    assert len(files) > 12
    for path in files:
        named = [
            name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        ]
        foreign = [name for name in named if name.split(".")[0] in PACKAGES]
        assert path.name in MEETING or foreign == [], path.name
