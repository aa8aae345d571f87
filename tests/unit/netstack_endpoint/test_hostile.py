"""What strangers, eavesdroppers and dishonest peers can do to an endpoint, and what it costs."""

from __future__ import annotations

import pytest

from identity.keys import SigningKey
from identity.noise import IK, NoiseSession
from netstack.dht.datagram import PEER_HANDSHAKE, Request, Response, decode_datagram, encode_request, encode_response
from netstack.endpoint import EndpointCore
from netstack.events import Closed, Failed, Frame, Opened, Reason
from netstack.limits import Limits
from netstack.namespaces import PEER_HANDSHAKE as PROLOGUE
from netstack.udp.port import Address
from netstack.udx.packet import encode_header
from netstack.wire.handshake import Initiator, target_of
from netstack.wire.messages import (
    Firewall,
    HandshakeMessage,
    NoisePayload,
    Refusal,
    RoutingMode,
    UdxInfo,
    decode_handshake,
    decode_payload,
    encode_handshake,
    encode_payload,
)
from tests.support.streams import stream
from tests.unit.netstack_endpoint.wire import ADA, BOB, EVE, A, B, C, Story

TARGET = target_of(BOB.public)


def request(noise: bytes, *, tid: int = 7, mode: int = RoutingMode.FROM_CLIENT, target: bytes = TARGET) -> bytes:
    return encode_request(
        Request(tid, B, PEER_HANDSHAKE, target=target, value=encode_handshake(HandshakeMessage(mode, noise)))
    )


def first_message(name: str, payload: NoisePayload | None = None) -> bytes:
    """Message 1 of a stranger who never comes back."""
    rng = stream(name)
    return Initiator(
        SigningKey.generate(rng), BOB.public, payload or NoisePayload(udx=UdxInfo(5), secret_stream=1), rng
    ).message


def listening(story: Story, address: Address) -> list[bytes]:
    """Collects what arrives at an address that is nobody's."""
    heard: list[bytes] = []

    def note(source: Address, target: Address, data: bytes) -> list[bytes]:
        if target == address:
            heard.append(data)
        return [data]

    story.filter = note
    return heard


def test_replayed_handshake_opens_no_connection() -> None:
    story = Story()
    recorded: list[bytes] = []

    def record(source: Address, target: Address, data: bytes) -> list[bytes]:
        if source == A and data[0] == 0x03:
            recorded.append(data)
        return [data]

    story.filter = record
    story.opened()
    story.inject(C, B, recorded[0])  # an eavesdropper, at once ...
    story.run(30)
    story.inject(C, B, recorded[0])  # ... and when the answer is long forgotten
    story.run(5)
    assert len(story.bob) == 2  # the connection, and one that waits for a dialler
    story.run(30)
    assert len(story.bob) == 1
    assert story.seen[A] == story.seen[B] == []


def test_repeated_and_duplicated_requests_get_one_answer() -> None:
    story = Story()
    heard = listening(story, C)
    message = first_message("once")
    for tid in (1, 2, 2, 3):
        story.inject(C, B, request(message, tid=tid))
    story.run(1)
    answers = [decode_datagram(data) for data in heard if data[0] == 0x13]
    assert [answer.tid for answer in answers] == [1, 2, 2, 3]
    assert len({answer.value for answer in answers if isinstance(answer, Response)}) == 1
    assert len(story.bob) == 1


def test_half_open_handshakes_are_bounded_and_expire() -> None:
    story = Story(bob=Limits(half_open=10))
    for n in range(30):
        story.inject((f"10.0.1.{n}", 5), B, request(first_message(f"stranger {n}")))
    story.run(1)
    assert len(story.bob) == 10
    story.run(20)
    assert len(story.bob) == 0
    assert story.seen[B] == []


