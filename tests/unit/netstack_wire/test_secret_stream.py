"""The secret stream as transcripts: openings, frames, keep-alives, and false lengths."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from identity.errors import DecodeError
from netstack.wire.secret_stream import MAX_FRAME, SecretStream, stream_id
from netstack.wire.stream_cipher import OVERHEAD, PREFIX, checked, direct

HASH = bytes(range(64))
KEYS = (b"a" * 32, b"b" * 32)


def seeded(size: int) -> bytes:
    return bytes(size)


def pair(cap: int = 512 * 1024) -> tuple[SecretStream, SecretStream]:
    a = SecretStream(initiator=True, handshake_hash=HASH, keys=KEYS, rng=seeded, cap=cap)
    b = SecretStream(initiator=False, handshake_hash=HASH, keys=KEYS[::-1], rng=seeded, cap=cap)
    return a, b


def opened(cap: int = 512 * 1024) -> tuple[SecretStream, SecretStream]:
    a, b = pair(cap)
    assert a.receive([b.opening]) == b.receive([a.opening]) == []
    assert a.opened and b.opened
    return a, b


def test_frames_keep_their_boundaries_for_any_cut_of_the_bytes() -> None:
    frames = [b"", b"x", b"hello", bytes(1000), bytes(100_000), b"", b"last"]
    for step in (1, 2, 3, 7, 1000, 1_000_000):
        a, b = pair()
        sent = a.opening + b"".join(a.seal(frame) for frame in frames)
        seen: list[bytes] = []
        for at in range(0, len(sent), step):
            seen += b.receive([sent[at : at + step]])
        assert seen == frames
        assert b.buffered == 0


def test_same_random_draws_give_the_same_bytes() -> None:
    (a, _), (same, _) = opened(), opened()
    assert a.opening == same.opening
    assert a.seal(b"frame") == same.seal(b"frame")


def test_opening_of_another_handshake_or_role_is_refused() -> None:
    other = SecretStream(initiator=False, handshake_hash=bytes(64), keys=KEYS, rng=seeded)
    for opening in (other.opening, pair()[0].opening):
        with pytest.raises(DecodeError, match="another handshake"):
            pair()[0].receive([opening])


def test_false_lengths_are_refused_before_buffering() -> None:
    a, _ = pair()
    with pytest.raises(DecodeError, match="56 bytes"):
        a.receive([b"\xff\xff\xff"])
    for length, reason in (
        (2**24 - 1, "longer than agreed"),
        (1000 + OVERHEAD + 1, "longer"),
        (16, "shorter"),
        (0, "shorter"),
    ):
        _, b = opened(cap=1000)
        with pytest.raises(DecodeError, match=reason):
            b.receive([length.to_bytes(3, "little")])
        assert b.buffered <= 3


def test_frame_cap_counts_plaintext_bytes() -> None:
    a, b = opened(cap=1000)
    assert b.receive([a.seal(bytes(1000))]) == [bytes(1000)]
    with pytest.raises(DecodeError):
        b.receive([a.seal(bytes(1001))])


def test_changed_repeated_or_missing_frames_do_not_decrypt() -> None:
    a, b = opened()
    sealed = a.seal(b"one")
    with pytest.raises(DecodeError, match="does not open"):
        b.receive([sealed[:-1] + bytes((sealed[-1] ^ 1,))])
    a, b = opened()
    sealed = a.seal(b"one")
    b.receive([sealed])
    with pytest.raises(DecodeError, match="does not open"):
        b.receive([sealed])
    a, b = opened()
    a.seal(b"lost")
    with pytest.raises(DecodeError, match="does not open"):
        b.receive([a.seal(b"next")])


def test_frame_arriving_byte_by_byte_is_held_in_few_pieces() -> None:
    a, b = opened()
    sealed = a.seal(bytes(5000))
    for byte in sealed[:-1]:
        assert b.receive([bytes((byte,))]) == []
    assert b.receive([sealed[-1:]]) == [bytes(5000)]


def test_sealing_refuses_frames_above_the_longest_length() -> None:
    a, _ = opened()
    assert len(a.seal(bytes(MAX_FRAME))) == 3 + 2**24 - 1
    with pytest.raises(ValueError, match="too long"):
        a.seal(bytes(MAX_FRAME + 1))
    with pytest.raises(ValueError, match="cap"):
        SecretStream(initiator=True, handshake_hash=HASH, keys=KEYS, rng=os.urandom, cap=MAX_FRAME + 1)


def test_openings_of_initiator_and_responder_differ() -> None:
    assert stream_id(HASH, initiator=True) != stream_id(HASH, initiator=False)


def test_cffi_and_nacl_bindings_give_the_same_bytes() -> None:
    ways = (direct(), checked())
    for sealing, opening in (ways, ways[::-1]):
        mine, theirs = sealing[0](HASH[:24], KEYS[0]), opening[0](HASH[:24], KEYS[0])
        same = opening[0](HASH[:24], KEYS[0])
        for size in (0, 1, 200, 65_536, 300_000):
            frame = bytes(range(256)) * (size // 256) + bytes(size % 256)
            sealed = sealing[1](mine, frame)
            assert sealed == opening[1](same, frame)
            assert opening[2](theirs, memoryview(sealed)[PREFIX:]) == frame
        assert opening[2](theirs, memoryview(bytes(40))) is None
        assert opening[2](theirs, memoryview(b"short")) is None


def test_streams_in_several_threads_do_not_share_state() -> None:
    """The cipher lets go of the interpreter while it works: what it opens into must be one caller's alone."""
    frames = {letter: letter * 50_000 for letter in (b"a", b"b", b"c")}

    def talk(frame: bytes) -> bool:
        a, b = opened()
        return all(b.receive([a.seal(frame)]) == [frame] for _ in range(400))

    with ThreadPoolExecutor(len(frames)) as pool:
        assert all(pool.map(talk, frames.values()))
