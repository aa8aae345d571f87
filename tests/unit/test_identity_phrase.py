"""The recovery phrase: what people type, and what it gives."""

from __future__ import annotations

import pytest

from identity.errors import KithkinError
from identity.phrase import new_phrase, normal_phrase, phrase_keys
from tests.support.streams import stream

ZERO = "abandon " * 23 + "art"  # BIP-39's own vector: 32 zero bytes


def test_the_same_bytes_give_the_words_that_everybody_gives() -> None:
    assert new_phrase(bytes) == ZERO


def test_case_and_spacing_do_not_matter() -> None:
    phrase = new_phrase(stream(1))
    typed = "\n  " + "\t ".join(phrase.upper().split()) + "  "
    assert normal_phrase(typed) == phrase
    assert phrase_keys(typed) == phrase_keys(phrase)


def test_root_and_recovery_key_are_apart() -> None:
    keys = phrase_keys(ZERO)
    assert keys.root.seed != keys.recovery.secret
    assert "secret" not in repr(keys) and keys.root.seed.hex() not in repr(keys)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "24 words; this has 0"),
        ("abandon " * 12, "this has 12"),
        ("abandon " * 25, "this has 25"),
        ("abandon " * 22 + "abandom art", "Word 23"),
        ("abandon " * 24, "do not belong together"),
        ("a" * 2000, "too long"),
        ("\ud800 " * 24, "Word 1 "),
    ],
)
def test_a_wrong_phrase_says_where(text: str, sentence: str) -> None:
    with pytest.raises(KithkinError) as caught:
        phrase_keys(text)
    assert caught.value.code == "phrase_invalid"
    assert sentence in caught.value.message