def test_handshake_allowance_of_one_host_refills() -> None:
    story = Story(bob=Limits(handshake_burst=5, handshake_rate=1.0))
    messages = [request(first_message(f"stranger {n}")) for n in range(12)]
    for message in messages:
        story.inject(C, B, message)
    story.run(0.5)
    assert len(story.bob) == 5
    story.inject(("10.7.7.7", 1), B, request(first_message("from elsewhere")))
    story.run(3)
    assert len(story.bob) == 6
    for message in messages[5:]:
        story.inject(C, B, message)
    story.run(0.5)
    assert len(story.bob) == 6 + 3


def test_remembered_hosts_and_answers_are_bounded() -> None:
    story = Story(bob=Limits(hosts=20, answers=15, handshake_burst=1, half_open=1000))
    for n in range(60):
        story.inject((f"10.0.1.{n}", 5), B, request(first_message(f"stranger {n}")))
    story.run(1)
    listener = story.bob._listener
    assert len(listener._allowance) == 20
    assert len(listener._answers) == 15


def test_malformed_handshakes_get_no_answer() -> None:
    story = Story()
    good = first_message("good")
    for noise in (b"", b"x", bytes(96), good[:-1], good + b"x", bytes(1500)):
        story.inject(C, B, request(noise))
    for mode in (1, 2, 3, 4, 99):
        story.inject(C, B, request(good, mode=mode))
    story.inject(C, B, encode_request(Request(1, B, PEER_HANDSHAKE, target=TARGET)))
    story.inject(C, B, encode_request(Request(1, B, PEER_HANDSHAKE, value=b"x")))
    story.inject(C, B, encode_request(Request(1, B, PEER_HANDSHAKE, target=TARGET, value=b"\xff\xff")))
    story.inject(C, B, b"\x03\x18" + bytes(70_000))  # longer than UDP carries
    heard = listening(story, C)
    story.run(30)
    assert heard == []
    assert len(story.bob) == 0


def test_a_handshake_of_70_000_bytes_is_refused_unread() -> None:
    session = NoiseSession.respond(IK, PROLOGUE, BOB, stream(1))
    with pytest.raises(ValueError, match="65,535"):
        session.read(bytes(70_000))


@pytest.mark.parametrize(
    ("payload", "error"),
    [(NoisePayload(version=2), Refusal.VERSION_MISMATCH), (NoisePayload(secret_stream=1), Refusal.ABORTED)],
)
def test_dialler_with_unsupported_payload_gets_an_error(payload: NoisePayload, error: Refusal) -> None:
    story = Story()
    heard = listening(story, C)
    rng = stream("other")
    dial = Initiator(EVE, BOB.public, payload, rng)
    story.inject(C, B, request(dial.message))
    story.run(1)
    [data] = heard
    answer = decode_datagram(data)
    assert isinstance(answer, Response) and answer.value is not None
    assert dial.accept(decode_handshake(answer.value).noise).payload.error == error
    assert len(story.bob) == 0


def test_forged_answers_do_not_end_an_attempt() -> None:
    story = Story()
    forged = 0

    def forge(source: Address, target: Address, data: bytes) -> list[bytes]:
        nonlocal forged
        if target == B and data[0] == 0x03:
            asked = decode_datagram(data)
            for noise in (bytes(100), b"", bytes(600)):
                forged += 1
                value = encode_handshake(HandshakeMessage(RoutingMode.REPLY, noise))
                story.inject(B, A, encode_response(Response(asked.tid, A, value)))
                story.inject(C, A, encode_response(Response(asked.tid, A, value)))  # from another address
        return [data]

    story.filter = forge
    story.dial()
    story.run(1)
    assert forged == 3
    assert isinstance(story.seen[A][0], Opened)


def test_an_attempt_gives_up_after_many_forgeries() -> None:
    story = Story()
    conn = story.ada.connect(BOB.public, [C], ADA, story.now)
    heard = listening(story, C)
    story.run(0.1)
    tid = decode_datagram(heard[0]).tid
    value = encode_handshake(HandshakeMessage(RoutingMode.REPLY, bytes(100)))
    for _ in range(20):
        story.inject(C, A, encode_response(Response(tid, A, value)))
    story.run(0.1)
    assert story.seen[A] == [Failed(conn, Reason.REFUSED)]


