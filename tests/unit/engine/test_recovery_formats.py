"""Recovery: the copy that contacts keep, the record in the DHT, and the messages beside them; vectors and bad input."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.errors import DecodeError
from identity.kem import HybridKey, installed
from identity.keys import AgreementKey, SigningKey
from identity.phrase import new_phrase, phrase_keys
from identity.recovery import (
    SLOTS,
    STEP,
    copy_counter,
    drop_slot,
    open_copy,
    open_record,
    seal_copy,
    seal_record,
)
from identity.statement import root_certificate
from sync.account.recovery_copy import (
    CopiedChat,
    CopiedContact,
    CopiedDevice,
    RecoveryCopy,
    decode_copy,
    encode_copy,
    fitted,
)
from sync.engine.dialling import Whereabouts
from sync.engine.recovery.messages import decode_holder, decode_rejoin, encode_holder, encode_rejoin
from tests.support.vectors import matches

WHERE = Whereabouts(1_790_000_000_000, (b"\x01" * 32, b"\x02" * 32), ("192.0.2.7:49737",))
W = SigningKey.from_seed(b"\x07" * 32).public
ROOT, DEVICE = SigningKey.from_seed(b"\x0a" * 32), SigningKey.from_seed(b"\x0b" * 32)
AGREEMENT = AgreementKey.from_secret(b"\x0c" * 32)
CERTIFICATE = root_certificate(ROOT, DEVICE, AGREEMENT.public, created=7, generation=7)
RECOVERY = HybridKey(AgreementKey.from_secret(b"\x0d" * 32))
COPY = RecoveryCopy(
    7,
    "about me",
    (CopiedContact(b"\x21" * 32, "", "Bob", False, True, b"\x22" * 32, (b"one",), ((b"\x23" * 32, b"place"),)),),
    (
        CopiedChat(b"\x22" * 32, "direct", "", bytes(32), b"\x21" * 32, b"\x24" * 32, (W,)),
        CopiedChat(b"\x25" * 32, "group", "Trip", W, b"\x21" * 32, b"\x24" * 32, (W,), b"\x26" * 32),
    ),
    b"\x25" * 32,
    b"\x26" * 32,
    (CopiedDevice("phone", CERTIFICATE.encoded, W, b"place"),),
    3,
)


def rng(size: int) -> bytes:
    return Random(1).randbytes(size)


def test_formats_match_their_vectors() -> None:
    slot = drop_slot(RECOVERY.public, 3)
    holder = encode_holder(CERTIFICATE.device, [CERTIFICATE], WHERE)
    held = matches(
        "recovery",
        {
            "recovery": RECOVERY.public.hex(),
            "record key": slot.signing.public.hex(),
            "record secret": slot.secret.hex(),
            "holder": holder.hex(),
            "record": seal_record(slot, rng, holder).hex(),
            "contents": encode_copy(COPY).hex(),
            "copy": seal_copy(RECOVERY.public, AGREEMENT, 9, encode_copy(COPY), rng).hex(),
            "rejoin": encode_rejoin(b"\x05" * 32, W, b"\x03" * 32, [(b"\x04" * 32, b"\x06" * 64)]).hex(),
        },
    )
    assert open_record(slot, bytes.fromhex(held["record"])) == holder
    assert decode_holder(holder) == (CERTIFICATE.device, [CERTIFICATE], WHERE)
    counter, maker, text = open_copy(bytes.fromhex(held["copy"]), RECOVERY)
    assert (counter, maker, decode_copy(text)) == (9, AGREEMENT.public, COPY)
    assert decode_rejoin(bytes.fromhex(held["rejoin"])) == (
        b"\x05" * 32,
        W,
        b"\x03" * 32,
        {b"\x04" * 32: b"\x06" * 64},
    )


def test_each_record_has_a_key_and_a_secret_of_its_own() -> None:
    slots = [drop_slot(RECOVERY.public, index) for index in range(SLOTS)]
    assert len({slot.signing.public for slot in slots} | {slot.secret for slot in slots}) == 2 * SLOTS
    with pytest.raises(ValueError, match="eight"):
        drop_slot(RECOVERY.public, SLOTS)
    sealed = seal_record(slots[1], rng, b"who")
    assert len(sealed) <= 1000
    with pytest.raises(DecodeError):
        open_record(slots[2], sealed)


def test_a_copy_opens_with_the_words_alone_and_says_its_size_in_steps() -> None:
    phrase = phrase_keys(new_phrase(rng), installed())
    other = phrase_keys(new_phrase(lambda size: b"\x05" * size), installed())
    sealed = seal_copy(phrase.recovery.public, AGREEMENT, 3, b"contacts", rng, installed())
    longer = seal_copy(phrase.recovery.public, AGREEMENT, 3, b"contacts" * 100, rng, installed())
    assert copy_counter(sealed) == 3 and len(sealed) == len(longer)
    assert open_copy(sealed, phrase.recovery, installed())[2] == b"contacts"
    for wrong in (other.recovery, HybridKey(phrase.recovery.agreement)):
        with pytest.raises(DecodeError):
            open_copy(sealed, wrong, installed())
    with pytest.raises(ValueError, match="too long"):
        seal_copy(phrase.recovery.public, AGREEMENT, 3, bytes(256 * 1024), rng, installed())


def test_a_bit_flipped_in_any_region_of_a_copy_is_refused() -> None:
    sealed = seal_copy(RECOVERY.public, AGREEMENT, 9, encode_copy(COPY), rng)
    for at in (0, 1, 2, 12, 44, 75, 80, len(sealed) - 1):
        with pytest.raises(DecodeError):
            open_copy(sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :], RECOVERY)
    for cut in (sealed[:-1], sealed + b"\0", sealed[:60], sealed[:-STEP], b""):
        with pytest.raises(DecodeError):
            open_copy(cut, RECOVERY)


DECODERS: list[Callable[[bytes], object]] = [
    decode_holder,
    decode_rejoin,
    decode_copy,
    copy_counter,
    lambda data: open_copy(data, RECOVERY),
    lambda data: open_record(drop_slot(RECOVERY.public, 0), data),
]


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.binary(max_size=400))
def test_any_bytes_decode_or_raise_decode_error(decode: Callable[[bytes], object], data: bytes) -> None:
    for given_bytes in (data, b"\x00\x01" + data):
        try:
            decode(given_bytes)
        except DecodeError:
            continue


def contact(number: int, *, size: int, blocked: bool = False) -> CopiedContact:
    one, space = number.to_bytes(2, "big") * 16, number.to_bytes(2, "big") * 8 + bytes(16)
    return CopiedContact(one, "", f"contact {number}", blocked, False, space, (bytes(size),), ((one, bytes(100)),))


def direct(of: CopiedContact) -> CopiedChat:
    return CopiedChat(of.space, "direct", "", bytes(32), of.identity, bytes(32), (W,))


def test_what_is_too_much_for_a_copy_leaves_out_what_was_quiet_longest() -> None:
    contacts = [contact(number, size=300, blocked=number == 9) for number in range(1, 11)]
    copy = RecoveryCopy(7, "", tuple(contacts), tuple(map(direct, contacts)))
    latest = {one.space: number for number, one in enumerate(contacts, 1)}
    whole = len(encode_copy(copy))
    assert fitted(copy, latest, whole) is copy
    # First the details of whoever was quiet longest, and of the blocked one; nobody is missing.
    some = fitted(copy, latest, whole - 500)
    assert [one.identity for one in some.contacts if not one.statements] == [contacts[0].identity, contacts[8].identity]
    assert (len(some.contacts), len(some.chats), some.left) == (10, 10, 0)
    # Then people with their chats, the blocked one first.
    few = fitted(copy, latest, 1500)
    assert [latest[one.space] for one in few.contacts] == [5, 6, 7, 8, 10] and few.left == 10
    assert [one.space for one in few.chats] == [one.space for one in few.contacts]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 2000), st.booleans(), st.integers(0, 99)), max_size=30),
    groups=st.integers(0, 20),
    room=st.integers(200, 20_000),
)
def test_a_copy_fits_whatever_there_is_and_counts_what_it_leaves_out(
    sizes: list[tuple[int, bool, int]], groups: int, room: int
) -> None:
    contacts = [contact(number, size=size, blocked=blocked) for number, (size, blocked, _) in enumerate(sizes)]
    chats = [direct(one) for one in contacts]
    chats += [
        CopiedChat(bytes([n]) * 32, "group", "title", W, bytes(32), bytes(32), (W,)) for n in range(100, 100 + groups)
    ]
    copy = RecoveryCopy(7, "", tuple(contacts), tuple(sorted(chats, key=lambda one: one.space)))
    latest = {one.space: at for one, (_, _, at) in zip(contacts, sizes, strict=True)}
    found = fitted(copy, latest, room)
    assert len(encode_copy(found)) <= room and decode_copy(encode_copy(found)) == found
    assert found.left == len(contacts) + len(chats) - len(found.contacts) - len(found.chats)
    known = {one.identity for one in found.contacts}
    assert all(one.peer in known for one in found.chats if one.kind == "direct")


def test_five_thousand_contacts_make_a_copy_that_can_be_sealed() -> None:
    contacts = [contact(number, size=300) for number in range(5000)]
    copy = fitted(RecoveryCopy(7, "", tuple(contacts), tuple(map(direct, contacts))), {})
    sealed = seal_copy(RECOVERY.public, AGREEMENT, 9, encode_copy(copy), rng)
    assert 250 * 1024 < len(sealed) <= 256 * 1024 and copy.left == 10_000 - len(copy.contacts) - len(copy.chats)
