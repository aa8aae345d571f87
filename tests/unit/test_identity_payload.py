"""Texts that people paste: each kind is recognised, and damage is told apart from the wrong kind."""

from __future__ import annotations

import pytest

from identity.errors import DecodeError, KithkinError
from identity.invite_code import InviteCode, decode_invite, encode_invite, new_invite, read_invite
from identity.keys import SigningKey
from identity.pairing_code import LIFETIME, MAX_PAIR_CODE, decode_pair, encode_pair, new_pair_code, read_pair_code
from identity.payload import encode_payload, expect_payload
from tests.support.streams import stream

NOW = 1_800_000_000
ME = SigningKey.from_seed(b"m" * 32).public
ADA = SigningKey.from_seed(b"a" * 32).public
HINTS = (("192.168.1.20", 40_000), ("fe80::1", 1), ("127.0.0.1", 65_535))
PAIR = new_pair_code(stream("pair"), NOW, HINTS)


def invite(lifetime: int = 60) -> InviteCode:
    return new_invite(stream("invite"), ADA, NOW, lifetime=lifetime, hints=HINTS, name="Ada")


def told(read: str, text: str, now: float = NOW) -> tuple[str, str]:
    with pytest.raises(KithkinError) as caught:
        if read == "pair":
            read_pair_code(text, now)
        else:
            read_invite(text, now, ME)
    return caught.value.code, caught.value.message


def test_pairing_and_invite_payloads_are_read_back_from_their_texts() -> None:
    assert read_pair_code(PAIR.payload.text, NOW + LIFETIME) == PAIR.payload
    assert read_invite(invite().payload.text, NOW + 60, ME) == invite().payload
    assert PAIR.payload.hints == HINTS
    assert PAIR.payload.psk.hex() not in repr(PAIR) and invite().payload.secret.hex() not in repr(invite())


def test_text_is_read_despite_wrapping_case_and_spaces() -> None:
    text = PAIR.payload.text
    wrapped = "  " + "\n".join(text[at : at + 40] for at in range(0, len(text), 40)) + "\r\n"
    assert read_pair_code(wrapped, NOW) == read_pair_code(text.upper(), NOW) == read_pair_code(text.lower(), NOW)


def test_text_of_the_other_kind_is_named_in_the_error() -> None:
    code, sentence = told("invite", PAIR.payload.text)
    assert code == "not_an_invite" and "a pairing code" in sentence and "device approve" in sentence
    code, sentence = told("pair", invite().payload.text)
    assert code == "not_a_pair_code" and "an invite" in sentence and "contact accept" in sentence
    assert told("pair", encode_payload("relay", b"x"))[0] == "not_a_pair_code"
    assert told("invite", encode_payload("else", b"x"))[0] == "not_an_invite"
    for text in (
        "",
        "hello",
        "kithkin",
        "kithkin:",
        "https://example.org/a",
        "x" * 100_000,
        "\ud800",
        "kithkin:\ud800/",
    ):
        assert told("pair", text)[0] == "not_a_pair_code"
        assert told("invite", text)[0] == "not_an_invite"


@pytest.mark.parametrize("read", ["pair", "invite"])
def test_damage_at_any_position_of_a_text_is_noticed(read: str) -> None:
    text = PAIR.payload.text if read == "pair" else invite().payload.text
    start = text.index("/") + 1
    for end in range(start, len(text)):
        assert told(read, text[:end])[0] == "payload_damaged"
    for at in range(start, len(text)):
        for other in "A7":
            if text[at] != other:
                assert told(read, text[:at] + other + text[at + 1 :])[0] == "payload_damaged"
    for tail in ("A", "AAAAAAAA", "=", "!", "ı", "é", "\ud800"):
        assert told(read, text + tail)[0] == "payload_damaged"


def test_malformed_payload_with_a_right_checksum_is_refused() -> None:
    assert told("pair", encode_payload("pair", b""))[0] == "payload_damaged"
    assert told("pair", encode_payload("pair", encode_pair(PAIR.payload) + b"\0"))[0] == "payload_damaged"
    assert told("invite", encode_payload("invite", bytes(100)))[0] == "payload_damaged"


def test_expired_and_own_codes_are_refused() -> None:
    assert told("pair", PAIR.payload.text, NOW + LIFETIME + 1)[0] == "expired"
    assert told("invite", invite().payload.text, NOW + 61)[0] == "expired"
    own = new_invite(stream(1), ME, NOW).payload.text
    assert told("invite", own)[0] == told("invite", own, NOW * 2)[0] == "own_code"


def test_payloads_keep_their_size_limits() -> None:
    long = tuple((f"2001:db8::{n}", 40_000 + n) for n in range(1, 7))
    data = encode_pair(new_pair_code(stream(2), NOW, long).payload)
    assert len(data) <= MAX_PAIR_CODE and decode_pair(data).hints == long
    with pytest.raises(ValueError):
        encode_pair(new_pair_code(stream(2), NOW, (*long, long[0])).payload)
    for host, port in (("example.org", 1), ("1.2.3.4", 0), ("1.2.3.4", 65_536)):
        with pytest.raises(ValueError):
            encode_pair(new_pair_code(stream(2), NOW, [(host, port)]).payload)
    name = new_invite(stream(3), ADA, NOW, name="\U0001f600" * 40).payload.name
    assert name == "\U0001f600" * 16


def test_flags_and_points_from_outside_are_checked() -> None:
    pair, inv = encode_pair(PAIR.payload), encode_invite(invite().payload)
    identity_point = b"\1" + bytes(31)
    for decode, data in (
        (decode_pair, pair[:2] + b"\1" + pair[3:]),
        (decode_pair, pair[:3] + identity_point + pair[35:]),
        (decode_invite, inv[:3] + identity_point + inv[35:]),
        (decode_invite, inv[:35] + identity_point + inv[67:]),
        (decode_invite, bytes(1000)),
        (decode_pair, bytes(221)),
    ):
        with pytest.raises(DecodeError):
            decode(data)
    with pytest.raises(KithkinError):
        expect_payload("kithkin:relay/AAAA", "relay")
