"""Snippets show the match, say where it is, and stay short."""

from __future__ import annotations

import pytest

from sync.search.snippet import BEFORE, WIDTH, marked, snippet
from sync.search.words import parse


def shown(text: str, query: str) -> str:
    return marked(snippet(text, parse(query)), "[", "]")


@pytest.mark.parametrize(
    ("text", "query", "seen"),
    [
        ("The red fox", "FOX red", "The [red] [fox]"),
        ("installer reinstall install", "inst*", "[installer] reinstall [install]"),
        ("redder red", "red", "redder [red]"),
        ("one\nline\tonly", "line", "one [line] only"),
        ("Straße und STRASSE", "strasse", "[Straße] und [STRASSE]"),
        ("ＦＵＬＬ width", "full", "[ＦＵＬＬ] width"),
        ("昨日東京都へ行った", "東京都", "昨日[東京都]へ行った"),
        ("犬と犬", "犬", "[犬]と[犬]"),
        ("ﾊﾝｶｸ です", "ハンカク", "[ﾊﾝｶｸ] です"),
        ("nothing", "other", "nothing"),
        ("", "x", ""),
    ],
)
def test_marks_lie_on_the_matches(text: str, query: str, seen: str) -> None:
    assert shown(text, query) == seen


def test_a_long_text_is_cut_around_the_match() -> None:
    text = "word " * 200 + "here is the needle indeed " + "word " * 200
    found = snippet(text, parse("needle"))

    assert found.text.startswith("…word ")
    assert found.text.endswith(" word…")
    assert len(found.text) <= WIDTH + 2
    assert [found.text[start:end] for start, end in found.marks] == ["needle"]
    assert found.marks[0].start <= BEFORE + 1


def test_snippet_shows_the_stretch_with_most_matches() -> None:
    text = "red " + "word " * 100 + "red fox jumps " + "word " * 100
    assert "red fox" in snippet(text, parse("red fox")).text


@pytest.mark.parametrize("text", ["x" * 70_000, "犬" * 22_000, "\u0301" * 30_000, "x y " * 16_000])
def test_any_long_text_has_a_short_snippet(text: str) -> None:
    for query in ("x", "犬", "犬犬犬", "x*"):
        found = snippet(text, parse(query))
        assert len(found.text) <= WIDTH + 2
        assert all(0 <= start < end <= len(found.text) for start, end in found.marks)
