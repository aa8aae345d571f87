"""The 24 words as an app asks for them: whether a word or all of them can be right, and which to ask back."""

from __future__ import annotations

import os

from identity.kem import installed
from identity.phrase import WORDS, normal_phrase, phrase_keys, word_list
from sync.service.ids import identity_id

__all__ = ["WORDS", "asked_back", "identity_of", "is_word", "normal_phrase"]

ASKED = 3


def is_word(text: str) -> bool:
    """Whether this is one of the 2,048 words, in any case."""
    return text.strip().lower() in word_list().wordlist


def identity_of(phrase: str) -> str:
    """The identity, as it is shown, that these words belong to.  Raises KithkinError `phrase_invalid`."""
    return identity_id(phrase_keys(phrase, installed()).root.public)


def asked_back() -> tuple[int, ...]:
    """Places (from 1) of the three words that a person is asked for after writing all down, ascending."""
    places = sorted(range(1, WORDS + 1), key=lambda place: os.urandom(8))
    return tuple(sorted(places[:ASKED]))
