"""What is a word, what is asked for, and what is no query at all."""

from __future__ import annotations

import pytest

from identity.errors import KithkinError
from sync.search.words import CUT, MAX_QUERY, MAX_TERMS, MAX_WORD, clean, fold, parse, words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("snake_case don't 3.14", ["snake_case", "don", "t", "3", "14"]),
        ("", []),
        ("!?%\"'()*-", []),
        ("ＦＵＬＬ ﬁne Straße ΣΊΣΥΦΟΣ", ["full", "fine", "strasse", "σίσυφοσ"]),
        ("e\u0301té = été", ["été", "été"]),
        ("İstanbul", ["i\u0307stanbul"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("soft\u00adhyphen va\ufe0f", ["softhyphen", "va"]),
        ("1\ufe0f\u20e3 ❤\ufe0f 👩\u200d💻", ["1"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー", "ー"]),
        ("犬", ["犬"]),
        ("iPhone版2024年", ["iphone", "版", "2024", "年"]),
        ("ﾊﾝｶｸ", ["ハン", "ンカ", "カク", "ク"]),
        ("한국어", ["한국", "국어", "어"]),
        ("ภาษา", ["ภา", "าษ", "ษา", "า"]),
    ],
)
def test_text_is_split_into_these_tokens(text: str, tokens: list[str]) -> None:
    assert words(text).tokens == tokens


def test_repeated_words_are_repeated_tokens() -> None:
    assert words("no no NO").tokens == ["no"] * 3


def test_only_long_unspaced_stretches_need_the_folded_text() -> None:
    assert words("plain").folded is None
    assert words("東京").folded is None
    assert words("Über 東京都").folded == "über 東京都"


def test_overlong_word_is_cut_and_equals_no_other() -> None:
    long = "a" * (MAX_WORD + 1)
    assert words(long).tokens == ["a" * MAX_WORD + CUT]
    assert words("é" * (MAX_WORD + 1)).tokens == ["é" * MAX_WORD + CUT]
    assert words("a" * MAX_WORD).tokens == ["a" * MAX_WORD]
    assert parse("a" * MAX_WORD).terms[0].low == "a" * MAX_WORD


def test_cleaned_text_has_no_nul_and_no_surrogate() -> None:
    assert clean("plain é 犬") == "plain é 犬"
    assert clean("a\x00b\ud800c") == "a\ufffdb?c"


def test_folding_twice_equals_folding_once() -> None:
    for text in ("ﬃ", "ẞ", "ΐ", "K", "ᾳ", "Ǆ", "ſ"):
        assert fold(fold(text)) == fold(text)


def asked(text: str) -> list[str]:
    parsed = parse(text)
    return [term.low + ("" if term.exact else "*") for term in parsed.terms] + [f"[{part}]" for part in parsed.inside]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("Red FOX", ["red", "fox"]),
        ("red red", ["red"]),
        ("inst*", ["inst*"]),
        ("inst* installer", ["inst*", "installer"]),
        ("inst＊", ["inst*"]),
        ('"red fox"', ["red", "fox"]),
        ("not OR and", ["not", "or", "and"]),
        ("red AND NOT (fox) -dog +cat", ["red", "and", "not", "fox", "dog", "cat"]),
        ("a%b_c", ["a", "b_c"]),
        ("* red", ["red"]),
        ("re*d", ["re*", "d"]),
        ("犬", ["犬*"]),
        ("東京", ["東京"]),
        ("東京*", ["東京"]),
        ("東京都", ["東京", "京都", "[東京都]"]),
        ("iphone版", ["iphone", "版*"]),
        ("版iphone*", ["版*", "iphone*"]),
    ],
)
def test_query_is_parsed_into_these_terms(query: str, terms: list[str]) -> None:
    assert asked(query) == terms


@pytest.mark.parametrize(
    "query",
    [
        "",
        " \t\n",
        '"',
        '""""',
        "'",
        "%",
        "*",
        "**",
        "( ) - + : ^ ~ ! & | . , ; / \\ < > = ? # $ @ [ ] { } `",
        "‘’“”«»",
        "\x00",
        "\ud800",
        "🎉",
        "\u0301",
        "a" * (MAX_QUERY + 1),
        "ﷺ" * 900,
        "x" * 1_000_000,
        '"' * 1_000_000,
        " ".join(f"w{n}" for n in range(MAX_TERMS + 1)),
    ],
)
def test_text_without_a_searchable_word_is_a_bad_query(query: str) -> None:
    with pytest.raises(KithkinError) as refusal:
        parse(query)
    assert refusal.value.code == "bad_query"
