"""The DHT datagrams and the peer handshake against fixed bytes of the JS stack."""

from __future__ import annotations

import json
from typing import cast

import pytest

from identity.errors import DecodeError
from identity.keys import SigningKey
from netstack import namespaces
from netstack.dht.datagram import MAX_DATAGRAM, Request, Response, decode_datagram, encode_request, encode_response
from netstack.wire.address import encode_address, node_id, parse_address
from netstack.wire.messages import (
    Firewall,
    HandshakeMessage,
    Holepunch,
    NoisePayload,
    RelayThrough,
    RoutingMode,
    UdxInfo,
    decode_handshake,
    decode_payload,
    encode_handshake,
    encode_payload,
)
from netstack.wire.secret_stream import stream_id
from tests.support.shared import shared

NODE = ("127.0.0.1", 49737)
PEER = ("10.1.2.3", 4567)


@pytest.fixture
def vectors() -> dict[str, bytes]:
    text = cast(dict[str, str], json.loads(shared("wire/vectors.json").read_text()))
    return {name: bytes.fromhex(value) for name, value in text.items()}


def test_namespaces_match_vectors(vectors: dict[str, bytes]) -> None:
    known = {name: value for name, value in vectors.items() if name.startswith("namespace ")}
    assert len(known) == 33
    for name, value in known.items():
        subsystem, index = name.removeprefix("namespace ").rsplit(" ", 1)
        assert namespaces.namespace(subsystem, int(index)) == value
    assert vectors["namespace hyperswarm/dht 0"] == namespaces.PEER_HANDSHAKE
    assert vectors["namespace hyperswarm/dht 1"] == namespaces.PEER_HOLEPUNCH
    assert vectors["namespace hyperswarm/secret-stream 0"] == namespaces.STREAM_INITIATOR
    assert vectors["namespace hyperswarm/secret-stream 1"] == namespaces.STREAM_RESPONDER


def test_addresses_and_ids_match_vectors(vectors: dict[str, bytes]) -> None:
    assert encode_address(NODE) == vectors["ipv4 address 127.0.0.1:49737"]
    assert node_id(NODE) == vectors["node id 127.0.0.1:49737"]
    assert parse_address("127.0.0.1:49737") == NODE
    for bad in (
        "",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "256.0.0.1:1",
        "::1:5",
        "a.b.c.d:1",
        "1.2.3:4",
    ):
        with pytest.raises(DecodeError):
            parse_address(bad)


def test_keys_match_vectors(vectors: dict[str, bytes]) -> None:
    assert SigningKey.from_seed(b"\x05" * 32).public == vectors["key pair seed 05 public"]
    assert stream_id(b"\x02" * 64, initiator=True) == vectors["stream id initiator"]


def test_handshake_messages_match_vectors(vectors: dict[str, bytes]) -> None:
    cases = {
        "handshake from client": HandshakeMessage(RoutingMode.FROM_CLIENT, b"\x01" * 5),
        "handshake from relay": HandshakeMessage(RoutingMode.FROM_RELAY, b"\x01" * 5, peer=PEER),
    }
    for name, message in cases.items():
        assert encode_handshake(message) == vectors[name]
        assert decode_handshake(vectors[name]) == message


def test_noise_payloads_match_vectors(vectors: dict[str, bytes]) -> None:
    cases = {
        "noise payload open": NoisePayload(
            firewall=Firewall.OPEN, addresses4=(PEER,), udx=UdxInfo(0x12345678), secret_stream=1
        ),
        "noise payload firewalled server": NoisePayload(
            firewall=Firewall.UNKNOWN,
            holepunch=Holepunch(3, ((PEER, PEER),)),
            addresses4=(PEER,),
            udx=UdxInfo(7, reusable=True),
            secret_stream=1,
            relay_through=RelayThrough(b"\x08" * 32, b"\x09" * 32),
            relay_addresses=(PEER,),
        ),
    }
    for name, payload in cases.items():
        assert encode_payload(payload) == vectors[name]
        assert decode_payload(vectors[name]) == payload


def test_payload_of_another_version_decodes_to_its_version_alone() -> None:
    assert decode_payload(b"\x02whatever follows") == NoisePayload(version=2)


def test_requests_and_responses_round_trip() -> None:
    requests = [
        Request(7, NODE, 0, target=b"t" * 32, value=b"value"),
        Request(65535, PEER, 2, internal=True, target=b"t" * 32, id=b"i" * 32, token=b"k" * 32),
        Request(0, PEER, 300),
    ]
    responses = [
        Response(7, NODE, value=b"v"),
        Response(1, PEER, error=2, token=b"k" * 32, id=b"i" * 32, closer=(NODE, PEER)),
        Response(0, PEER),
    ]
    assert [decode_datagram(encode_request(request)) for request in requests] == requests
    assert [decode_datagram(encode_response(response)) for response in responses] == responses


def test_request_matches_expected_bytes() -> None:
    request = Request(0x0102, NODE, 0, target=b"\xaa" * 32, value=b"hi")
    assert encode_request(request) == b"\x03\x18\x02\x01\x7f\x00\x00\x01\x49\xc2\x00" + b"\xaa" * 32 + b"\x02hi"
    assert encode_response(Response(0x0102, NODE, b"hi")) == b"\x13\x10\x02\x01\x7f\x00\x00\x01\x49\xc2\x02hi"


def test_false_counts_and_lengths_are_refused() -> None:
    lies = [
        b"\x13\x04\x00\x00\x7f\x00\x00\x01\x00\x01\xff\xff\xff\xff\xff\xff\xff\x1f\x00",  # 2^53 closer nodes
        b"\x13\x04\x00\x00\x7f\x00\x00\x01\x00\x01\x29",  # 41 of them
        b"\x03\x10\x00\x00\x7f\x00\x00\x01\x00\x01\x00\xfe\xff\xff\xff\xff",  # a value of 4 GiB
        b"\x03",
        b"",
        b"\x23\x00",
        b"\x03\x00" + bytes(MAX_DATAGRAM),
    ]
    for data in lies:
        with pytest.raises(DecodeError):
            decode_datagram(data)
    with pytest.raises(DecodeError):
        decode_handshake(b"\x00\x00\xfe\x70\x11\x01\x00")  # Noise message of 70,000 bytes
    with pytest.raises(DecodeError):
        decode_payload(b"\x01\x02\x00\x00\xfd\xff\xff")
