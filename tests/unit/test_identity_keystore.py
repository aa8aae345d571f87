"""The keystore: a wrong passphrase and a damaged file are told apart, and a file is replaced whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from identity.errors import KithkinError
from identity.keystore import (
    CHECKSUM,
    Cost,
    Keystore,
    PassphraseSlot,
    change_keystore,
    create_keystore,
    decode_keystore,
    encode_keystore,
    open_keystore,
)
from identity.keystore_file import read_keystore, replace_keystore
from tests.support.streams import stream

KEY = b"k" * 32
RING = b"s" * 32
CHEAP = Cost(1, 64)


def code_of(data: bytes, passphrase: str | None = None, ring: bytes | None = None) -> str:
    with pytest.raises(KithkinError) as caught:
        open_keystore(data, passphrase=passphrase, keyring_secret=ring)
    return caught.value.code


def test_keystore_opens_with_its_passphrase_only() -> None:
    data = create_keystore(KEY, rng=stream(1), passphrase="horse", cost=CHEAP)
    assert open_keystore(data, passphrase="horse") == KEY
    assert code_of(data, "Horse") == "wrong_passphrase"
    assert code_of(data) == code_of(data, "") == "no_passphrase"
    assert KEY not in data and b"horse" not in data


def test_passphrase_is_equal_in_both_unicode_forms() -> None:
    data = create_keystore(KEY, rng=stream(1), passphrase="caf\u00e9", cost=CHEAP)
    assert open_keystore(data, passphrase="cafe\u0301") == KEY


def test_damaged_keystore_is_reported_as_damaged_with_the_right_passphrase() -> None:
    data = create_keystore(KEY, rng=stream(1), passphrase="horse", keyring_secret=RING, cost=CHEAP)
    for at in range(len(data)):
        bent = bytearray(data)
        bent[at] ^= 0x10
        assert code_of(bytes(bent), "horse") == "keystore_corrupt"
    for end in range(len(data)):
        assert code_of(data[:end], "horse") == "keystore_corrupt"
    assert code_of(data + b"\0", "horse") == code_of(bytes(5000), "horse") == "keystore_corrupt"


@pytest.mark.parametrize("cost", [Cost(0, 64), Cost(21, 64), Cost(3, 7), Cost(3, 2**21 + 1), Cost(2**50, 2**50)])
def test_keystore_with_an_excessive_cost_is_refused_without_running_it(cost: Cost) -> None:
    slot = PassphraseSlot(bytes(16), cost, bytes(24), bytes(48))
    assert code_of(encode_keystore(Keystore(slot, None)), "horse") == "keystore_corrupt"


def test_keyring_secret_opens_a_keystore_alone_or_beside_a_passphrase() -> None:
    both = create_keystore(KEY, rng=stream(1), passphrase="horse", keyring_secret=RING, cost=CHEAP)
    assert open_keystore(both, keyring_secret=RING) == open_keystore(both, passphrase="horse") == KEY
    assert open_keystore(both, passphrase="horse", keyring_secret=bytes(32)) == KEY
    assert code_of(both, ring=bytes(32)) == "wrong_passphrase"
    alone = create_keystore(KEY, rng=stream(1), keyring_secret=RING)
    assert open_keystore(alone, keyring_secret=RING) == KEY
    assert code_of(alone, "horse") == code_of(alone) == "no_passphrase"


def test_keystore_without_passphrase_and_keyring_is_refused() -> None:
    for passphrase in (None, ""):
        with pytest.raises(KithkinError) as caught:
            create_keystore(KEY, rng=stream(1), passphrase=passphrase, cost=CHEAP)
        assert caught.value.code == "no_passphrase"
    data = create_keystore(KEY, rng=stream(1), passphrase="horse", cost=CHEAP)
    with pytest.raises(KithkinError):
        change_keystore(data, KEY, rng=stream(2), drop_passphrase=True)


def test_changing_the_passphrase_keeps_the_key_and_the_other_slot() -> None:
    data = create_keystore(KEY, rng=stream(1), passphrase="horse", keyring_secret=RING, cost=CHEAP)
    changed = change_keystore(data, KEY, rng=stream(2), passphrase="battery", cost=CHEAP)
    assert open_keystore(changed, passphrase="battery") == open_keystore(changed, keyring_secret=RING) == KEY
    assert code_of(changed, "horse") == "wrong_passphrase"
    without = change_keystore(changed, KEY, rng=stream(3), drop_keyring=True)
    assert code_of(without, ring=RING) == "no_passphrase" and open_keystore(without, passphrase="battery") == KEY


def test_new_passphrase_gets_at_least_the_default_cost() -> None:
    data = create_keystore(KEY, rng=stream(1), passphrase="horse", cost=CHEAP)
    slot = decode_keystore(change_keystore(data, KEY, rng=stream(2), passphrase="battery")).passphrase
    assert slot is not None and slot.cost == Cost(3, 64 * 1024)


def test_keystore_file_is_private_and_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "keystore"
    replace_keystore(path, b"one")
    (tmp_path / "keystore.new").write_bytes(b"left by a crash")
    replace_keystore(path, b"two")
    assert read_keystore(path) == b"two" and [p.name for p in tmp_path.iterdir()] == ["keystore"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unreadable_keystore_files_raise_their_own_error_codes(tmp_path: Path) -> None:
    def code(path: Path) -> str:
        with pytest.raises(KithkinError) as caught:
            read_keystore(path)
        return caught.value.code

    (tmp_path / "long").write_bytes(bytes(10_000))
    assert code(tmp_path / "none") == "profile_not_found"
    assert code(tmp_path) == "profile_unreadable"
    assert code(tmp_path / "long") == "keystore_corrupt"
    assert code(tmp_path / "long" / "below") == "profile_unreadable"
    assert CHECKSUM == 16
