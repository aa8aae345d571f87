"""`tests/vectors/netstack.json`: one connection byte for byte, from two seeds to frames on a channel."""

from __future__ import annotations

from identity.keys import SigningKey
from netstack.dht.datagram import PEER_HANDSHAKE, Request, Response, decode_datagram, encode_request, encode_response
from netstack.wire.handshake import Initiator, answer, target_of
from netstack.wire.messages import (
    Firewall,
    HandshakeMessage,
    NoisePayload,
    RoutingMode,
    UdxInfo,
    decode_handshake,
    encode_handshake,
    encode_payload,
)
from netstack.wire.protomux import ChannelClosed, ChannelOpened, Message, Protomux
from netstack.wire.secret_stream import SecretStream
from tests.support.streams import stream
from tests.support.vectors import matches

ADA, BOB = SigningKey.from_seed(b"\x01" * 32), SigningKey.from_seed(b"\x02" * 32)
A, B = ("192.0.2.1", 49737), ("198.51.100.2", 1234)


def test_whole_connection_matches_vectors_byte_for_byte() -> None:
    from_ada = NoisePayload(firewall=Firewall.OPEN, addresses4=(A,), udx=UdxInfo(0x11223344), secret_stream=1)
    from_bob = NoisePayload(firewall=Firewall.OPEN, udx=UdxInfo(7), secret_stream=1)
    dial = Initiator(ADA, BOB.public, from_ada, stream("ada"))
    answered = answer(BOB, dial.message, stream("bob"), lambda remote, payload: from_bob)
    assert answered is not None
    ada, bob = dial.accept(answered[0]), answered[1]
    assert bob is not None
    asked = Request(
        0x0102, B, PEER_HANDSHAKE, target=target_of(BOB.public),
        value=encode_handshake(HandshakeMessage(RoutingMode.FROM_CLIENT, dial.message)),
    )  # fmt: skip
    said = Response(0x0102, A, encode_handshake(HandshakeMessage(RoutingMode.REPLY, answered[0])))
    mine = SecretStream(initiator=True, handshake_hash=ada.hash, keys=ada.keys, rng=stream("ada header"))
    mux = Protomux()
    channel = mux.open("kithkin/example/1", b"id", b"hello")
    opening = mux.take_outgoing()
    mux.send(channel, 0, b"alone")
    single = mux.take_outgoing()
    mux.send(channel, 1, b"two")
    mux.send(channel, 2, b"together")
    batch = mux.take_outgoing()
    mux.close(channel)
    frames = [*opening, *single, *batch, *mux.take_outgoing()]
    sealed = [mine.seal(b""), *map(mine.seal, frames)]

    kept = matches(
        "netstack",
        {
            "initiator seed": ADA.seed.hex(),
            "responder seed": BOB.seed.hex(),
            "initiator ephemeral seed": stream("ada")(32).hex(),
            "responder ephemeral seed": stream("bob")(32).hex(),
            "payload 1": encode_payload(from_ada).hex(),
            "payload 2": encode_payload(from_bob).hex(),
            "request": encode_request(asked).hex(),
            "response": encode_response(said).hex(),
            "handshake hash": ada.hash.hex(),
            "initiator key": ada.keys[0].hex(),
            "responder key": ada.keys[1].hex(),
            "initiator opening": mine.opening.hex(),
            "mux frames": [frame.hex() for frame in frames],
            "sealed frames": [frame.hex() for frame in sealed],
        },
    )

    request = decode_datagram(bytes.fromhex(kept["request"]))
    response = decode_datagram(bytes.fromhex(kept["response"]))
    assert (request, response) == (asked, said)
    assert request.value is not None and response.value is not None
    read = answer(BOB, decode_handshake(request.value).noise, stream("bob"), lambda remote, payload: from_bob)
    assert read is not None and read[1] == bob
    assert dial.accept(decode_handshake(response.value).noise) == ada
    theirs = SecretStream(initiator=False, handshake_hash=bob.hash, keys=bob.keys, rng=stream("bob header"))
    wire = bytes.fromhex(kept["initiator opening"] + "".join(kept["sealed frames"]))
    events = []
    other = Protomux()
    number = other.open("kithkin/example/1", b"id")
    for frame in theirs.receive([wire]):
        events += other.receive(frame)
    assert events == [
        ChannelOpened(number, "kithkin/example/1", b"id", b"hello"),
        Message(number, 0, b"alone"),
        Message(number, 1, b"two"),
        Message(number, 2, b"together"),
        ChannelClosed(number, rejected=False),
    ]
