"""Grants: who opens a slot, who does not, what travels once, and what a relay learns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt.log.entry import MAX_GRANT
from crdt.space.grant import (
    MAX_CARRIERS,
    MAX_SLOTS,
    EpochGrant,
    Shared,
    Slot,
    decode_grant,
    encode_grant,
    make_grant,
    open_grant,
    open_recovery,
    recovery_sender,
)
from identity.errors import DecodeError
from identity.kem import CIPHERTEXT, HybridKey, Kem, KemKey, installed
from identity.keys import AgreementKey, Random
from tests.support.kem import SIMULATED
from tests.support.streams import stream
from tests.support.vectors import matches

SECRET, Z, CORE, SPACE = (bytes((k,)) * 32 for k in (1, 2, 3, 4))
SENDER, PHONE, DESK, STRANGER = (AgreementKey.generate(stream(f"key {k}")) for k in range(4))
PHONE_P, DESK_P, SENDER_P, OTHER_P, RECOVERY = (HybridKey.generate(SIMULATED, stream(f"pair {k}")) for k in range(5))
OLD_P = HybridKey.generate(None, stream("a platform without"))
KNOWN = [STRANGER.public, SENDER.public]


def made(
    seed: str = "grant",
    recovery: bytes | None = None,
    *,
    seq: int = 5,
    phone: HybridKey = PHONE_P,
    shared: Shared | None = None,
    kem: Kem | None = SIMULATED,
) -> bytes:
    slots = [(PHONE.public, phone.public), (DESK.public, DESK_P.public), (SENDER.public, SENDER_P.public)]
    return make_grant(stream(seed), SECRET, Z, CORE, seq, SPACE, SENDER, slots, recovery, kem=kem, shared=shared)


def opens(
    grant: bytes | EpochGrant,
    device: AgreementKey = PHONE,
    key: HybridKey = PHONE_P,
    seq: int = 5,
    earlier: dict[int, bytes] | None = None,
    kem: Kem | None = SIMULATED,
) -> bool:
    held = earlier or {}
    got = open_grant(grant, CORE, seq, SPACE, device, [OTHER_P, key], KNOWN, kem=kem, earlier=held.get)
    assert got is None or (got.secret, got.z, got.sender) == (SECRET, Z, SENDER.public)
    return got is not None


def kinds(grant: bytes) -> list[int]:
    return sorted(len(slot.kem) for slot in decode_grant(grant).slots)


def test_every_device_opens_its_slot_and_identifies_the_sender() -> None:
    grant = made()
    assert kinds(grant) == [CIPHERTEXT] * 3
    assert opens(grant) and opens(grant, DESK, DESK_P) and opens(grant, SENDER, SENDER_P)


@pytest.mark.parametrize(
    ("core", "seq", "space", "device", "prekey", "sender"),
    [
        (SPACE, 5, SPACE, PHONE, PHONE_P, SENDER),
        (CORE, 6, SPACE, PHONE, PHONE_P, SENDER),
        (CORE, 5, CORE, PHONE, PHONE_P, SENDER),
        (CORE, 5, SPACE, STRANGER, PHONE_P, SENDER),
        (CORE, 5, SPACE, PHONE, DESK_P, SENDER),
        (CORE, 5, SPACE, PHONE, replace(PHONE_P, kem=DESK_P.kem), SENDER),
        (CORE, 5, SPACE, PHONE, replace(PHONE_P, agreement=DESK_P.agreement), SENDER),
        (CORE, 5, SPACE, PHONE, replace(PHONE_P, kem=None), SENDER),
        (CORE, 5, SPACE, PHONE, PHONE_P, STRANGER),
    ],
)
def test_grant_opens_only_with_every_input_right(
    core: bytes, seq: int, space: bytes, device: AgreementKey, prekey: HybridKey, sender: AgreementKey
) -> None:
    assert open_grant(made(), core, seq, space, device, [prekey], [sender.public], kem=SIMULATED) is None


def test_who_breaks_x25519_alone_opens_nothing() -> None:
    """Every secret of X25519 in the attacker's hands, and not the seed of K: what a quantum computer would give."""
    quantum = HybridKey(PHONE_P.agreement, KemKey.generate(SIMULATED, stream("not the seed")))
    impostor = replace(quantum, kem=replace(KemKey.generate(SIMULATED, stream("x")), public=PHONE_P.public[32:]))
    assert not opens(made(), PHONE, quantum) and not opens(made(), PHONE, impostor)


