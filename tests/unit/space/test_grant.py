"""Grants: who opens a slot, who does not, and what a relay learns."""

from __future__ import annotations

import pytest

from crdt.space.grant import (
    HINT,
    MAX_SLOTS,
    SLOT,
    EpochGrant,
    decode_grant,
    encode_grant,
    make_grant,
    open_grant,
    open_recovery,
    recovery_sender,
)
from identity.errors import DecodeError
from identity.keys import AgreementKey
from tests.support.streams import stream
from tests.support.vectors import matches

SECRET, Z, CORE, SPACE = (bytes((k,)) * 32 for k in (1, 2, 3, 4))
KEYS = [AgreementKey.generate(stream(f"key {k}")) for k in range(20)]
SENDER, PHONE, PHONE_P, DESK, DESK_P, STRANGER, RECOVERY = KEYS[:7]


def made(seed: str = "grant", recovery: bytes | None = None) -> bytes:
    slots = [(PHONE.public, PHONE_P.public), (DESK.public, DESK_P.public), (SENDER.public, KEYS[7].public)]
    return make_grant(stream(seed), SECRET, Z, CORE, 5, SPACE, SENDER, slots, recovery)


def test_every_device_opens_its_slot_and_identifies_the_sender() -> None:
    grant = made()
    known = [STRANGER.public, SENDER.public]
    for device, prekey in ((PHONE, PHONE_P), (DESK, DESK_P), (SENDER, KEYS[7])):
        got = open_grant(grant, CORE, 5, SPACE, device, [KEYS[8], prekey], known)
        assert got is not None and (got.secret, got.z, got.sender) == (SECRET, Z, SENDER.public)


@pytest.mark.parametrize(
    ("core", "seq", "space", "device", "prekey", "sender"),
    [
        (SPACE, 5, SPACE, PHONE, PHONE_P, SENDER),
        (CORE, 6, SPACE, PHONE, PHONE_P, SENDER),
        (CORE, 5, CORE, PHONE, PHONE_P, SENDER),
        (CORE, 5, SPACE, STRANGER, PHONE_P, SENDER),
        (CORE, 5, SPACE, PHONE, DESK_P, SENDER),
        (CORE, 5, SPACE, PHONE, PHONE_P, STRANGER),
    ],
)
def test_grant_opens_only_with_every_input_right(
    core: bytes, seq: int, space: bytes, device: AgreementKey, prekey: AgreementKey, sender: AgreementKey
) -> None:
    assert open_grant(made(), core, seq, space, device, [prekey], [sender.public]) is None


def test_a_slot_moved_to_another_index_does_not_open() -> None:
    grant = decode_grant(made())
    for order in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        moved = EpochGrant(grant.e, tuple(grant.slots[k] for k in order))
        opened = [
            open_grant(moved, CORE, 5, SPACE, device, [prekey], [SENDER.public]) is not None
            for device, prekey in ((PHONE, PHONE_P), (DESK, DESK_P), (SENDER, KEYS[7]))
        ]
        assert sum(opened) == 1


def test_slots_are_sorted_and_never_repeat_between_grants() -> None:
    first, second = decode_grant(made("one")), decode_grant(made("two"))
    assert first.e != second.e and not set(first.slots) & set(second.slots)
    assert [slot[:HINT] for slot in first.slots] == sorted(slot[:HINT] for slot in first.slots)
    here = make_grant(stream("x"), SECRET, Z, CORE, 5, SPACE, SENDER, [(PHONE.public, PHONE_P.public)])
    there = make_grant(stream("x"), SECRET, Z, CORE, 6, SPACE, SENDER, [(PHONE.public, PHONE_P.public)])
    assert decode_grant(here).slots[0][:HINT] != decode_grant(there).slots[0][:HINT]


def test_a_stolen_prekey_alone_forges_no_sender() -> None:
    """A thief of P, without D of either side, cannot even find the hint that a reader looks for."""
    slots = [(PHONE.public, PHONE_P.public)]
    forged = decode_grant(make_grant(stream("f"), SECRET, Z, CORE, 5, SPACE, STRANGER, slots))
    genuine = decode_grant(make_grant(stream("g"), SECRET, Z, CORE, 5, SPACE, SENDER, slots))
    spliced = EpochGrant(forged.e, (genuine.slots[0][:HINT] + forged.slots[0][HINT:],))
    assert open_grant(spliced, CORE, 5, SPACE, PHONE, [PHONE_P], [SENDER.public]) is None


