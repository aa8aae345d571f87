"""Columns of tables line up on a terminal whatever the cells are written in."""

from __future__ import annotations

import pytest

from apps.cli.human import Page, width

CELLS = [
    ("Ada", 3),
    ("", 0),
    ("東京", 4),
    ("é", 1),
    ("e\u0301", 1),
    ("한국어", 6),
    ("\u1112\u1161\u11ab", 2),  # one Hangul syllable from three letters
    ("🎉", 2),
    ("👩\u200d👩\u200d👧", 2),  # a family: three people and two joiners
    ("🇨🇭", 2),
    ("👍🏽", 2),
    ("❤\ufe0f", 2),
    ("a\u200bb", 2),
    ("ｆｕｌｌ", 8),
]


@pytest.mark.parametrize(("text", "columns"), CELLS, ids=ascii)
def test_a_text_takes_as_many_columns_as_a_terminal_gives_it(text: str, columns: int) -> None:
    assert width(text) == columns


def test_a_text_with_controls_still_has_a_width() -> None:
    assert width("漢\x1b[2J") == 5


def test_the_second_column_begins_at_the_same_place_in_every_row() -> None:
    table = Page(colour=False).table(("name", "state"), [(text, "active") for text, _ in CELLS], "none")
    starts = {width(line[: line.index("active")]) for line in table.split("\n")[1:]}
    assert starts == {10}
