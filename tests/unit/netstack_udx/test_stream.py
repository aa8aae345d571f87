"""A stream on a simulated path: windows, ends, destroys, silence, moving peers, hostile packets."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.udp.port import Address, Datagram
from netstack.udx.congestion import FixedWindow
from netstack.udx.events import Closed, CloseReason, Data, Drained, End, Message, RemoteChanged
from netstack.udx.intake import dispatch
from netstack.udx.packet import (
    ACK,
    DATA,
    DESTROY,
    END,
    HEADER_SIZE,
    HEARTBEAT,
    SACK,
    Header,
    decode_header,
    decode_sacks,
    encode_header,
    encode_sacks,
)
from netstack.udx.stream import RECEIVE_WINDOW, UdxStream
from tests.property.udx.link import LEFT, Conditions, Half, Link

PEER: Address = ("198.51.100.7", 7)
THERE, HERE = 1000, 2000  # ids: of the peer's end, of ours


def quiet_link(seed: int = 1, **conditions: float) -> tuple[Link, Half, Half]:
    link = Link(seed, Conditions(**conditions))
    left, right = link.pair()
    return link, left, right


def lone(**options: object) -> UdxStream:
    """A stream whose peer is this test."""
    stream = UdxStream(HERE, congestion=FixedWindow(), **options)  # type: ignore[arg-type]
    stream.connect(THERE, PEER, 1.0)
    return stream


def tell(
    stream: UdxStream, bits: int, now: float, *, seq: int = 0, ack: int = 0, window: int = 1 << 20, body: bytes = b""
) -> None:
    packet = encode_header(bits, HERE, window, seq, ack) + body
    stream.receive(memoryview(packet), PEER, now)


def sent(stream: UdxStream, now: float) -> list[tuple[Header, bytes]]:
    """What the stream sends now, packet by packet."""
    out = []
    for item in stream.take_outgoing(now):
        assert item.address == stream.remote
        step = item.segment or len(item.data)
        for at in range(0, len(item.data), step):
            piece = bytes(item.data[at : at + step])
            out.append((decode_header(piece), piece[HEADER_SIZE:]))
    return out


def shape(packets: list[tuple[Header, bytes]]) -> list[tuple[int, int, int, int]]:
    """(type bits, seq, ack, payload length) of each."""
    return [(header.bits, header.seq, header.ack, len(body)) for header, body in packets]


# -- packets out ------------------------------------------------------------------------------------------------------


def test_small_writes_fill_packets_and_the_last_one_carries_the_end() -> None:
    stream = lone()
    for _ in range(3):
        stream.write(bytes(1000))
    stream.end()
    assert shape(sent(stream, 1.0)) == [(DATA, 0, 0, 1152), (DATA, 1, 0, 1152), (DATA | END, 2, 0, 696)]


def test_end_without_data_is_an_empty_packet() -> None:
    stream = lone()
    stream.end()
    assert shape(sent(stream, 1.0)) == [(END, 0, 0, 0)]


def test_ipv6_packets_are_smaller() -> None:
    stream = UdxStream(HERE, congestion=FixedWindow())
    stream.connect(THERE, ("2001:db8::1", 7), 1.0)
    stream.write(bytes(3000))
    assert [size for *_, size in shape(sent(stream, 1.0))] == [1132, 1132, 736]


def test_nothing_is_sent_before_connect() -> None:
    stream = UdxStream(HERE)
    stream.write(b"early")
    tell(stream, DATA, 1.0, body=b"also early")
    assert stream.take_outgoing(1.0) == []
    assert stream.take_effects() == [Data(b"also early")]
    stream.connect(THERE, PEER, 2.0)
    assert shape(sent(stream, 2.0)) == [(DATA, 0, 1, 5)]


def test_retransmission_keeps_number_and_payload_and_updates_the_rest() -> None:
    stream = lone()
    stream.write(b"first")
    assert shape(sent(stream, 1.0)) == [(DATA, 0, 0, 5)]
    tell(stream, DATA, 1.1, seq=0, body=b"theirs")
    sent(stream, 1.1)
    stream.set_buffered(1000)
    stream.wake(stream.next_wake())
    header, body = sent(stream, 2.5)[0]
    assert (header.seq, header.ack, body) == (0, 1, b"first")
    assert header.window == RECEIVE_WINDOW - 1000


# -- acknowledgements -------------------------------------------------------------------------------------------------


def test_one_acknowledgement_answers_a_batch() -> None:
    stream = lone()
    for seq in range(5):
        tell(stream, DATA, 1.0, seq=seq, body=b"%d" % seq)
    assert shape(sent(stream, 1.0)) == [(ACK, 0, 5, 0)]
    assert sent(stream, 1.0) == []


def test_gaps_are_reported_as_sack_ranges() -> None:
    stream = lone()
    for seq in (0, 2, 3, 7):
        tell(stream, DATA, 1.0, seq=seq, body=b"%d" % seq)
    ((header, body),) = sent(stream, 1.0)
    assert (header.bits, header.ack, decode_sacks(body)) == (SACK, 1, [(2, 4), (7, 8)])
    tell(stream, DATA, 1.0, seq=1, body=b"1")
    assert stream.take_effects() == [Data(b"0123")]
    ((header, body),) = sent(stream, 1.0)
    assert (header.ack, decode_sacks(body)) == (4, [(7, 8)])


def test_data_packets_carry_the_acknowledgement() -> None:
    stream = lone()
    tell(stream, DATA, 1.0, body=b"question")
    stream.write(b"answer")
    assert shape(sent(stream, 1.0)) == [(DATA, 0, 1, 6)]


def test_duplicates_are_acknowledged_and_not_delivered() -> None:
    stream = lone()
    for _ in range(3):
        tell(stream, DATA, 1.0, body=b"once")
    assert stream.take_effects() == [Data(b"once")]
    assert shape(sent(stream, 1.0)) == [(ACK, 0, 1, 0)]
    tell(stream, DATA, 1.1, body=b"once")
    assert shape(sent(stream, 1.1)) == [(ACK, 0, 1, 0)]


def test_heartbeat_is_acknowledged() -> None:
    stream = lone()
    tell(stream, HEARTBEAT, 1.0)
    assert shape(sent(stream, 1.0)) == [(ACK, 0, 0, 0)]


def test_data_with_padding_or_sacks_is_decoded() -> None:
    stream = lone()
    stream.write(bytes(5000))
    sent(stream, 1.0)
    sacks = encode_sacks([(1, 2)])
    packet = encode_header(DATA | SACK, HERE, 1 << 20, 0, 0, offset=len(sacks)) + sacks + b"data"
    stream.receive(memoryview(packet), PEER, 1.1)
    probe = encode_header(DATA, HERE, 1 << 20, 1, 0, offset=32) + bytes(32) + b" more"
    stream.receive(memoryview(probe), PEER, 1.1)
    assert stream.take_effects() == [Data(b"data more")]
    assert stream.flight.sacked == 1


# -- windows ----------------------------------------------------------------------------------------------------------


def test_closed_window_stops_data_and_is_probed_with_heartbeats() -> None:
    stream = lone()
    stream.write(bytes(1152))
    sent(stream, 1.0)
    stream.write(bytes(5000))
    sent(stream, 1.0)
    tell(stream, ACK, 1.1, seq=0, ack=6, window=0)
    stream.write(bytes(3000))
    assert sent(stream, 1.1) == []
    first = stream.next_wake()
    stream.wake(first)
    assert shape(sent(stream, first)) == [(HEARTBEAT, 6, 0, 0)]
    second = stream.next_wake()
    assert second - first == pytest.approx(2 * (first - 1.1))
    stream.wake(second)
    assert shape(sent(stream, second)) == [(HEARTBEAT, 6, 0, 0)]
    tell(stream, ACK, second + 0.1, seq=0, ack=6, window=1 << 20)
    assert [size for *_, size in shape(sent(stream, second + 0.1))] == [
        32 + 1152,
        1152,
        696,
    ]  # the first probes the MTU


def test_old_windows_do_not_replace_newer_ones() -> None:
    stream = lone()
    tell(stream, ACK, 1.0, seq=5, ack=0, window=0)
    tell(stream, ACK, 1.1, seq=4, ack=0, window=1 << 20)
    stream.write(b"x")
    assert sent(stream, 1.1) == []


def test_advertised_window_shrinks_by_unread_bytes_and_reopening_is_sent_at_once() -> None:
    stream = lone()
    stream.set_buffered(RECEIVE_WINDOW - 100)
    tell(stream, HEARTBEAT, 1.0)
    assert sent(stream, 1.0)[0][0].window == 100
    stream.set_buffered(RECEIVE_WINDOW * 2)
    tell(stream, HEARTBEAT, 1.0)
    assert sent(stream, 1.0)[0][0].window == 0
    stream.set_buffered(0)
    assert sent(stream, 1.0)[0][0].window == RECEIVE_WINDOW


def test_write_returns_false_above_high_water_until_drained() -> None:
    link, left, right = quiet_link()
    writes = 0
    while left.stream.write(bytes(50_000)):
        writes += 1
    assert 256 * 1024 <= left.stream.queued <= left.stream.high_water + 50_000
    link.serve(left)
    link.run(lambda: any(isinstance(event, Drained) for event in left.seen))
    assert left.stream.queued < left.stream.high_water
    link.run(lambda: right.arrived == (writes + 1) * 50_000)


def test_bytes_in_flight_never_exceed_the_peers_window() -> None:
    stream = lone()
    tell(stream, ACK, 1.0, window=10_000)
    stream.write(bytes(100_000))
    assert sum(HEADER_SIZE + len(body) for _, body in sent(stream, 1.0)) <= 10_000


# -- ends and destroys ------------------------------------------------------------------------------------------------


def test_stream_closes_when_both_sides_have_ended() -> None:
    link, left, right = quiet_link()
    link.send(left, b"hello")
    link.run(lambda: left.reason is not None and right.reason is not None)
    assert (left.story, right.story) == (["End", "Closed"], ["End", "Closed"])
    assert bytes(right.received) == b"hello"
    assert link.run(lambda: left.stream.finished and right.stream.finished)


def test_end_of_one_side_leaves_the_other_direction_open() -> None:
    link, left, right = quiet_link()
    right.end_back = False
    link.send(left, b"question")
    link.run(lambda: right.story == ["End"])
    link.send(right, b"long answer " * 10_000)
    link.run(lambda: left.reason is not None)
    assert len(left.received) == 120_000
    with pytest.raises(ValueError, match="end"):
        left.stream.write(b"more")


def test_lost_final_acknowledgement_is_repeated() -> None:
    stream = lone()
    stream.end()
    sent(stream, 1.0)
    tell(stream, END | DATA, 1.1, seq=0, ack=1, body=b"bye")
    assert stream.take_effects() == [Data(b"bye"), End()]
    assert shape(sent(stream, 1.1)) == [(ACK, 1, 1, 0)]
    assert stream.take_effects() == [Closed(CloseReason.ENDED)]
    tell(stream, END | DATA, 2.1, seq=0, ack=1, body=b"bye")
    assert shape(sent(stream, 2.1)) == [(ACK, 1, 1, 0)]
    stream.wake(stream.next_wake())
    assert stream.finished
    assert stream.next_wake() == inf


def test_destroy_is_sent_once_and_repeated_if_the_peer_goes_on_sending() -> None:
    stream = lone()
    stream.write(bytes(2000))
    sent(stream, 1.0)
    stream.destroy()
    assert stream.take_effects() == [Closed(CloseReason.DESTROYED)]
    assert shape(sent(stream, 1.0)) == [(DESTROY, 2, 0, 0)]
    assert sent(stream, 1.0) == []
    tell(stream, DATA, 1.2, body=b"still here")
    assert shape(sent(stream, 1.2)) == [(DESTROY, 2, 0, 0)]
    assert stream.take_effects() == []
    assert not stream.write(b"too late")


def test_repeated_destroys_are_bounded() -> None:
    stream = lone()
    stream.destroy()
    answers = 0
    for at in range(100):
        tell(stream, DATA, 1.0 + at / 100, seq=at, body=b"x")
        answers += len(sent(stream, 1.0 + at / 100))
    assert answers <= 17


def test_destroy_of_the_peer_closes_at_once() -> None:
    stream = lone()
    stream.write(bytes(100_000))
    sent(stream, 1.0)
    tell(stream, DESTROY, 1.1, seq=0)
    assert stream.take_effects() == [Closed(CloseReason.RESET)]
    assert stream.finished
    assert sent(stream, 1.2) == []


def test_outdated_destroy_is_ignored() -> None:
    stream = lone()
    tell(stream, DATA, 1.0, seq=0, body=b"a")
    tell(stream, DESTROY, 1.0, seq=0)
    assert stream.closed is None


def test_destroy_before_connect_finishes_at_once() -> None:
    stream = UdxStream(HERE)
    stream.destroy()
    assert stream.take_effects() == [Closed(CloseReason.DESTROYED)]
    assert stream.finished


# -- silence ----------------------------------------------------------------------------------------------------------


def test_dead_path_closes_the_stream_after_six_timeouts() -> None:
    link, left, _ = quiet_link()
    link.cut = True
    link.send(left, bytes(5000), end=False)
    link.run(lambda: left.reason is not None)
    assert left.reason is CloseReason.TIMED_OUT
    assert left.stream.timeouts == 7
    assert 10 < link.now - 100 < 40
    assert left.story == ["Closed"]


def test_path_that_recovers_before_the_timeouts_loses_nothing() -> None:
    link, left, right = quiet_link()
    link.send(left, bytes(range(256)) * 2000, end=False)
    link.run(lambda: right.arrived > 100_000)
    link.cut = True
    link.run_for(6.0)
    link.cut = False
    assert link.run(lambda: right.arrived == 512_000, limit=20)
    assert bytes(right.received) == bytes(range(256)) * 2000


def test_lost_tail_is_probed_before_the_retransmission_timeout() -> None:
    link, left, right = quiet_link()
    link.cut = True
    link.send(left, b"lost", end=False)
    link.run_for(0.05)
    link.cut = False
    assert link.run(lambda: right.arrived == 4, limit=0.3)
    assert left.stream.timeouts == 0


def test_idle_stream_has_no_timer_except_keepalive() -> None:
    stream = lone()
    assert stream.next_wake() == inf
    stream = lone(keepalive=5.0)
    assert stream.next_wake() == 6.0
    stream.wake(6.0)
    assert shape(sent(stream, 6.0)) == [(HEARTBEAT, 0, 0, 0)]
    assert stream.next_wake() == 11.0


def test_budget_bounds_one_take_and_schedules_the_next() -> None:
    stream = UdxStream(HERE, congestion=FixedWindow(window=1 << 20))
    stream.connect(THERE, PEER, 1.0)
    tell(stream, ACK, 1.0, window=1 << 20)
    stream.write(bytes(400_000))
    first = sum(len(body) for _, body in sent(stream, 2.0))
    assert first == 400_000
    stream = UdxStream(HERE, congestion=FixedWindow(window=1 << 20))
    stream.connect(THERE, PEER, 1.0)
    stream.write(bytes(400_000))
    out = stream.take_outgoing(2.0, budget=100_000)
    assert 100_000 <= sum(len(item.data) for item in out) <= 100_000 + 65_000
    assert stream.next_wake() <= 2.0


# -- addresses --------------------------------------------------------------------------------------------------------


def test_moved_peer_is_followed_when_the_hook_returns_true() -> None:
    link, left, right = quiet_link()
    asked: list[Address] = []
    outside: Address = ("203.0.113.9", 9999)

    def adopt(source: Address) -> bool:
        asked.append(source)
        return source == outside

    right.stream.adopt = adopt
    link.send(left, b"before ", end=False)
    link.run(lambda: right.arrived == 7)
    link.moved[LEFT] = outside
    link.send(left, b"after")
    link.run(lambda: left.reason is not None and right.reason is not None)
    assert bytes(right.received) == b"before after"
    assert right.seen[0] == RemoteChanged(outside)
    assert asked == [outside]
    assert right.stream.remote == outside


def test_other_addresses_are_dropped_by_the_hook_and_taken_without_one() -> None:
    stream = lone(adopt=lambda source: False)
    packet = encode_header(DATA, HERE, 1 << 20, 0, 0) + b"forged"
    stream.receive(memoryview(packet), ("198.51.100.8", 8), 1.0)
    assert (stream.take_effects(), stream.remote) == ([], PEER)
    stream = lone()
    stream.receive(memoryview(packet), ("198.51.100.8", 8), 1.0)
    assert (stream.take_effects(), stream.remote) == ([Data(b"forged")], PEER)


def test_hook_may_take_packets_from_the_peers_old_address() -> None:
    stream = lone(adopt=lambda source: None)
    packet = encode_header(DATA, HERE, 1 << 20, 0, 0) + b"late"
    stream.receive(memoryview(packet), ("198.51.100.8", 8), 1.0)
    assert (stream.take_effects(), stream.remote) == ([Data(b"late")], PEER)


def test_owner_moves_the_stream_to_another_address() -> None:
    stream = lone()
    stream.change_remote(("198.51.100.8", 8), 1.0)
    stream.write(b"x")
    assert stream.take_outgoing(1.0)[0].address == ("198.51.100.8", 8)
    assert stream.take_effects() == [RemoteChanged(("198.51.100.8", 8))]


# -- messages ---------------------------------------------------------------------------------------------------------


def test_unreliable_messages_are_delivered_outside_of_the_stream_order() -> None:
    link, left, right = quiet_link()
    left.stream.send_message(b"ping")
    link.serve(left)
    link.run(lambda: bool(right.seen), limit=1)
    assert right.seen == [Message(b"ping")]
    with pytest.raises(ValueError, match="longer"):
        left.stream.send_message(bytes(2000))


# -- hostile input ----------------------------------------------------------------------------------------------------

hostile = st.builds(
    lambda bits, offset, window, seq, ack, body: encode_header(bits, HERE, window, seq, ack, offset) + body,
    st.integers(0, 255),
    st.sampled_from([0, 0, 0, 8, 16, 255]),
    st.integers(0, 2**32 - 1),
    st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)),
    st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)),
    st.one_of(
        st.binary(max_size=40),
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20).map(encode_sacks),
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(hostile, max_size=30), st.sampled_from([0, 20, 60]))
def test_arbitrary_packets_never_break_a_stream(packets: list[bytes], segment: int) -> None:
    stream = lone()
    stream.write(bytes(30_000))
    now = 1.0
    sent(stream, now)
    blob = b"".join(packet.ljust(segment, b"\0")[:segment] if segment else b"" for packet in packets)
    batches = (
        [Datagram(memoryview(blob), PEER, segment)]
        if blob
        else [Datagram(memoryview(packet), PEER, 0) for packet in packets]
    )
    for batch in batches:
        now += 0.01
        dispatch(batch, {HERE: stream}, now, {})
        sent(stream, now)
        flight = stream.flight
        assert 0 <= flight.inflight <= flight.outstanding
        assert flight.first <= flight.next <= 27 + 30
    stream.take_effects()
    for _ in range(20):
        if (at := stream.next_wake()) == inf:
            break
        stream.wake(at)
        sent(stream, at)


def test_acknowledgements_of_unsent_packets_are_ignored() -> None:
    stream = lone()
    stream.write(bytes(3000))
    sent(stream, 1.0)
    tell(stream, ACK, 1.1, ack=4)
    tell(stream, SACK, 1.1, body=encode_sacks([(1, 9), (2, 2), (3, 1)]))
    assert (stream.flight.first, stream.flight.packets) == (0, 3)
    tell(stream, ACK, 1.2, ack=3)
    assert (stream.flight.first, stream.flight.packets) == (3, 0)


def test_sequence_numbers_wrap_at_32_bits() -> None:
    link, left, right = quiet_link(loss=0.1, jitter=0.01)
    for half in (left, right):
        half.stream.flight.first = half.stream.flight.next = 2**32 - 50
        half.stream._in.next = 2**32 - 50
    data = random.Random(3).randbytes(400_000)
    link.send(left, data)
    link.send(right, data)
    link.run(lambda: left.reason is not None and right.reason is not None)
    assert bytes(right.received) == bytes(left.received) == data
    assert left.stream.flight.next > 2**32


# -- runs -------------------------------------------------------------------------------------------------------------


def data_run(seqs: list[int], size: int = 100, stream: int = HERE) -> bytes:
    return b"".join(encode_header(DATA, stream, 1 << 20, seq, 0) + bytes([seq & 255]) * size for seq in seqs)


@pytest.mark.parametrize("seqs", [[0, 1, 2, 3], [3, 2, 1, 0], [0, 0, 1, 1], [2, 3, 0, 1], [0, 1, 2, 3, 1, 2]])
def test_run_delivers_the_same_bytes_as_single_packets(seqs: list[int]) -> None:
    whole, single = lone(), lone()
    touched: dict[int, UdxStream] = {}
    blob = data_run(seqs)
    left = dispatch(Datagram(memoryview(blob), PEER, 120), {HERE: whole}, 1.0, touched)
    for at in range(0, len(blob), 120):
        single.receive(memoryview(blob[at : at + 120]), PEER, 1.0)
    assert (left, touched) == ([], {HERE: whole})
    streams = (whole, single)
    texts = [b"".join(event.data for event in stream.take_effects() if isinstance(event, Data)) for stream in streams]
    assert texts[0] == texts[1] == b"".join(bytes([seq]) * 100 for seq in sorted(set(seqs)))
    assert sent(whole, 1.0) == sent(single, 1.0)


def test_run_of_several_streams_is_split_and_unknown_packets_are_returned() -> None:
    mine, other = lone(), UdxStream(77, congestion=FixedWindow())
    blob = data_run([0, 1]) + data_run([0], stream=77) + data_run([0], stream=78) + bytes(120) + data_run([2])[:60]
    left = dispatch(Datagram(memoryview(blob), PEER, 120), {HERE: mine, 77: other}, 1.0, {})
    assert [len(datagram.data) for datagram in left] == [120, 120]
    assert other.take_effects() == [Data(bytes(100))]
    assert b"".join(event.data for event in mine.take_effects() if isinstance(event, Data)) == (
        bytes(100) + b"\1" * 100 + b"\2" * 40
    )


def test_highest_acknowledgement_of_a_run_counts() -> None:
    stream = lone()
    stream.write(bytes(1152 * 10))
    sent(stream, 1.0)
    acks = b"".join(encode_header(ACK, HERE, 1 << 20, 0, ack) for ack in (1, 2, 9, 3))
    dispatch(Datagram(memoryview(acks), PEER, 20), {HERE: stream}, 1.1, {})
    assert stream.flight.first == 9
