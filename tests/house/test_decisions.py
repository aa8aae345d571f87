"""The index of `docs/decisions/` lists every decision, with the title that its page has."""

from __future__ import annotations

import re

from tests.house.names import ROOT

FOLDER = ROOT / "docs" / "decisions"
LINE = re.compile(r"^\| (\d{4}) \| \[(.+)\]\((\S+)\) \| (.+) \| (\d{4}-\d\d-\d\d) \| (.+) \|$", re.MULTILINE)
STATUS = re.compile(r"^(accepted|superseded by \d{4})(; .+)?$")
QUOTED = re.compile(r"\bdecisions/(\d{4}[\w-]*)")
NAMED = re.compile(r"\bdecisions? (\d{4})\b")


def index() -> list[tuple[str, ...]]:
    """(number, title, file name, status, date, outcome) of every line of the index."""
    return [match.groups() for match in LINE.finditer((FOLDER / "README.md").read_text(encoding="utf-8"))]


def test_the_index_lists_every_decision_once_and_in_order() -> None:
    names = sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
    assert [line[2] for line in index()] == names
    numbers = [name[:4] for name in names]
    assert len(set(numbers)) == len(numbers)
    assert [line[0] for line in index()] == numbers


def test_the_index_gives_the_title_of_each_page() -> None:
    first_lines = [(FOLDER / line[2]).read_text(encoding="utf-8").split("\n", 1)[0] for line in index()]
    assert first_lines == [f"# {line[0]} {line[1]}" for line in index()]


def test_the_index_gives_a_known_status() -> None:
    assert [line for line in index() if not STATUS.match(line[3])] == []


def test_decisions_quoted_in_code_and_docs_exist() -> None:
    files = {path.stem for path in FOLDER.glob("*.md")}
    numbers = {name[:4] for name in files}
    missing = []
    for folder in ("identity", "netstack", "crdt", "sync", "apps", "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".py", ".md") or "node_modules" in path.parts:
                continue
            text = path.read_text(encoding="utf-8")
            missing += [(str(path), name) for name in QUOTED.findall(text) if name not in files | numbers]
            missing += [(str(path), number) for number in NAMED.findall(text) if number not in numbers]
    assert missing == []
