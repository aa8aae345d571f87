"""The recovery phrase: 24 words, and the keys that follow from them (`docs/protocol.md`, "Phrase").

32 random bytes are shown as BIP-39 words (English list).  The BIP-39 seed with an empty passphrase gives the root key R
and the recovery keys (X25519, ML-KEM-768).  None is stored: they live on paper and for the moment of use.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

from mnemonic import Mnemonic

from identity.digest import digest
from identity.errors import KithkinError
from identity.kem import SEED, HybridKey, Kem, KemKey
from identity.keys import AgreementKey, Random, SigningKey
from identity.labels import Label

WORDS = 24
ENTROPY = 32
MAX_PHRASE = 1024  # characters; the longest 24 English words take 215


@dataclass(frozen=True, slots=True)
class PhraseKeys:
    """What the phrase gives: the root key R, and the keys (X25519 and ML-KEM) that open recovery slots."""

    root: SigningKey = field(repr=False)
    recovery: HybridKey = field(repr=False)


@lru_cache(maxsize=1)
def word_list() -> Mnemonic:
    """The English BIP-39 list, loaded once."""
    return Mnemonic("english")


def new_phrase(rng: Random) -> str:
    """24 words from 32 random bytes, joined by single spaces."""
    return word_list().to_mnemonic(rng(ENTROPY))


def normal_phrase(text: str) -> str:
    """The phrase as `new_phrase` wrote it, whatever case and spacing a person used.

    Raises KithkinError `phrase_invalid`, which names the place of the first wrong word and never the word.
    """
    if len(text) > MAX_PHRASE:
        raise invalid("That is too long for a recovery phrase.")
    words = unicodedata.normalize("NFKD", text).lower().split()
    if len(words) != WORDS:
        raise invalid(f"A recovery phrase has {WORDS} words; this has {len(words)}.")
    known = word_list().wordlist
    for place, word in enumerate(words, 1):
        if word not in known:
            raise invalid(f"Word {place} is not in the word list; check its spelling.")
    phrase = " ".join(words)
    if not word_list().check(phrase):
        raise invalid("These words do not belong together: one is wrong or out of place.")
    return phrase


def phrase_keys(text: str, kem: Kem | None = None) -> PhraseKeys:
    """Root and recovery keys of a phrase.  Takes about a millisecond (PBKDF2).  Raises `phrase_invalid`.

    Without a `kem` the recovery key has no K: it opens what devices without ML-KEM sealed.
    """
    seed = word_list().to_seed(normal_phrase(text), "")
    return PhraseKeys(
        SigningKey.from_seed(digest(Label.ROOT, seed)),
        HybridKey(
            AgreementKey.from_secret(digest(Label.RECOVER, seed)),
            KemKey.from_seed(kem, digest(Label.RECOVER_KEM, seed, size=SEED)) if kem is not None else None,
        ),
    )


def invalid(sentence: str) -> KithkinError:
    """The error `phrase_invalid` with a sentence for people."""
    return KithkinError("phrase_invalid", sentence)