def test_answer_with_error_fails_the_attempt_as_refused() -> None:
    for payload in (NoisePayload(error=Refusal.TRY_LATER), NoisePayload(), NoisePayload(version=7)):
        story = Story()
        conn = story.ada.connect(BOB.public, [C], ADA, story.now)
        heard = listening(story, C)
        story.run(0.1)
        asked = decode_datagram(heard[0])
        assert isinstance(asked, Request) and asked.value is not None
        session = NoiseSession.respond(IK, PROLOGUE, BOB, stream(1))
        decode_payload(session.read(decode_handshake(asked.value).noise))
        value = encode_handshake(HandshakeMessage(RoutingMode.REPLY, session.write(encode_payload(payload))))
        story.inject(C, A, encode_response(Response(asked.tid, A, value)))
        story.run(0.1)
        assert story.seen[A] == [Failed(conn, Reason.REFUSED)]


def test_answer_without_following_stream_fails_with_no_path() -> None:
    story = Story()
    story.filter = lambda source, target, data: [data] if data[0] != 0xFF else []
    conn = story.dial()
    story.run(20)
    assert story.seen[A] == [Failed(conn, Reason.NO_PATH)]
    assert story.seen[B] == []
    assert len(story.ada) == len(story.bob) == 0


def test_a_frame_above_our_cap_closes_the_connection() -> None:
    story = Story(bob=Limits(frame=1000))
    at_ada, at_bob = story.opened()
    story.ada.send(at_ada, bytes(1000), story.now)
    story.ada.send(at_ada, bytes(1001), story.now)
    story.run(2)
    assert story.seen[B] == [
        Frame(at_bob, bytes(1000)),
        Closed(at_bob, Reason.BAD_FRAME, "frame is longer than agreed"),
    ] or story.seen[B] == [Closed(at_bob, Reason.BAD_FRAME, "frame is longer than agreed")]
    assert story.seen[A] == [Closed(at_ada, Reason.RESET)]


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"\xff\xff\xff", "longer than agreed"),
        (b"\x05\x00\x00", "shorter than an empty one"),
        (b"\x20\x00\x00" + bytes(32), "does not open"),
    ],
)
def test_malformed_frames_close_the_connection(data: bytes, detail: str) -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    raw = story.ada.stream(at_ada)
    assert raw is not None
    raw.write(data)
    story.ada.hold(at_ada, 0, story.now)  # touches it
    story.run(2)
    [closed] = story.seen[B]
    assert isinstance(closed, Closed)
    assert (closed.conn, closed.reason) == (at_bob, Reason.BAD_FRAME)
    assert detail in closed.detail


def test_stream_that_ends_inside_a_frame_closes_as_bad_frame() -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    raw = story.ada.stream(at_ada)
    assert raw is not None
    raw.write(b"\x20\x00\x00half")
    story.ada.end(at_ada, story.now)
    story.run(2)
    assert story.seen[B] == [Closed(at_bob, Reason.BAD_FRAME, "the stream ends inside a frame")]


def test_packets_for_unknown_streams_are_ignored() -> None:
    story = Story()
    at_ada, _ = story.opened()
    heard = listening(story, C)
    for bits in (0, 1, 2, 4, 8, 16, 32, 63, 255):
        for id in (0, 1, 0xFFFFFFFF):
            story.inject(C, B, encode_header(bits, id, 0, 0, 0) + b"payload")
    story.run(5)
    assert heard == []
    assert story.seen[B] == []
    story.ada.send(at_ada, b"still here", story.now)
    story.run(1)
    assert story.frames(B) == [b"still here"]


