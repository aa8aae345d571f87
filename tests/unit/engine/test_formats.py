"""The small formats of meeting and joining: vectors, and what decoders do with anything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.log.manifest import core_key
from crdt.space.consent import sign_succession
from crdt.space.control import Parent
from identity.errors import DecodeError
from identity.keys import SigningKey
from sync.engine.dialling import Whereabouts, decode_whereabouts, encode_whereabouts
from sync.engine.hello import decode_handover, decode_join, decode_out, encode_handover, encode_join, encode_out
from sync.engine.introduction import Followed, decode_follows, encode_follows
from sync.engine.onboarding.messages import decode_answer, decode_profile, encode_answer
from tests.support.vectors import matches

W = SigningKey.from_seed(b"\x07" * 32).public
CARRIERS = [(7, b"a grant"), (299, b"another")]
WHERE = Whereabouts(1_790_000_000_000, (b"\x01" * 32, b"\x02" * 32), ("192.0.2.7:49737", "127.0.0.1:5000"))

OLD = SigningKey.from_seed(b"\x08" * 32)
PARENT = Parent(b"\x0b" * 32, 3, b"\x0c" * 32)
FOLLOWED = Followed(
    b"\x05" * 32,
    OLD.public,
    W,
    b"\x0d" * 32,
    (PARENT,),
    sign_succession(OLD, b"\x05" * 32, core_key(W), (PARENT,)),
)


def test_who_follows_whom_is_signed_by_the_old_writer() -> None:
    assert FOLLOWED.signed()
    assert not replace(FOLLOWED, space=b"\x06" * 32).signed()
    assert not replace(FOLLOWED, new=OLD.public).signed()
    assert not replace(FOLLOWED, parents=()).signed()


def test_messages_match_their_vectors() -> None:
    held = matches(
        "engine",
        {
            "handover": encode_handover(b"\x05" * 32, W, 300, b"block", CARRIERS, [b"one", b"two"]).hex(),
            "whereabouts": encode_whereabouts(WHERE).hex(),
            "join": encode_join(W, b"\x03" * 32, [(b"\x04" * 32, b"\x06" * 64)]).hex(),
            "removal": encode_out(b"\x05" * 32, [W]).hex(),
            "answer": encode_answer(W, b"\x09" * 64).hex(),
            "follows": encode_follows(b"\x0a" * 32, [b"one"], [FOLLOWED]).hex(),
        },
    )
    assert decode_handover(bytes.fromhex(held["handover"])) == (
        b"\x05" * 32,
        W,
        300,
        b"block",
        CARRIERS,
        [b"one", b"two"],
    )
    assert decode_whereabouts(bytes.fromhex(held["whereabouts"])) == WHERE
    assert decode_join(bytes.fromhex(held["join"])) == (W, b"\x03" * 32, [(b"\x04" * 32, b"\x06" * 64)])
    assert decode_out(bytes.fromhex(held["removal"])) == (b"\x05" * 32, [W])
    assert decode_answer(bytes.fromhex(held["answer"])) == (W, b"\x09" * 64)
    assert decode_follows(bytes.fromhex(held["follows"])) == (b"\x0a" * 32, [b"one"], [FOLLOWED])


DECODERS: list[Callable[[bytes], object]] = [
    decode_handover,
    decode_join,
    decode_out,
    decode_whereabouts,
    decode_answer,
    decode_follows,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.binary(max_size=400))
def test_any_bytes_decode_or_raise_decode_error(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except DecodeError:
        return


@given(data=st.binary(max_size=400))
def test_undecodable_profile_reads_as_empty(data: bytes) -> None:
    name, where = decode_profile(data)
    assert len(name.encode()) <= 512
    assert where is None or len(where.hints) <= 8


def test_trailing_bytes_are_refused() -> None:
    for encoded, decode in (
        (encode_handover(b"\x05" * 32, W, 1, b"b", [], []), decode_handover),
        (encode_whereabouts(WHERE), decode_whereabouts),
        (encode_answer(W, bytes(64)), decode_answer),
        (encode_out(bytes(32), [W]), decode_out),
        (encode_follows(bytes(32), [], [FOLLOWED]), decode_follows),
    ):
        with pytest.raises(DecodeError):
            decode(encoded + b"\0")


def test_transport_keys_follow_utc_weeks() -> None:
    monday = 1_790_000_000 - (1_790_000_000 - 4 * 86_400) % (7 * 86_400)
    where = Whereabouts(monday * 1000, WHERE.transports, ())
    week = 7 * 86_400
    assert [where.transport(monday + n * week)[:1] for n in (0, 0.9, 1, 2, 7)] == [
        b"\x01",
        b"\x01",
        b"\x02",
        b"\x02",
        b"\x02",
    ]