def test_who_breaks_ml_kem_alone_opens_nothing() -> None:
    broken = HybridKey(AgreementKey.generate(stream("not P")), PHONE_P.kem)
    assert not opens(made(), PHONE, broken)


def test_a_device_without_k_is_served_as_before() -> None:
    grant = made(phone=OLD_P)
    assert kinds(grant) == [0, CIPHERTEXT, CIPHERTEXT]
    assert opens(grant, PHONE, OLD_P) and opens(grant, PHONE, OLD_P, kem=None)
    assert opens(grant, DESK, DESK_P) and not opens(grant, DESK, DESK_P, kem=None)


def test_a_platform_without_ml_kem_serves_everybody_as_before() -> None:
    grant = made(kem=None)
    assert kinds(grant) == [0, 0, 0]
    assert opens(grant) and opens(grant, kem=None) and opens(grant, DESK, DESK_P)


def test_a_slot_whose_ciphertext_was_taken_off_does_not_open() -> None:
    grant = decode_grant(made())
    for kem in (b"", bytes(8), bytes(CIPHERTEXT), grant.slots[1].kem):
        assert not opens(
            EpochGrant(grant.e, grant.z, (replace(grant.slots[0], kem=kem), *grant.slots[1:])), *owner(grant, 0)
        )


def owner(grant: EpochGrant, index: int) -> tuple[AgreementKey, HybridKey]:
    """Whose slot that is."""
    lone = EpochGrant(
        grant.e, grant.z, tuple(s if k == index else replace(s, hint=bytes(8)) for k, s in enumerate(grant.slots))
    )
    people = ((PHONE, PHONE_P), (DESK, DESK_P), (SENDER, SENDER_P))
    return next((device, key) for device, key in people if opens(lone, device, key))


def test_a_slot_moved_to_another_index_does_not_open() -> None:
    grant = decode_grant(made())
    for order in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        moved = EpochGrant(grant.e, grant.z, tuple(grant.slots[k] for k in order))
        opened = [opens(moved, *who) for who in ((PHONE, PHONE_P), (DESK, DESK_P), (SENDER, SENDER_P))]
        assert sum(opened) == 1


def test_slots_are_sorted_and_never_repeat_between_grants() -> None:
    first, second = decode_grant(made("one")), decode_grant(made("two"))
    assert first.e != second.e and not set(first.slots) & set(second.slots)
    assert [slot.hint for slot in first.slots] == sorted(slot.hint for slot in first.slots)
    here, there = decode_grant(made("x", seq=5)), decode_grant(made("x", seq=6))
    assert not {slot.hint for slot in here.slots} & {slot.hint for slot in there.slots}


# -- ciphertexts travel once ------------------------------------------------------------------------------------------


def test_a_later_grant_names_the_entry_that_carried_the_ciphertext() -> None:
    shared = Shared().renew(CORE, 1)
    first, later = made("first", shared=shared), made("later", seq=9, shared=shared)
    assert kinds(first) == [CIPHERTEXT] * 3 and kinds(later) == [8, 8, 8]
    assert decode_grant(later).carriers == [5]
    assert opens(later, seq=9, earlier={5: first}) and opens(later, DESK, DESK_P, 9, {5: first})
    assert len(first) - len(later) == 3 * (CIPHERTEXT - 8)


def test_without_the_entry_that_carried_the_ciphertext_nothing_opens() -> None:
    shared = Shared().renew(CORE, 1)
    made("first", shared=shared)
    later = made("later", seq=9, shared=shared)
    another = made("another branch")
    for earlier in ({}, {5: another}, {4: another}, {5: b"no grant"}, {5: later}):
        assert not opens(later, seq=9, earlier=earlier)


