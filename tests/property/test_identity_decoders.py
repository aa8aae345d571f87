"""Every decoder of the identity layer returns a value or raises DecodeError for any bytes; values decode as encoded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.codec import MAX_UINT, Reader, Writer
from identity.device import decode_device_keys, encode_device_keys, new_device
from identity.errors import DecodeError, KithkinError
from identity.hello import decode_hello, open_name
from identity.hints import read_hints, write_hints
from identity.inner import read_refusal
from identity.invite import decode_person, encode_person, person_of
from identity.invite_code import InvitePayload, decode_invite, encode_invite, new_invite, read_invite
from identity.keystore import Cost, create_keystore, decode_keystore
from identity.pairing import (
    NewDevice,
    PairingGrant,
    decode_new_device,
    encode_new_device,
    encode_pairing_grant,
    read_pairing_grant,
)
from identity.pairing_code import PairPayload, decode_pair, encode_pair, new_pair_code, read_pair_code
from identity.payload import decode_payload, encode_payload
from identity.phrase import normal_phrase
from identity.statement import (
    decode_statement,
    decode_statements,
    encode_statements,
    read_certificate_body,
)
from tests.support.people import family
from tests.support.streams import stream

ADA = family("ada", 3)
PHONE = ADA.devices[0]
KEYS = new_device(stream("keys"), 1_800_000_000)
POINT = ADA.identity
PERSON = person_of(ADA.identity, ADA.statements, PHONE, b"profile")
GRANT = PairingGrant(ADA.statements, b"s" * 32, POINT, b"z" * 32, True, b"extra")
NEW = NewDevice(KEYS.signing.public, KEYS.agreement.public, KEYS.prekey.public, "desk")

DECODERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "statement": (decode_statement, ADA.statements[1].encoded),
    "statements": (decode_statements, encode_statements(ADA.statements)),
    "certificate body": (read_certificate_body, ADA.statements[1].encoded[2:-128]),
    "keystore": (decode_keystore, create_keystore(b"k" * 32, rng=stream(1), passphrase="x", cost=Cost(1, 8))),
    "device keys": (decode_device_keys, encode_device_keys(KEYS)),
    "pair": (decode_pair, encode_pair(new_pair_code(stream(2), 5, [("1.2.3.4", 5)]).payload)),
    "invite": (decode_invite, encode_invite(new_invite(stream(3), POINT, 5, name="x").payload)),
    "new device": (decode_new_device, encode_new_device(NEW)),
    "grant": (lambda data: read_pairing_grant(Reader(data)), encode_pairing_grant(GRANT)),
    "person": (decode_person, encode_person(PERSON)),
    "hello": (decode_hello, b"\1" + bytes(32)),
    "sealed name": (lambda data: open_name(b"z" * 32, bytes(64), data), bytes(48)),
    "hints": (lambda data: read_hints(Reader(data)), write_hints(Writer(), [("::2", 9)]).finish()),
    "refusal": (lambda data: read_refusal(Reader(data)), Writer().string("expired").finish()),
}


def value_or_decode_error(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except DecodeError:
        return


@pytest.mark.parametrize("name", DECODERS)
def test_any_bytes_decode_or_raise_decode_error(name: str) -> None:
    decode, good = DECODERS[name]

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=400))
    def whatever(data: bytes) -> None:
        value_or_decode_error(decode, data)
        value_or_decode_error(decode, b"\0\1" + data)

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, len(good) - 1), st.binary(max_size=9), st.integers(0, 12))
    def nearly(at: int, put: bytes, take: int) -> None:
        value_or_decode_error(decode, good[:at] + put + good[at + take :])

    whatever()
    nearly()
    if name != "sealed name":
        decode(good)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    for prefix in ("", "kithkin:pair/", "kithkin:invite/", "kithkin:"):
        value_or_decode_error(lambda _, t=prefix + text: decode_payload(t), b"")  # type: ignore[misc]
        for read in (
            lambda t: read_pair_code(t, 0),
            lambda t: read_invite(t, 0, bytes(32)),
            normal_phrase,
        ):
            with pytest.raises(KithkinError):
                read(prefix + text)


ADDRESSES = st.lists(
    st.tuples(
        st.ip_addresses().filter(lambda a: not (a.is_multicast or a.is_unspecified)).map(str), st.integers(1, 65_535)
    ),
    max_size=6,
).map(tuple)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(0, MAX_UINT), ADDRESSES, st.text(max_size=12))
def test_pairing_and_invite_payloads_decode_to_what_was_encoded(
    secret: bytes, expires: int, hints: tuple[tuple[str, int], ...], name: str
) -> None:
    pair = PairPayload(POINT, secret, expires, hints)
    assert decode_pair(encode_pair(pair)) == pair
    name = name.encode("utf-8", "ignore").decode()
    invite = InvitePayload(POINT, POINT, secret, expires, hints, name)
    assert decode_invite(encode_invite(invite)) == invite
    for text in (pair.text, pair.text.upper(), f" {pair.text}\n"):
        assert decode_payload(text) == ("pair", encode_pair(pair))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["pair", "invite", "relay"]))
def test_payload_text_decodes_to_its_kind_and_bytes(data: bytes, kind: str) -> None:
    assert decode_payload(encode_payload(kind, data)) == (kind, data)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, MAX_UINT) | st.binary(max_size=300) | st.text(max_size=40)))
def test_codec_reads_back_any_sequence_of_fields(fields: list[int | bytes | str]) -> None:
    fields = [f.encode("utf-8", "ignore").decode() if isinstance(f, str) else f for f in fields]
    out = Writer()
    for value in fields:
        if isinstance(value, int):
            out.uint(value)
        elif isinstance(value, bytes):
            out.buffer(value)
        else:
            out.string(value)
    reader = Reader(out.finish())
    for value in fields:
        if isinstance(value, int):
            assert reader.uint() == value
        elif isinstance(value, bytes):
            assert reader.buffer(300) == value
        else:
            assert reader.string(160) == value
    reader.end()


def test_pairing_and_invite_messages_decode_to_what_was_encoded() -> None:
    assert decode_person(encode_person(PERSON)) == PERSON
    assert decode_new_device(encode_new_device(NEW)) == NEW
    back = read_pairing_grant(Reader(encode_pairing_grant(GRANT)))
    assert back.statements == tuple(sorted(GRANT.statements, key=lambda s: s.id))
    assert (back.space, back.writer, back.z, back.history, back.extra) == (
        GRANT.space,
        GRANT.writer,
        GRANT.z,
        True,
        b"extra",
    )
