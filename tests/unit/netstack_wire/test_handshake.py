"""The peer handshake between two keys, and the messages that it refuses."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from identity.errors import DecodeError
from identity.keys import SigningKey
from netstack.wire.handshake import Initiator, answer, refusal_for
from netstack.wire.messages import NoisePayload, Refusal, UdxInfo

ADA, BOB, EVE = (SigningKey.from_seed(bytes((n,)) * 32) for n in (1, 2, 3))
FROM_ADA = NoisePayload(udx=UdxInfo(11), secret_stream=1)
FROM_BOB = NoisePayload(udx=UdxInfo(22), secret_stream=1)


def rng(size: int) -> bytes:
    return blake2b(b"bob", digest_size=size).digest()


def test_both_sides_reach_the_same_agreement() -> None:
    dial = Initiator(ADA, BOB.public, FROM_ADA, lambda size: b"\x07" * size)
    heard: list[tuple[bytes, NoisePayload]] = []

    def reply(remote: bytes, payload: NoisePayload) -> NoisePayload:
        heard.append((remote, payload))
        return FROM_BOB

    answered = answer(BOB, dial.message, rng, reply)
    assert answered is not None
    message, bob = answered
    ada = dial.accept(message)
    assert heard == [(ADA.public, FROM_ADA)]
    assert bob is not None
    assert (ada.hash, ada.keys) == (bob.hash, bob.keys[::-1])
    assert (ada.initiator, ada.local_key, ada.remote_key, ada.payload) == (True, ADA.public, BOB.public, FROM_BOB)
    assert (bob.initiator, bob.local_key, bob.remote_key, bob.payload) == (False, BOB.public, ADA.public, FROM_ADA)
    assert len(ada.hash) == 64
    assert "keys" not in repr(ada)


def test_forged_answer_does_not_end_the_attempt() -> None:
    dial = Initiator(ADA, BOB.public, FROM_ADA, lambda size: b"\x07" * size)
    forged = answer(BOB, Initiator(EVE, BOB.public, FROM_ADA, rng).message, rng, lambda *_: FROM_BOB)
    genuine = answer(BOB, dial.message, rng, lambda *_: FROM_BOB)
    assert forged is not None and genuine is not None
    for wrong in (forged[0], b"", b"x" * 70_000, bytes(96), genuine[0][:-1], genuine[0] + b"x"):
        with pytest.raises(DecodeError):
            dial.accept(wrong)
    assert dial.accept(genuine[0]).remote_key == BOB.public


def test_malformed_messages_and_messages_for_another_key_are_refused() -> None:
    dial = Initiator(ADA, BOB.public, FROM_ADA, rng)
    for wrong in (dial.message[:-1], b"", bytes(200), b"x" * 70_000):
        with pytest.raises(DecodeError):
            answer(BOB, wrong, rng, lambda *_: FROM_BOB)
    with pytest.raises(DecodeError):
        answer(EVE, dial.message, rng, lambda *_: FROM_BOB)


def test_responder_may_stay_silent_or_refuse() -> None:
    dial = Initiator(ADA, BOB.public, FROM_ADA, rng)
    assert answer(BOB, dial.message, rng, lambda *_: None) is None
    refused = answer(BOB, dial.message, rng, lambda *_: NoisePayload(error=Refusal.TRY_LATER))
    assert refused is not None
    assert refused[1] is None
    assert dial.accept(refused[0]).payload.error == Refusal.TRY_LATER
    assert refusal_for(NoisePayload(version=2)) == Refusal.VERSION_MISMATCH
    assert refusal_for(NoisePayload()) == Refusal.ABORTED
    assert refusal_for(FROM_ADA) == Refusal.NONE


def test_dialling_an_invalid_key_is_refused() -> None:
    for wrong in (bytes(32), b"\x01" + bytes(31), b"short"):
        with pytest.raises(DecodeError):
            Initiator(ADA, wrong, FROM_ADA, rng)
