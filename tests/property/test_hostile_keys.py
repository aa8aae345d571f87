"""Keys of low order, the identity, points beside the prime-order group: refused wherever a key comes from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from nacl import bindings

from crdt.log.head import Head, head_signable
from crdt.log.manifest import core_key
from crdt.space.consent import consent_body, succession_body, verify_consent
from crdt.space.control import Add, Admit, Parent
from crdt.space.record import _header as record_header
from crdt.space.record import decode_record
from identity.errors import DecodeError
from identity.keys import AgreementKey, check_point, signable, to_agreement
from identity.labels import Label
from identity.noise import IK, NoiseSession
from identity.statement import PREFIX, certificate_body, counter_sign, decode_statement
from netstack import namespaces
from netstack.dht.records import (
    Announce,
    Mutable,
    PeerRecord,
    announce_signable,
    mutable_signable,
    verify_announce,
    verify_mutable,
)
from sync.engine.introduction import Followed
from tests.property.test_damaged_formats import REFUSED, read
from tests.support.formats import FORMATS, found
from tests.support.hostile_keys import ED25519, IDENTITY, X25519, Mixed, no_secret
from tests.support.people import family
from tests.support.streams import stream

MIXED = Mixed(b"mixed")
FORGERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "mixed": (MIXED.public, MIXED.sign),
    "the identity": (IDENTITY, no_secret),
}
POINTS = {**ED25519, "mixed": MIXED.public}

# (format, where its key begins): unsigned formats, in which whoever writes one chooses the key
ED25519_FIELDS = [
    ("identity-payload: pair.encoded", 3),
    ("identity-payload: invite.encoded", 3),
    ("identity-payload: invite.encoded", 35),
    ("identity-invite: inviter.person", 2),
    ("engine: join", 2),
    ("engine: answer", 2),
    ("recovery: rejoin", 34),
]
X25519_FIELDS = [("identity-invite: inviter.person", 2 + 32 + 32 + 1)]


def test_forged_signatures_are_good_for_the_verifier_alone() -> None:
    """What the tests below rest on: libsodium takes the mixed one, and nothing but the key is wrong."""
    bindings.crypto_sign_open(MIXED.sign(b"text") + b"text", MIXED.public)
    with pytest.raises(DecodeError):
        check_point(MIXED.public)


@pytest.mark.parametrize("name", POINTS)
def test_points_beside_the_group_are_refused_in_every_format(name: str) -> None:
    with pytest.raises(DecodeError):
        check_point(POINTS[name])
    with pytest.raises(DecodeError):
        to_agreement(POINTS[name])
    for form, at in ED25519_FIELDS:
        good = FORMATS[form].good
        check_point(good[at : at + 32])
        assert read(FORMATS[form], good[:at] + POINTS[name] + good[at + 32 :]) is REFUSED, (form, at)


@pytest.mark.parametrize("name", X25519)
def test_low_order_agreement_keys_are_refused_in_every_format(name: str) -> None:
    mine = AgreementKey.generate(stream("mine"))
    with pytest.raises(DecodeError):
        mine.agree(X25519[name])
    for form, at in X25519_FIELDS:
        good = FORMATS[form].good
        assert read(FORMATS[form], good[:at] + X25519[name] + good[at + 32 :]) is REFUSED, (form, at)
    # In a grant it stands for e: the slots under it open to nobody.
    for form in ("space-grant: 0.grant, opened", "space-grant: 0.grant, by the phrase"):
        assert read(FORMATS[form], X25519[name] + FORMATS[form].good[32:]) is REFUSED
    # Noise: the one-use key of a first message.
    session = NoiseSession.respond(IK, b"", family("hostile").devices[0].signing, stream(1))
    with pytest.raises(DecodeError):
        session.read(X25519[name] + bytes(80))


@pytest.mark.parametrize("name", FORGERS)
def test_a_key_beside_the_group_signs_nothing(name: str) -> None:
    key, sign = FORGERS[name]
    core, space, other = core_key(key), bytes(32), bytes((7,)) * 32
    assert not Head(key, 5, other, sign(head_signable(core, 5, other))).verify()
    record = replace(decode_record(found("space-record", 0, "record")), writer=key)
    body = record_header(record) + record.ciphertext
    assert not replace(record, signature=sign(signable(Label.RECORD, body))).verify()
    prekey = found("space-ids", 0, "prekey")
    for op, identity in ((Add(other, key, other, (), prekey, b""), other), (Admit(key, other, (), prekey, b""), None)):
        consent = sign(signable(Label.CONSENT, consent_body(space, other, identity, other, prekey)))
        assert not verify_consent(space, other, replace(op, consent=consent))
    parents = (Parent(other, 3, other),)
    told = sign(signable(Label.SUCCEED, succession_body(space, core_key(other), parents)))
    assert not Followed(space, key, other, other, parents, told).signed()
    peer = PeerRecord(key, ())
    said = Announce(peer, None, sign(announce_signable(namespaces.ANNOUNCE, other, other, other, peer, None)), 0)
    assert not verify_announce(said, other, other, other, namespaces.ANNOUNCE)
    assert not verify_mutable(Mutable(1, b"value", sign(mutable_signable(1, b"value"))), key)


@pytest.mark.parametrize("name", FORGERS)
@pytest.mark.parametrize("place", ["identity", "device", "issuer"])
def test_a_certificate_with_a_key_beside_the_group_is_refused(name: str, place: str) -> None:
    key, sign = FORGERS[name]
    ada = family("hostile", 2)
    phone, desk = ada.devices
    identity = key if place == "identity" else ada.identity
    signing = key if place == "device" else desk.signing.public
    issuer = (
        None if place == "identity" else (key if place == "issuer" else phone.signing.public, phone.agreement.public)
    )
    body = certificate_body(
        identity,
        signing,
        desk.agreement.public,
        created=9,
        generation=9,
        signer=issuer,
    )
    counter = counter_sign(body, desk.signing) if place != "device" else sign(signable(Label.COUNTERSIGN, body))
    last = sign(signable(Label.CERTIFICATE, body + counter))
    if place == "device":
        last = phone.signing.sign(Label.CERTIFICATE, body + counter)
    with pytest.raises(DecodeError):
        decode_statement(PREFIX + body + counter + last)
