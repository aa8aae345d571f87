"""Every decoder returns a value or raises DecodeError for any bytes, and reads what its encoder writes."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from identity.errors import DecodeError
from identity.keys import AgreementKey, SigningKey
from identity.noise import IK, IKPSK1, XKPSK0, NoiseSession
from netstack.dht.datagram import Request, Response, decode_datagram, encode_request, encode_response
from netstack.wire.address import encode_address, parse_address
from netstack.wire.handshake import answer
from netstack.wire.messages import (
    HandshakeMessage,
    Holepunch,
    NoisePayload,
    RelayThrough,
    UdxInfo,
    decode_handshake,
    decode_payload,
    encode_handshake,
    encode_payload,
)
from netstack.wire.secret_stream import SecretStream
from tests.support.streams import stream

BOB = SigningKey.from_seed(b"b" * 32)
BOB_X = AgreementKey.from_signing(BOB)
key32 = st.binary(min_size=32, max_size=32)
number = st.integers(0, 2**53 - 1)
address = st.tuples(
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts))), st.integers(0, 65535)
)
request = st.builds(
    Request,
    st.integers(0, 65535),
    address,
    st.integers(0, 65535),
    st.booleans(),
    st.none() | key32,
    st.none() | st.binary(max_size=1000),
    st.none() | key32,
    st.none() | key32,
)
response = st.builds(
    Response,
    st.integers(0, 65535),
    address,
    st.none() | st.binary(max_size=1000),
    st.integers(0, 65535),
    st.lists(address, max_size=20).map(tuple),
    st.none() | key32,
    st.none() | key32,
)
handshake = st.builds(HandshakeMessage, number, st.binary(max_size=1000), st.none() | address, st.none() | address)
addresses = st.lists(address, max_size=64).map(tuple)
payload = st.builds(
    NoisePayload,
    error=number,
    firewall=number,
    holepunch=st.none() | st.builds(Holepunch, number, st.lists(st.tuples(address, address), max_size=16).map(tuple)),
    addresses4=addresses,
    addresses6=st.lists(st.binary(min_size=18, max_size=18), max_size=64).map(tuple),
    udx=st.none() | st.builds(UdxInfo, number, number, st.booleans(), number),
    secret_stream=st.none() | number,
    relay_through=st.none() | st.builds(RelayThrough, key32, key32, number),
    relay_addresses=st.none() | addresses,
)


@given(st.binary(max_size=400) | st.builds(bytes.__add__, st.sampled_from([b"\x03", b"\x13"]), st.binary(max_size=400)))
def test_arbitrary_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    for decode in (decode_datagram, decode_handshake, decode_payload):
        with suppress(DecodeError):
            decode(data)


@given(request)
def test_requests_round_trip(value: Request) -> None:
    assert decode_datagram(encode_request(value)) == value


@given(response)
def test_responses_round_trip(value: Response) -> None:
    assert decode_datagram(encode_response(value)) == value


@given(handshake)
def test_handshake_messages_round_trip(value: HandshakeMessage) -> None:
    assert decode_handshake(encode_handshake(value)) == value


@given(payload)
def test_noise_payloads_round_trip(value: NoisePayload) -> None:
    assert decode_payload(encode_payload(value)) == value


@given(address)
def test_addresses_round_trip_as_text(value: tuple[str, int]) -> None:
    assert len(encode_address(value)) == 6
    if value[1]:
        assert parse_address(f"{value[0]}:{value[1]}") == value


@given(st.text(max_size=30))
def test_arbitrary_text_is_a_valid_address_or_refused(text: str) -> None:
    with suppress(DecodeError):
        host, port = parse_address(text)
        assert len(encode_address((host, port))) == 6


@given(st.binary(max_size=300))
def test_arbitrary_noise_messages_are_refused(data: bytes) -> None:
    with suppress(DecodeError):
        answer(BOB, data, stream(0), lambda remote, payload: NoisePayload())
    for pattern in (XKPSK0, IKPSK1):
        session = NoiseSession.respond(pattern, b"", BOB_X, stream(0), psk=b"k" * 32)
        with suppress(DecodeError):
            session.read(data)
            raise AssertionError("a message that was not written for it")
    session = NoiseSession.initiate(IK, b"", BOB, stream(0), remote_static=BOB.public)
    session.write()
    with suppress(DecodeError):
        session.read(data)
        raise AssertionError("a message that was not written for it")


@given(
    st.lists(st.binary(max_size=2000), max_size=12),
    st.lists(st.integers(1, 700), min_size=1, max_size=40),
    st.none() | st.tuples(st.integers(0, 5000), st.integers(1, 255)),
)
def test_cut_and_corrupted_frames_open_unchanged_or_not_at_all(
    frames: list[bytes], cuts: list[int], flip: tuple[int, int] | None
) -> None:
    keys = (b"a" * 32, b"b" * 32)
    ada = SecretStream(initiator=True, handshake_hash=bytes(64), keys=keys, rng=stream(1), cap=2000)
    bob = SecretStream(initiator=False, handshake_hash=bytes(64), keys=keys[::-1], rng=stream(2), cap=2000)
    sent = bytearray(ada.opening + b"".join(ada.seal(frame) for frame in frames))
    if flip is not None:
        sent[flip[0] % len(sent)] ^= flip[1]
    seen: list[bytes] = []
    at = turn = 0
    with suppress(DecodeError):
        while at < len(sent):
            size = cuts[turn % len(cuts)]
            seen += bob.receive([bytes(sent[at : at + size])])
            at += size
            turn += 1
    assert seen == frames[: len(seen)]  # a flipped bit may cut the stream short, never change what it says
    assert flip is not None or seen == frames
    assert bob.buffered <= 2000 + 20 + max(cuts)