def test_a_name_of_a_later_entry_is_never_followed() -> None:
    shared = Shared().renew(CORE, 1)
    first, later = made("first", shared=shared), decode_grant(made("later", seq=9, shared=shared))
    for seq in (9, 10, 1 << 39):
        slots = tuple(replace(slot, kem=seq.to_bytes(8, "little")) for slot in later.slots)
        assert not opens(EpochGrant(later.e, later.z, slots), seq=9, earlier={seq: first})


def test_a_new_k_in_the_week_that_follows_gets_a_ciphertext_of_its_own() -> None:
    shared = Shared().renew(CORE, 1)
    first = made("first", shared=shared)
    fresh = HybridKey.generate(SIMULATED, stream("next week"))
    later = made("later", seq=9, phone=fresh, shared=shared)
    assert kinds(later) == [8, 8, CIPHERTEXT]
    assert opens(later, PHONE, fresh, 9, {5: first}) and not opens(later, PHONE, PHONE_P, 9, {5: first})
    again = made("again", seq=12, phone=fresh, shared=shared)
    assert decode_grant(again).carriers == [5, 9]
    assert opens(again, PHONE, fresh, 12, {5: first, 9: later}) and opens(again, DESK, DESK_P, 12, {5: first})


def test_shared_secrets_are_forgotten_with_the_week_and_with_the_feed() -> None:
    shared = Shared().renew(CORE, 1)
    made(shared=shared)
    assert len(shared.renew(CORE, 1)) == 3
    assert len(shared.renew(CORE, 2)) == 0
    made(shared=shared)
    assert len(shared.renew(SPACE, 2)) == 0
    assert SECRET.hex() not in repr(shared) and "ss=" not in repr(shared.find(PHONE.public + PHONE_P.public))


def test_a_grant_names_at_most_sixteen_earlier_entries() -> None:
    shared = Shared().renew(CORE, 1)
    people = [
        (AgreementKey.generate(stream(f"d{k}")), HybridKey.generate(SIMULATED, stream(f"p{k}"))) for k in range(18)
    ]
    grants = {}
    for seq, (device, key) in enumerate(people):
        slots = [(device.public, key.public)]
        grants[seq] = make_grant(stream(seq), SECRET, Z, CORE, seq, SPACE, SENDER, slots, kem=SIMULATED, shared=shared)
    everybody = [(device.public, key.public) for device, key in people]
    grant = make_grant(stream("all"), SECRET, Z, CORE, 30, SPACE, SENDER, everybody, kem=SIMULATED, shared=shared)
    assert kinds(grant) == [8] * MAX_CARRIERS + [CIPHERTEXT] * 2
    assert all(opens(grant, device, key, 30, grants) for device, key in people)
    named = tuple(Slot(bytes(8), seq.to_bytes(8, "little"), bytes(48)) for seq in range(MAX_CARRIERS + 1))
    with pytest.raises(DecodeError, match="16"):
        decode_grant(encode_grant(EpochGrant(bytes(32), bytes(48), named)))


# -- hostile keys -----------------------------------------------------------------------------------------------------


def test_a_stolen_prekey_alone_forges_no_sender() -> None:
    """A thief of P and K, without D of either side, cannot even find the hint that a reader looks for."""
    slots = [(PHONE.public, PHONE_P.public)]
    forged = decode_grant(make_grant(stream("f"), SECRET, Z, CORE, 5, SPACE, STRANGER, slots, kem=SIMULATED))
    genuine = decode_grant(make_grant(stream("g"), SECRET, Z, CORE, 5, SPACE, SENDER, slots, kem=SIMULATED))
    spliced = EpochGrant(forged.e, forged.z, (replace(forged.slots[0], hint=genuine.slots[0].hint),))
    assert open_grant(spliced, CORE, 5, SPACE, PHONE, [PHONE_P], [SENDER.public], kem=SIMULATED) is None


