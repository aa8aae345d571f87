"""Files and tests that the pages in `docs/` name in code type exist."""

from __future__ import annotations

import re

from tests.house.names import ROOT

PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "evidence" not in path.parts)
FILE = re.compile(r"`([\w./-]+\.(?:py|toml|jsonl?))`")
TEST = re.compile(r"`(test_\w+)`")
# Made by a run of the benchmarks.
ELSEWHERE = {"bench-latest.json"}


def test_files_named_by_the_docs_exist() -> None:
    folders = ("identity", "netstack", "crdt", "sync", "apps", "tests", "benchmarks", "docs", "examples")
    files = [path.as_posix() for folder in folders for path in (ROOT / folder).rglob("*.*")]
    files += [path.as_posix() for path in ROOT.glob("*.*")]
    missing = []
    for page in PAGES:
        for name in FILE.findall(page.read_text(encoding="utf-8")):
            if name not in ELSEWHERE and not any(path.endswith("/" + name) for path in files):
                missing.append((page.name, name))
    assert missing == []


def test_tests_named_by_the_docs_exist() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    missing = [
        (page.name, name)
        for page in PAGES
        for name in TEST.findall(page.read_text(encoding="utf-8"))
        if not any(f"def {name}(" in source for source in sources)
    ]
    assert missing == []
