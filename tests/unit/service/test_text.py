"""Limits of texts are those of what is stored."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from identity.errors import KithkinError
from sync.service.text import MAX_EMOJI, MAX_NAME, check_emoji, check_name

GROWS = "\U0001d1c0"  # a note of 4 bytes, in NFC three of 12


def code_of(check: Callable[[], str]) -> str:
    try:
        check()
    except KithkinError as refusal:
        return refusal.code
    return "taken"


@given(
    st.lists(st.sampled_from(["a", " ", "e\u0301", "\u1112\u1161\u11ab", GROWS, "é", "\ud800", "\n"]), max_size=99).map(
        "".join
    )
)
def test_a_name_that_is_taken_fits_as_it_is_stored(text: str) -> None:
    if code_of(lambda: check_name(text)) == "taken":
        name = check_name(text)
        assert unicodedata.is_normalized("NFC", name) and 0 < len(name.encode()) <= MAX_NAME


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GROWS * (MAX_NAME // 12), "taken"),
        (GROWS * (MAX_NAME // 4), "text_too_long"),
        ("e\u0301" * (MAX_NAME // 2), "taken"),
        ("e\u0301" * (MAX_NAME // 2 + 1), "text_too_long"),
        ("\u1112\u1161\u11ab" * (MAX_NAME // 3), "taken"),
        ("\u03c9\u0313\u0342\u0345" * (MAX_NAME // 3), "taken"),
        ("a" * MAX_NAME + " " * 10_000, "taken"),
        ("a" * (MAX_NAME + 1), "text_too_long"),
        ("a" * 10**7, "text_too_long"),
        ("\ud800" * 10, "text_invalid"),
    ],
    ids=range(10),
)
def test_the_limit_of_a_name_holds_after_normalisation(text: str, code: str) -> None:
    assert code_of(lambda: check_name(text)) == code


def test_the_limit_of_a_reaction_holds_after_normalisation() -> None:
    assert code_of(lambda: check_emoji(GROWS * (MAX_EMOJI // 12))) == "taken"
    assert code_of(lambda: check_emoji(GROWS * (MAX_EMOJI // 4))) == "text_too_long"