@pytest.mark.parametrize("kem", [SIMULATED, installed()], ids=["simulator", "library"])
def test_invalid_keys_of_one_device_leave_the_slots_of_others(kem: Kem) -> None:
    desk = HybridKey.generate(kem, stream("desk"))
    slots = [
        (bytes(32), PHONE_P.public),
        (PHONE.public, bytes(32)),
        (PHONE.public, PHONE_P.public[:32] + b"\xff" * 1184),
        (PHONE.public, PHONE_P.public[:40]),
        (PHONE.public, b""),
        (DESK.public, desk.public),
    ]
    grant = make_grant(stream("g"), SECRET, Z, CORE, 5, SPACE, SENDER, slots, kem=kem)
    assert len(decode_grant(grant).slots) == 1
    assert opens(grant, DESK, desk, kem=kem)
    evil = encode_grant(replace(decode_grant(grant), e=bytes(32)))
    assert not opens(evil, DESK, desk, kem=kem)


def test_a_ciphertext_made_for_somebody_else_opens_nothing() -> None:
    grant = decode_grant(made())
    for k in range(3):
        swapped = replace(grant.slots[k], kem=grant.slots[(k + 1) % 3].kem)
        slots = (*grant.slots[:k], swapped, *grant.slots[k + 1 :])
        assert not opens(EpochGrant(grant.e, grant.z, slots), *owner(grant, k))


# -- recovery ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kem", [SIMULATED, None], ids=["hybrid", "classical"])
def test_phrase_opens_the_recovery_slot_without_knowing_a_device(kem: Kem | None) -> None:
    grant = made(recovery=RECOVERY.public, kem=kem)
    got = open_recovery(grant, CORE, 5, SPACE, RECOVERY, kem=kem)
    assert got is not None and (got.secret, got.z, got.sender) == (SECRET, Z, None)
    assert len(set(map(len, (slot.kem for slot in decode_grant(grant).slots)))) == 1  # it looks like the others
    assert recovery_sender(grant, CORE, 5, SPACE, RECOVERY, KNOWN, kem=kem) == SENDER.public
    assert recovery_sender(grant, CORE, 5, SPACE, RECOVERY, [STRANGER.public], kem=kem) is None
    assert open_recovery(grant, CORE, 5, SPACE, OTHER_P, kem=kem) is None
    assert open_recovery(made(kem=kem), CORE, 5, SPACE, RECOVERY, kem=kem) is None
    assert opens(grant, kem=kem)


def test_the_recovery_slot_needs_the_phrases_k() -> None:
    """Otherwise the personal space, contacts and names in it, would open to whoever breaks X25519."""
    grant = made(recovery=RECOVERY.public)
    assert open_recovery(grant, CORE, 5, SPACE, replace(RECOVERY, kem=None), kem=SIMULATED) is None
    assert open_recovery(grant, CORE, 5, SPACE, replace(RECOVERY, kem=OTHER_P.kem), kem=SIMULATED) is None


def test_the_recovery_slot_carries_its_ciphertext_each_time() -> None:
    shared = Shared().renew(CORE, 1)
    made("first", RECOVERY.public, shared=shared)
    later = made("later", RECOVERY.public, seq=9, shared=shared)
    assert kinds(later) == [8, 8, 8, CIPHERTEXT]
    assert open_recovery(later, CORE, 9, SPACE, RECOVERY, kem=SIMULATED) is not None


# -- bytes ------------------------------------------------------------------------------------------------------------


