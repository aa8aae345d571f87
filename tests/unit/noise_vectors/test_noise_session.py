"""Our wrapper beyond the published vectors: the three patterns in use, turns, caps, and one error type."""

from __future__ import annotations

import os

import pytest

from identity.errors import DecodeError
from identity.keys import AgreementKey, SigningKey
from identity.noise import IK, IKPSK1, MAX_MESSAGE, XKPSK0, NoiseSession

PSK = b"k" * 32
ADA, BOB = SigningKey.from_seed(b"a" * 32), SigningKey.from_seed(b"b" * 32)
ADA_X, BOB_X = AgreementKey.from_signing(ADA), AgreementKey.from_signing(BOB)


def pair(
    pattern: str, *, psk: bytes = PSK, wrong: bytes = PSK, prologue: bytes = b"p"
) -> tuple[NoiseSession, NoiseSession]:
    ada, bob = (ADA, BOB) if pattern == IK else (ADA_X, BOB_X)
    first = NoiseSession.initiate(
        pattern, b"p", ada, os.urandom, remote_static=bob.public, psk=b"" if pattern == IK else psk
    )
    second = NoiseSession.respond(pattern, prologue, bob, os.urandom, psk=b"" if pattern == IK else wrong)
    return first, second


@pytest.mark.parametrize("pattern", [IK, XKPSK0, IKPSK1])
def test_handshake_completes_and_messages_pass_both_ways(pattern: str) -> None:
    first, second = pair(pattern)
    turn = [first, second]
    said: list[bytes] = []
    while not (first.done and second.done):
        writer, reader = turn
        said.append(reader.read(writer.write(b"payload %d" % len(said))))
        turn.reverse()
    assert said == [b"payload %d" % n for n in range(3 if pattern == XKPSK0 else 2)]
    assert first.hash == second.hash
    assert len(first.hash) == 64
    assert first.keys() == second.keys()[::-1]
    assert second.remote_static == (ADA if pattern == IK else ADA_X).public
    assert first.remote_static == (BOB if pattern == IK else BOB_X).public
    for size in (0, 1, MAX_MESSAGE - 16):
        assert second.decrypt(first.encrypt(bytes(size))) == bytes(size)
        assert first.decrypt(second.encrypt(bytes(size))) == bytes(size)


@pytest.mark.parametrize("pattern", [XKPSK0, IKPSK1])
def test_wrong_secret_or_prologue_fails_at_the_first_message(pattern: str) -> None:
    for changes in ({"wrong": b"w" * 32}, {"prologue": b"q"}):
        first, second = pair(pattern, **changes)
        with pytest.raises(DecodeError):
            second.read(first.write(b""))
        with pytest.raises(DecodeError, match="out of turn"):
            second.read(b"")


def test_overlong_messages_are_refused_before_decryption() -> None:
    first, second = pair(IK)
    with pytest.raises(DecodeError, match="65,535"):
        second.read(bytes(70_000))
    with pytest.raises(ValueError, match="too long"):
        first.write(bytes(MAX_MESSAGE))
    first, second = pair(IK)
    second.read(first.write(b""))
    first.read(second.write(b""))
    with pytest.raises(DecodeError, match="65,535"):
        first.decrypt(bytes(70_000))
    with pytest.raises(ValueError, match="too long"):
        first.encrypt(bytes(MAX_MESSAGE))


def test_wrong_messages_raise_decode_error() -> None:
    good = pair(IK)[0].write(b"")
    for wrong in (b"", b"x", good[:31], good[:95], good[:-1], bytes(len(good)), b"\xff" * 96, b"\x01" + bytes(95)):
        with pytest.raises(DecodeError):
            pair(IK)[1].read(wrong)
    first, second = pair(IK)
    second.read(first.write(b""))
    for wrong in (b"", b"x" * 48, bytes(48)):
        with pytest.raises(DecodeError):
            pair(IK)[0].read(wrong)
    with pytest.raises(DecodeError):
        second.decrypt(b"early")


def test_low_order_points_never_agree() -> None:
    """A peer that sends a point of small order would make the shared secret a constant."""
    for pattern in (XKPSK0, IKPSK1):
        _, second = pair(pattern)
        with pytest.raises(DecodeError):
            second.read(bytes(32) + bytes(64))
    with pytest.raises(DecodeError):
        NoiseSession.initiate(IK, b"", ADA, os.urandom, remote_static=b"\x01" + bytes(31))


def test_messages_and_results_out_of_turn_are_refused() -> None:
    first, second = pair(IK)
    with pytest.raises(DecodeError, match="out of turn"):
        first.read(b"")
    with pytest.raises(ValueError, match="turn"):
        second.write(b"")
    for early in ("hash", "remote_static"):
        with pytest.raises(ValueError, match="not"):
            getattr(second, early)
    with pytest.raises(ValueError, match="not done"):
        second.keys()
    second.read(first.write(b""))
    first.read(second.write(b""))
    with pytest.raises(ValueError, match="turn"):
        first.write(b"")


def test_wrong_patterns_and_arguments_raise_value_error() -> None:
    for pattern in (
        "Noise_IK",
        "nonsense",
        "Noise_QQ_25519_ChaChaPoly_BLAKE2b",
        "Noise_IKpsk9_25519_ChaChaPoly_BLAKE2b",
    ):
        with pytest.raises(ValueError):
            NoiseSession.initiate(pattern, b"", ADA_X, os.urandom, remote_static=BOB_X.public)
    with pytest.raises(ValueError, match="secrets of 32 bytes"):
        NoiseSession.initiate(XKPSK0, b"", ADA_X, os.urandom, remote_static=BOB_X.public, psk=b"short")
    with pytest.raises(ValueError, match="rs"):
        NoiseSession.initiate(IK, b"", ADA, os.urandom)


def test_equal_random_bytes_give_equal_handshake_messages() -> None:
    def rng(size: int) -> bytes:
        return b"\x09" * size

    messages = {NoiseSession.initiate(IK, b"", ADA, rng, remote_static=BOB.public).write(b"x") for _ in range(3)}
    assert len(messages) == 1
