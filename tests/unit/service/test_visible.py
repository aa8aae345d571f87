"""Names show what they are: nothing invisible, nothing that turns a line round, a mark for those that look alike."""

from __future__ import annotations

import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given

from identity.errors import KithkinError
from sync.service.lookalikes import ASCII, alike, data, skeleton
from sync.service.text import MAX_NAME, check_name
from sync.service.visible import visible

# Each shows as nothing, or changes how its neighbours show.
UNFIT = [
    "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u034f", "\u061c", "\u115f",
    "\u1160", "\u3164", "\uffa0", "\u17b4", "\u180e", "\u2800", "\U0001d159", "\U000e0041", "\ufe00",
    "\ufe0f", "\U000e0100", "\u200e", "\u202e", "\u2066", "\u2069", "\u2028", "\u2029", "\x00",
    "\x07", "\x1b", "\x85", "\ue000", "\U000f0000", "\u0378",
]  # fmt: skip


@pytest.mark.parametrize("char", UNFIT, ids=[f"U+{ord(char):04X}" for char in UNFIT])
def test_what_does_not_show_is_refused_in_a_name_and_left_out_of_a_peers(char: str) -> None:
    assert visible(char) == "" and visible(f"A{char}da") in ("Ada", "A da")
    with pytest.raises(KithkinError):
        check_name(f"A{char}da")


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "Zo\u00eb \u2764\ufe0f",
        "\U0001f469\u200d\U0001f4bb",
        "\U0001f44d\U0001f3fd",
        "1\ufe0f\u20e3",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "O\u2019Brien-Smith, Jr.",
        "\u05d3\u05d5\u05d3",
        "\u674e \u5c0f\u9f99",
    ],
)
def test_names_of_all_scripts_and_emoji_stay_as_they_are(name: str) -> None:
    assert check_name(name) == name == visible(name)


def test_white_space_is_one_space_and_composed_first() -> None:
    assert check_name(" Ada \u00a0\u3000 Lovelace ") == "Ada Lovelace"
    assert check_name("e\u0301") == "\u00e9"
    assert visible("e\u200b\u0301") == "\u00e9"
    assert visible("two\nlines\tand a tab") == "two lines and a tab"


def test_a_name_of_marks_alone_is_no_name() -> None:
    assert visible("\u0301\u0302") == ""
    with pytest.raises(KithkinError):
        check_name("\u0301")


@given(st.text(max_size=40))
def test_what_is_visible_stays_so_and_is_taken_as_a_name(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown and unicodedata.is_normalized("NFC", shown) and shown == shown.strip()
    if shown and len(shown.encode("utf-8", "replace")) <= MAX_NAME:
        assert check_name(shown) == shown


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob", "\u0412ob"),
        ("Bob", "B\u043eb"),
        ("Bob", "BOB"),
        ("paypal", "p\u0430yp\u0430l"),
        ("Ilia", "llia"),
        ("Ilia", "1lia"),
        ("Tim", "Tirn"),
        ("O0", "00"),
        ("Bob", "\U0001d401ob"),
        ("Bob", "\uff22ob"),
        ("Ada", "\u0391da"),
        ("Ada L", "Ada\u00a0L"),
        ("Zo\u00eb", "Zoe\u0308"),
    ],
)
def test_names_that_look_alike_are_found(one: str, other: str) -> None:
    assert alike(one, other) and alike(other, one)


@pytest.mark.parametrize(("one", "other"), [("Ada", "Adam"), ("Ben", "B\u00e9n"), ("Bob", "Rob"), ("Anna", "Hanna")])
def test_other_names_are_not(one: str, other: str) -> None:
    assert not alike(one, other)


def test_the_short_table_for_ascii_says_what_the_data_says() -> None:
    assert {char: to for char, to in data().items() if char.isascii() and char != to} == ASCII


@given(st.text(max_size=30))
def test_a_skeleton_is_its_own_skeleton(text: str) -> None:
    # The prototypes of what composes are not always composed of prototypes: twice is enough.
    once = skeleton(text)
    assert skeleton(skeleton(once)) == skeleton(once)
