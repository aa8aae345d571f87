"""The recovery phrase: what people type, and what it gives."""

from __future__ import annotations

import pytest

from identity.errors import KithkinError
from identity.phrase import new_phrase, normal_phrase, phrase_keys
from tests.support.streams import stream

ZERO = "abandon " * 23 + "art"  # BIP-39's own vector: 32 zero bytes


def test_phrase_of_zero_bytes_equals_the_published_bip39_words() -> None:
    assert new_phrase(bytes) == ZERO


def test_phrase_is_read_in_any_case_and_spacing() -> None:
    phrase = new_phrase(stream(1))
    typed = "\n  " + "\t ".join(phrase.upper().split()) + "  "
    assert normal_phrase(typed) == phrase
    assert phrase_keys(typed) == phrase_keys(phrase)


def test_root_and_recovery_keys_differ() -> None:
    keys = phrase_keys(ZERO)
    assert keys.root.seed != keys.recovery.agreement.secret
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
def test_invalid_phrase_is_refused_with_the_reason(text: str, sentence: str) -> None:
    with pytest.raises(KithkinError) as caught:
        phrase_keys(text)
    assert caught.value.code == "phrase_invalid"
    assert sentence in caught.value.message