def test_invalid_keys_of_one_device_leave_the_slots_of_others() -> None:
    slots = [(bytes(32), PHONE_P.public), (PHONE.public, bytes(32)), (DESK.public, DESK_P.public)]
    grant = make_grant(stream("g"), SECRET, Z, CORE, 0, SPACE, SENDER, slots)
    assert len(decode_grant(grant).slots) == 1
    assert open_grant(grant, CORE, 0, SPACE, DESK, [DESK_P], [bytes(32), SENDER.public]) is not None
    evil = encode_grant(EpochGrant(bytes(32), decode_grant(grant).slots))
    assert open_grant(evil, CORE, 0, SPACE, DESK, [DESK_P], [SENDER.public]) is None


def test_phrase_opens_the_recovery_slot_without_knowing_a_device() -> None:
    grant = made(recovery=RECOVERY.public)
    got = open_recovery(grant, CORE, 5, SPACE, RECOVERY)
    assert got is not None and (got.secret, got.z, got.sender) == (SECRET, Z, None)
    assert {len(slot) for slot in decode_grant(grant).slots} == {SLOT}  # a relay cannot tell it from others
    senders = [STRANGER.public, SENDER.public]
    assert recovery_sender(grant, CORE, 5, SPACE, RECOVERY, senders) == SENDER.public
    assert recovery_sender(grant, CORE, 5, SPACE, RECOVERY, [STRANGER.public]) is None
    assert open_recovery(grant, CORE, 5, SPACE, STRANGER) is None
    assert open_recovery(made(), CORE, 5, SPACE, RECOVERY) is None
    assert open_grant(grant, CORE, 5, SPACE, PHONE, [PHONE_P], [SENDER.public]) is not None


def test_grant_over_its_bounds_is_refused() -> None:
    many = [(PHONE.public, PHONE_P.public)] * 301
    with pytest.raises(ValueError, match="more devices"):
        make_grant(stream("g"), SECRET, Z, CORE, 0, SPACE, SENDER, many)
    whole = decode_grant(make_grant(stream("g"), SECRET, Z, CORE, 0, SPACE, SENDER, many[:300], RECOVERY.public))
    assert len(whole.slots) == MAX_SLOTS == 301
    for data in (
        b"",
        bytes(32),
        bytes(32) + b"\x01",
        bytes(32) + b"\x01" + bytes(SLOT + 1),
        bytes(32) + b"\xfd\x2e\x01" + bytes(302 * SLOT),
        bytes(32) + b"\x02" + b"\xff" * SLOT + bytes(SLOT),
    ):
        with pytest.raises(DecodeError):
            decode_grant(data)


def test_grant_bytes_equal_the_recorded_vectors() -> None:
    grant = made(recovery=RECOVERY.public)
    vector = {
        "E": SECRET.hex(),
        "Z": Z.hex(),
        "core": CORE.hex(),
        "seq": 5,
        "space": SPACE.hex(),
        "sender D secret": SENDER.secret.hex(),
        "device D secret": PHONE.secret.hex(),
        "device P secret": PHONE_P.secret.hex(),
        "recovery secret": RECOVERY.secret.hex(),
        "grant": grant.hex(),
    }
    kept = matches("space-grant", [vector])[0]
    data = bytes.fromhex(kept["grant"])
    assert encode_grant(decode_grant(data)) == data
    sender = AgreementKey.from_secret(bytes.fromhex(kept["sender D secret"]))
    device = AgreementKey.from_secret(bytes.fromhex(kept["device D secret"]))
    prekey = AgreementKey.from_secret(bytes.fromhex(kept["device P secret"]))
    got = open_grant(data, CORE, kept["seq"], SPACE, device, [prekey], [sender.public])
    assert got is not None and got.secret.hex() == kept["E"] and got.z.hex() == kept["Z"]
