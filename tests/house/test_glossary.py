"""`docs/glossary.md` is sorted, names files that exist, explains every key letter, and keeps former names apart."""

from __future__ import annotations

import re

from tests.house.names import PACKAGES, ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The first column of the table under a heading, without the lines of its head."""
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [row.split("|")[1].strip() for row in rows[2:]]


def test_all_tables_are_alphabetical() -> None:
    for heading in ("Letters", "Words", "Former names"):
        words = [re.sub(r"[*,]", "", cell).lower() for cell in first_cells(heading)]
        assert words == sorted(words)
        assert len(set(words)) == len(words) or heading == "Letters"


def test_files_of_the_glossary_exist() -> None:
    paths = re.findall(r"`((?:identity|netstack|crdt|sync|apps)/[^`]+)`", PAGE)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_key_letter_of_the_protocol_is_explained() -> None:
    letters = set(first_cells("Letters"))
    assert {"R", "S", "D", "P", "T", "T0", "W", "E", "Z", "I", "K"} <= letters


def test_every_word_says_what_it_means_and_where() -> None:
    rows = [line for line in PAGE.split("## Words\n", 1)[1].splitlines() if line.startswith("| ")][1:]
    assert [row for row in rows if not all(cell.strip() for cell in row.split("|")[1:-1])] == []


def test_former_names_occur_nowhere_in_the_code() -> None:
    """Those in parentheses still mean something else, so a search cannot judge them."""
    former = [name for name in first_cells("Former names") if "(" not in name]
    assert "bond" in former
    pattern = re.compile(rf"\b_?({'|'.join(former)})s?\b", re.IGNORECASE)
    sources = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert [path.name for path in sources if pattern.search(path.read_text(encoding="utf-8"))] == []
