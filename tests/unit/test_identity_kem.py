"""ML-KEM-768 through our own entry point: Wycheproof's vectors, the keys of a device, what is refused."""

from __future__ import annotations

import gzip
import json
from hashlib import sha3_256
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mlkem

from identity.codec import Reader, Writer
from identity.device import WEEK, decode_device_keys, encode_device_keys, new_device, rotate_prekeys
from identity.errors import DecodeError
from identity.kem import (
    CIPHERTEXT,
    CLASSICAL,
    HYBRID,
    PUBLIC,
    HybridKey,
    Kem,
    KemKey,
    check_prekey,
    installed,
    is_hybrid,
    read_prekey,
    split,
    write_prekey,
)
from identity.keys import AgreementKey
from identity.phrase import new_phrase, phrase_keys
from tests.support.kem import SIMULATED
from tests.support.streams import stream

VECTORS = Path(__file__).parent / "wycheproof" / "mlkem_768.json.gz"  # up to twelve of each kind, as published
MONDAY = 345_600.0


def cases(kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress(VECTORS.read_bytes()))[kind]
    return found


def here() -> Kem:
    kem = installed()
    assert kem is not None, "the locked version of `cryptography` has ML-KEM-768"
    return kem


def test_keys_and_decapsulation_agree_with_wycheproof() -> None:
    """Its invalid cases are seeds and ciphertexts of a wrong length; one with a flipped bit gives another secret."""
    seen = {"valid": 0, "invalid": 0}
    for case in cases("decapsulate"):
        seed, ciphertext = bytes.fromhex(case["seed"]), bytes.fromhex(case["c"])
        seen[case["result"]] += 1
        if case["result"] == "invalid":
            with pytest.raises((DecodeError, ValueError)):
                here().decapsulate(seed, ciphertext)
            continue
        key = KemKey.from_seed(here(), seed)
        assert sha3_256(key.public).hexdigest() == case["ek"], case["tcId"]
        assert here().decapsulate(seed, ciphertext).hex() == case["K"], case["tcId"]
    assert seen == {"valid": 51, "invalid": 32}


def test_public_keys_that_are_none_are_refused_as_wycheproof_says() -> None:
    """By the library where something is sealed, and by the check that needs no library, at the door."""
    p = AgreementKey.generate(stream("p")).public
    seen = {"valid": 0, "invalid": 0}
    for case in cases("encapsulate"):
        public = bytes.fromhex(case["ek"])
        seen[case["result"]] += 1
        if case["result"] == "valid":
            ss, ciphertext = here().encapsulate(public, stream("unused"))
            assert (len(ss), len(ciphertext)) == (32, CIPHERTEXT)
            assert check_prekey(p + public) == p + public
            continue
        with pytest.raises(DecodeError):
            here().encapsulate(public, stream("unused"))
        with pytest.raises(DecodeError):
            check_prekey(p + public)
    assert seen == {"valid": 15, "invalid": 44}


@pytest.mark.parametrize("kem", [here(), SIMULATED], ids=["library", "simulator"])
def test_what_is_encapsulated_for_a_key_opens_with_its_seed_alone(kem: Kem) -> None:
    key, other = KemKey.generate(kem, stream("key")), KemKey.generate(kem, stream("other"))
    ss, ciphertext = kem.encapsulate(key.public, stream("draw"))
    assert kem.decapsulate(key.seed, ciphertext) == ss
    assert kem.decapsulate(other.seed, ciphertext) != ss
    assert kem.encapsulate(key.public, stream("again"))[0] != ss
    assert (len(key.public), len(key.seed)) == (PUBLIC, 64) and key.seed.hex() not in repr(key)
    for wrong in (b"", ciphertext[1:], ciphertext + b"\0"):
        with pytest.raises(DecodeError):
            kem.decapsulate(key.seed, wrong)


def test_a_platform_without_ml_kem_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        @staticmethod
        def from_seed_bytes(seed: bytes) -> None:
            raise UnsupportedAlgorithm("ML-KEM-768 is not supported by this OpenSSL")

    monkeypatch.setattr(mlkem, "MLKEM768PrivateKey", Absent)
    installed.cache_clear()
    try:
        assert installed() is None
        monkeypatch.delattr(mlkem, "MLKEM768PrivateKey")
        installed.cache_clear()
        assert installed() is None
    finally:
        monkeypatch.undo()
        installed.cache_clear()
    assert installed() is not None


def test_prekeys_have_one_of_two_lengths() -> None:
    with_k, without = HybridKey.generate(SIMULATED, stream("a")), HybridKey.generate(None, stream("b"))
    assert (len(with_k.public), len(without.public)) == (HYBRID, CLASSICAL) == (1216, 32)
    assert (is_hybrid(with_k.public), is_hybrid(without.public)) == (True, False)
    assert split(with_k.public) == (with_k.agreement.public, with_k.public[32:]) and split(without.public)[1] == b""
    for public in (with_k.public, without.public):
        assert read_prekey(Reader(write_prekey(Writer(), public).finish())) == public
    for size in (0, 31, 33, 1184, 1215, 1217):
        with pytest.raises(DecodeError):
            read_prekey(Reader(Writer().buffer(bytes(size)).finish()))


def test_a_prekey_with_a_low_order_p_is_refused_at_the_door() -> None:
    k = KemKey.generate(here(), stream("k")).public
    for low in (bytes(32), b"\1" + bytes(31)):
        with pytest.raises(DecodeError):
            check_prekey(low + k)


def test_k_rotates_with_p_and_is_erased_with_it() -> None:
    rng = stream("rotation")
    keys = new_device(rng, MONDAY, SIMULATED)
    first = keys.prekey
    for week in range(1, 9):
        keys = rotate_prekeys(keys, rng, MONDAY + week * WEEK, SIMULATED)
    assert keys.prekeys[0].key == first and len({p.key.public for p in keys.prekeys}) == 9
    keys = rotate_prekeys(keys, rng, MONDAY + 9 * WEEK, SIMULATED)
    assert first not in [p.key for p in keys.prekeys]
    assert first.kem is not None and first.kem.seed not in encode_device_keys(keys)
    assert decode_device_keys(encode_device_keys(keys)) == keys


def test_k_comes_and_goes_with_the_platform() -> None:
    rng = stream("platform")
    keys = new_device(rng, MONDAY)
    assert keys.prekey.kem is None
    moved = rotate_prekeys(keys, rng, MONDAY, SIMULATED)
    assert moved.prekey.kem is not None and moved.prekey.agreement == keys.prekey.agreement
    assert rotate_prekeys(moved, rng, MONDAY, SIMULATED) is moved
    back = rotate_prekeys(moved, rng, MONDAY)
    assert back.prekey == keys.prekey and decode_device_keys(encode_device_keys(back)) == back


def test_the_phrase_gives_the_same_k_each_time_and_p_without_it() -> None:
    words = new_phrase(stream("phrase"))
    one, other, classical = phrase_keys(words, here()), phrase_keys(words, here()), phrase_keys(words)
    assert one == other and one.recovery.kem is not None
    assert classical.recovery == HybridKey(one.recovery.agreement)