def test_dht_requests_without_a_dht_get_empty_answers() -> None:
    story = Story()
    heard = listening(story, C)
    questions = [
        Request(1, B, 0, internal=True),
        Request(2, B, 2, internal=True, target=TARGET),
        Request(3, B, 2, target=TARGET),
        Request(4, B, 3, target=TARGET),
        Request(5, B, 9, target=TARGET),
        Request(6, B, 60_000),
        Request(7, B, PEER_HANDSHAKE, target=bytes(32), value=encode_handshake(HandshakeMessage(0, b"x"))),
    ]
    for question in questions:
        story.inject(C, B, encode_request(question))
    story.run(1)
    assert [decode_datagram(data) for data in heard] == [
        Response(1, C),
        Response(2, C),
        Response(3, C),
        Response(4, C),
        Response(5, C, error=1),
        Response(6, C, error=1),
        Response(7, C),
    ]


def test_answers_are_not_longer_than_requests() -> None:
    """Nobody gains by letting us answer to a forged source."""
    story = Story()
    heard = listening(story, C)
    message = request(first_message("stranger"))
    story.inject(C, B, message)
    story.run(0.015)
    assert sum(map(len, heard)) <= 2 * len(message)


def test_one_host_cannot_take_all_half_open_places() -> None:
    story = Story(bob=Limits(half_open=20, half_open_host=5))
    for n in range(30):
        story.inject(("10.9.9.9", 5), B, request(first_message(f"stranger {n}")))
    story.run(0.1)
    assert len(story.bob) == 5
    story.dial()
    story.run(1)
    assert isinstance(story.seen[A][0], Opened)


@pytest.mark.parametrize(("host", "share"), [("10.0.0.1", 3), ("127.0.0.1", 5)])
def test_one_host_cannot_take_all_connections(host: str, share: int) -> None:
    """Open ones count too: who a peer is, and whether it is wanted, is proved only inside."""
    story = Story(bob=Limits(connections_host=3))
    eve = (host, 7)
    story.cores[eve], story.seen[eve] = EndpointCore(stream("eve")), []
    conns = [story.cores[eve].connect(BOB.public, [B], EVE, story.now) for _ in range(5)]
    story.run(15)
    opened = [event.conn for event in story.seen[eve] if isinstance(event, Opened)]
    assert len(opened) == len(story.bob) == share
    if share == 3:
        story.cores[eve].abort(opened[0], story.now)
        story.run(20)
        again = story.cores[eve].connect(BOB.public, [B], EVE, story.now)  # there is room again
        story.run(2)
        assert again not in conns
        assert len(story.bob) == 3


def test_relayed_handshakes_are_ignored_without_a_dht() -> None:
    """A handshake that claims to be passed on would have us send wherever it says."""
    story = Story()
    heard = listening(story, C)
    noise = first_message("open", NoisePayload(firewall=Firewall.OPEN, udx=UdxInfo(5), secret_stream=1))
    for mode in (RoutingMode.FROM_RELAY, RoutingMode.FROM_SECOND_RELAY):
        value = encode_handshake(HandshakeMessage(mode, noise, C, C))
        story.inject(("10.9.9.9", 5), B, encode_request(Request(7, B, PEER_HANDSHAKE, target=TARGET, value=value)))
    story.run(5)
    assert heard == []
    assert len(story.bob) == 0


def test_repeated_handshake_is_answered_only_for_the_same_key() -> None:
    """It would tell that both keys live here."""
    story = Story()
    story.bob.listen(EVE)
    heard = listening(story, C)
    noise = first_message("curious")
    story.inject(C, B, request(noise))
    story.run(0.015)
    heard.clear()
    story.inject(C, B, request(noise, target=target_of(EVE.public)))
    story.run(0.025)
    assert [data for data in heard if data[0] == 0x13] == []


def test_random_datagrams_do_not_disturb_open_connections() -> None:
    rng = stream("noise")
    story = Story()
    at_ada, _ = story.opened()
    for n in range(3000):
        size = int.from_bytes(rng(2), "little") % 300
        data = rng(size) if size else b""
        first = (b"\x03", b"\x13", b"\xff\x01", b"\x00", b"")[n % 5]
        story.inject((f"10.1.{n % 256}.1", 5), B, first + data)
        story.inject(A, B, first + data)
    story.run(5)
    story.ada.send(at_ada, b"still here", story.now)
    story.run(2)
    assert story.frames(B) == [b"still here"]
