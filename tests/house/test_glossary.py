"""`docs/glossary.md` is sorted, names files that exist, and explains every key letter that the protocol uses."""

from __future__ import annotations

import re

from tests.house.names import ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The first column of the table under a heading, without the lines of its head."""
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [row.split("|")[1].strip() for row in rows[2:]]


def test_both_tables_are_alphabetical() -> None:
    for heading in ("Letters", "Words"):
        words = [re.sub(r"[*,]", "", cell).lower() for cell in first_cells(heading)]
        assert words == sorted(words)
        assert len(set(words)) == len(words) or heading == "Letters"


def test_files_of_the_glossary_exist() -> None:
    paths = re.findall(r"`((?:identity|netstack|crdt|sync|apps)/[^`]+)`", PAGE)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_key_letter_of_the_protocol_is_explained() -> None:
    letters = set(first_cells("Letters"))
    assert {"R", "S", "D", "P", "T", "T0", "W", "E", "Z", "I", "K"} <= letters
