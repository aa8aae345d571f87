"""Device statements: who must sign what, and that any changed byte is refused."""

from __future__ import annotations

import pytest

from identity.device import DeviceKeys, new_device
from identity.errors import DecodeError
from identity.keys import SigningKey
from identity.statement import (
    MAX_STATEMENTS,
    MAX_STAY,
    PREFIX,
    Certificate,
    Revocation,
    certificate_body,
    counter_sign,
    decode_statement,
    decode_statements,
    encode_statements,
    issue,
    read_certificate_body,
    revoke,
    root_certificate,
    want_certificate,
)
from tests.support.streams import stream

ROOT = SigningKey.from_seed(b"r" * 32)
PHONE, DESK = new_device(stream("phone"), 0), new_device(stream("desk"), 0)


def first(device: DeviceKeys = PHONE, stay: tuple[bytes, ...] = ()) -> Certificate:
    return root_certificate(ROOT, device.signing, device.agreement.public, created=100, generation=100, stay=stay)


def body_for(device: DeviceKeys, by: DeviceKeys, created: int = 200) -> bytes:
    return certificate_body(
        ROOT.public,
        device.signing.public,
        device.agreement.public,
        created=created,
        generation=100,
        signer=(by.signing.public, by.agreement.public),
    )


def second() -> Certificate:
    body = body_for(DESK, PHONE)
    return issue(body, counter_sign(body, DESK.signing), PHONE.signing)


def test_signed_statements_decode_to_what_was_signed() -> None:
    certificate = second()
    assert certificate == decode_statement(certificate.encoded)
    assert (certificate.identity, certificate.device, certificate.issuer) == (ROOT.public, DESK.id, PHONE.id)
    assert (certificate.created, certificate.generation, certificate.stay) == (200, 100, ())
    gone = revoke(
        ROOT.public,
        DESK.id,
        created=300,
        generation=100,
        signer=(PHONE.signing.public, PHONE.agreement.public),
        key=PHONE.signing,
        stay=[certificate.id],
    )
    assert isinstance(gone, Revocation) and gone == decode_statement(gone.encoded)
    assert (gone.device, gone.issuer, gone.stay) == (DESK.id, PHONE.id, (certificate.id,))


def test_statement_with_any_flipped_bit_is_refused() -> None:
    for statement in (first(stay=(b"\5" * 32,)), second()):
        for at in range(len(statement.encoded)):
            bent = bytearray(statement.encoded)
            bent[at] ^= 1 << (at % 8)
            with pytest.raises(DecodeError):
                decode_statement(bytes(bent))
        for end in range(len(statement.encoded)):
            with pytest.raises(DecodeError):
                decode_statement(statement.encoded[:end])


def test_certificate_needs_the_counter_signature_of_the_new_device() -> None:
    body = body_for(DESK, PHONE)
    for wrong in (bytes(64), counter_sign(body, PHONE.signing), counter_sign(body_for(DESK, PHONE, 201), DESK.signing)):
        with pytest.raises(DecodeError):
            issue(body, wrong, PHONE.signing)


def test_statement_signed_by_another_than_its_signer_is_refused() -> None:
    body = body_for(DESK, PHONE)
    with pytest.raises(DecodeError):
        issue(body, counter_sign(body, DESK.signing), DESK.signing)
    with pytest.raises(DecodeError):
        revoke(ROOT.public, DESK.id, created=1, generation=100, signer=None, key=PHONE.signing)


def test_signature_of_one_statement_kind_is_refused_for_another() -> None:
    """The counter-signature of a device that certifies itself is not an issuer's signature."""
    body = body_for(PHONE, PHONE)
    counter = counter_sign(body, PHONE.signing)
    with pytest.raises(DecodeError):
        decode_statement(PREFIX + body + counter + counter)


def test_certificates_of_small_order_keys_are_refused() -> None:
    for agreement in (bytes(32), b"\1" + bytes(31)):
        body = certificate_body(ROOT.public, DESK.signing.public, agreement, created=1, generation=100, signer=None)
        with pytest.raises(DecodeError):
            issue(body, counter_sign(body, DESK.signing), ROOT)
    identity_point = b"\1" + bytes(31)
    body = certificate_body(
        identity_point, DESK.signing.public, DESK.agreement.public, created=1, generation=1, signer=None
    )
    with pytest.raises(DecodeError):  # the forgery that needs no key: R = identity point, signature = (point, 0)
        decode_statement(PREFIX + body + counter_sign(body, DESK.signing) + identity_point + bytes(32))


def test_statement_lists_must_ascend_within_their_bounds() -> None:
    ids = [bytes((n,)) * 32 for n in range(MAX_STAY + 1)]
    assert first(stay=tuple(reversed(ids[:-1]))).stay == tuple(ids[:-1])
    with pytest.raises(ValueError):
        first(stay=tuple(ids))
    body = first(stay=(ids[1], ids[2])).encoded[2:-128]
    for bad in (body.replace(ids[1] + ids[2], ids[2] + ids[1]), body.replace(ids[2], ids[1])):
        with pytest.raises(DecodeError, match="ascends"):
            issue(bad, counter_sign(bad, PHONE.signing), ROOT)


def test_certificate_body_is_read_back_before_signing() -> None:
    identity, signing, agreement, generation, signer = read_certificate_body(body_for(DESK, PHONE))
    assert (identity, signing, agreement, generation) == (
        ROOT.public,
        DESK.signing.public,
        DESK.agreement.public,
        100,
    )
    assert signer == (PHONE.signing.public, PHONE.agreement.public)
    for bad in (b"", body_for(DESK, PHONE) + b"\0", first().encoded[2:-128]):
        with pytest.raises(DecodeError):
            read_certificate_body(bad)


def test_encoded_statement_sets_are_sorted_without_repetition() -> None:
    one, two = first(), second()
    data = encode_statements([two, one, two])
    assert data == encode_statements([one, two])
    assert set(decode_statements(data)) == {one, two}
    twice = data[:2] + b"\2" + 2 * (bytes((0xFD,)) + len(two.encoded).to_bytes(2, "little") + two.encoded)
    for bad in (twice, data + b"\0", data[:-1], bytes(60_000)):
        with pytest.raises(DecodeError):
            decode_statements(bad)
    with pytest.raises(ValueError):
        encode_statements(
            [
                root_certificate(ROOT, PHONE.signing, PHONE.agreement.public, created=n, generation=1)
                for n in range(MAX_STATEMENTS + 1)
            ]
        )


def test_revocation_is_refused_where_a_certificate_is_expected() -> None:
    gone = revoke(ROOT.public, DESK.id, created=1, generation=1, signer=None, key=ROOT)
    with pytest.raises(DecodeError):
        want_certificate(gone.encoded)