def test_grant_over_its_bounds_is_refused() -> None:
    many = [(PHONE.public, PHONE_P.public)] * 65
    with pytest.raises(ValueError, match="more devices"):
        make_grant(stream("g"), SECRET, Z, CORE, 0, SPACE, SENDER, many, kem=SIMULATED)
    with pytest.raises(ValueError, match="more devices"):
        make_grant(stream("g"), SECRET, Z, CORE, 0, SPACE, SENDER, many[:64], RECOVERY.public, kem=SIMULATED)
    whole = make_grant(stream("g"), SECRET, Z, CORE, 0, SPACE, SENDER, many[:64], kem=SIMULATED)
    assert len(decode_grant(whole).slots) == MAX_SLOTS == 64 and len(whole) <= MAX_GRANT
    classical, named = b"\x00" + bytes(48), b"\x02" + (1 << 40).to_bytes(8, "little") + bytes(48)
    for data in (
        b"",
        bytes(80),
        bytes(80) + b"\x01",
        bytes(80) + b"\x01" + bytes(8) + classical + b"\0",
        bytes(80) + b"\x01" + bytes(8) + b"\x03" + bytes(48),
        bytes(80) + b"\x01" + bytes(8) + b"\x01" + bytes(1087 + 48),
        bytes(80) + b"\x01" + bytes(8) + named,
        bytes(80) + b"\x41" + 65 * (bytes(8) + classical),
        bytes(80) + b"\x02" + b"\xff" * 8 + classical + bytes(8) + classical,
    ):
        with pytest.raises(DecodeError):
            decode_grant(data)


class Recorded:
    """The library's ML-KEM, but with the draws of a vector: another implementation needs the same bytes."""

    def __init__(self, ss: bytes, ciphertext: bytes) -> None:
        self._made = ss, ciphertext
        self._kem = installed()

    def public(self, seed: bytes) -> bytes:
        assert self._kem is not None
        return self._kem.public(seed)

    def encapsulate(self, public: bytes, rng: Random) -> tuple[bytes, bytes]:
        return self._made

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        assert self._kem is not None
        return self._kem.decapsulate(seed, ciphertext)


def test_grant_bytes_equal_the_recorded_vectors() -> None:
    """Two grants of one feed: the first carries the ciphertext (of Wycheproof), the second names it; a device without K
    beside it."""
    from tests.unit.test_identity_kem import cases

    case = next(case for case in cases("decapsulate") if case["result"] == "valid" and case["tcId"] > 1)
    kem = Recorded(bytes.fromhex(case["K"]), bytes.fromhex(case["c"]))
    phone = HybridKey(PHONE_P.agreement, KemKey.from_seed(kem, bytes.fromhex(case["seed"])))
    slots = [(PHONE.public, phone.public), (DESK.public, OLD_P.public)]
    shared = Shared().renew(CORE, 1)
    vectors = []
    for seq, seed in ((5, "grant"), (6, "later")):
        recovery = RECOVERY.public[:32] if seq == 5 else None
        grant = make_grant(stream(seed), SECRET, Z, CORE, seq, SPACE, SENDER, slots, recovery, kem=kem, shared=shared)
        vectors.append({"E": SECRET.hex(), "Z": Z.hex(), "core": CORE.hex(), "seq": seq, "space": SPACE.hex()})
        vectors[-1] |= {
            "sender D secret": SENDER.secret.hex(),
            "device D secret": PHONE.secret.hex(),
            "device P secret": phone.agreement.secret.hex(),
            "device K seed": case["seed"],
            "ss": case["K"],
            "device without K: D secret": DESK.secret.hex(),
            "device without K: P secret": OLD_P.agreement.secret.hex(),
            "grant": grant.hex(),
        }
        if recovery is not None:
            vectors[-1]["recovery secret"] = RECOVERY.agreement.secret.hex()
    first, later = matches("space-grant", vectors)
    grants = {kept["seq"]: bytes.fromhex(kept["grant"]) for kept in (first, later)}
    for kept in (first, later):
        data = grants[kept["seq"]]
        assert encode_grant(decode_grant(data)) == data
        sender = AgreementKey.from_secret(bytes.fromhex(kept["sender D secret"]))
        device = AgreementKey.from_secret(bytes.fromhex(kept["device D secret"]))
        prekey = HybridKey(
            AgreementKey.from_secret(bytes.fromhex(kept["device P secret"])),
            KemKey.from_seed(kem, bytes.fromhex(kept["device K seed"])),
        )
        got = open_grant(
            data, CORE, kept["seq"], SPACE, device, [prekey], [sender.public], kem=installed(), earlier=grants.get
        )
        assert got is not None and got.secret.hex() == kept["E"] and got.z.hex() == kept["Z"]
    assert open_recovery(grants[5], CORE, 5, SPACE, HybridKey(RECOVERY.agreement)) is not None
