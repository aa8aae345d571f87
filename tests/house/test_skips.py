"""The list of skips is exact: each skip is explained, each line is needed, conditions count where they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.skips import CONDITIONS, SkipList

TEXT = """
# a remark
tests/a.py::* -- no network
? tests/b.py::* -- old kernel *
[no shared data] tests/c.py::* -- shared data absent: *
"""
NOTHING: frozenset[str] = frozenset()
ABSENT = frozenset({"no shared data"})
LISTED = ("tests/a.py::test_one", "no network")
OLD = ("tests/b.py::test_one", "old kernel 5.4")
DATA = ("tests/c.py::test_one[x]", "shared data absent: model.py")


@pytest.mark.parametrize(
    ("holding", "seen", "wrong"),
    [
        (NOTHING, [LISTED], []),
        (NOTHING, [LISTED, OLD], []),
        (NOTHING, [], ["listed, not skipped: tests/a.py::* -- no network"]),
        (NOTHING, [LISTED, DATA], ["skipped, not listed: tests/c.py::test_one[x] -- shared data absent: model.py"]),
        (ABSENT, [LISTED, DATA], []),
        (ABSENT, [LISTED], ["listed, not skipped: tests/c.py::* -- shared data absent: *"]),
    ],
)
def test_skips_are_held_against_the_list(
    holding: frozenset[str], seen: list[tuple[str, str]], wrong: list[str]
) -> None:
    skips = SkipList(TEXT, holding)
    skips.seen += seen
    assert skips.differences() == wrong


def test_a_condition_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="full moon"):
        SkipList("[full moon] tests/a.py -- dark", NOTHING)


@pytest.mark.parametrize("holding", [frozenset(), *[frozenset({condition}) for condition in CONDITIONS]])
def test_the_list_itself_can_be_read(holding: frozenset[str]) -> None:
    text = (Path(__file__).parents[1] / "skips.txt").read_text("utf-8")
    assert SkipList(text, holding).allowed
