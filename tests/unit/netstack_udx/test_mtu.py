"""The search for the largest packet, and the packets in flight when the path changes."""

from __future__ import annotations

import pytest

from netstack.udp.port import Address
from netstack.udx.congestion import FixedWindow
from netstack.udx.events import RemoteChanged
from netstack.udx.flight import Flight
from netstack.udx.mtu import BASE, LARGEST, MAX_FAILURES, RAISE_AFTER, STEP, MtuSearch
from netstack.udx.packet import ACK, DATA, HEADER_SIZE, SACK, decode_header, encode_header, encode_sacks
from netstack.udx.rtt import RttEstimator
from netstack.udx.stream import UdxStream
from tests.property.udx.link import Conditions, Half, Link

PEER: Address = ("198.51.100.7", 7)
ELSEWHERE: Address = ("203.0.113.9", 9)
THERE, HERE = 1000, 2000
FULL = BASE - 48


def carried(mtu: float, size: int = 3_000_000) -> tuple[Half, Half]:
    """A transfer over a path of this MTU, to its end."""
    link = Link(3, Conditions(delay=0.01, rate=5e6, mtu=mtu))
    left, right = link.pair()
    link.send(left, bytes(size))
    assert link.run(lambda: left.reason is not None)
    assert right.arrived == size
    return left, right


def steps(search: MtuSearch, verdicts: str, now: float = 1.0) -> list[int]:
    """The sizes tried, with y for delivered and n for lost."""
    tried = []
    for verdict in verdicts:
        tried.append(search.wanted(now))
        search.sent(tried[-1])
        assert search.wanted(now) == 0  # one at a time
        if verdict == "y":
            search.delivered()
        else:
            search.lost(now)
    return tried


def test_mtu_search_climbs_in_steps_to_the_largest_size() -> None:
    search = MtuSearch()
    assert search.wanted(1.0) == 0  # nothing has been delivered
    search.base_works()
    assert steps(search, "y" * 10) == [*range(BASE + STEP, LARGEST, STEP), LARGEST]
    assert (search.size, search.wanted(1.0)) == (LARGEST, 0)


def test_three_lost_probes_in_a_row_suspend_the_mtu_search_for_ten_minutes() -> None:
    search = MtuSearch()
    search.base_works()
    assert steps(search, "nnynnn") == [1232, 1232, 1232, 1264, 1264, 1264]
    assert MAX_FAILURES == 3
    assert (search.size, search.wanted(2.0)) == (1232, 0)
    assert search.wanted(1.0 + RAISE_AFTER) == 1264


def test_new_path_restarts_the_mtu_search_at_the_base_size() -> None:
    search = MtuSearch()
    search.base_works()
    steps(search, "yyy")
    search.reset()
    assert (search.size, search.wanted(1.0)) == (BASE, 0)


@pytest.mark.parametrize(("mtu", "found"), [(1500, 1500), (1499, 1488), (1400, 1392), (1232, 1232), (1200, 1200)])
def test_transfer_finds_the_mtu_of_its_path(mtu: int, found: int) -> None:
    left, _ = carried(mtu)
    assert left.stream.mtu == found
    assert left.stream.timeouts == 0
    assert left.stream.flight.lost == 0  # the probes that were lost count as no congestion
    assert left.stream.flight.retransmitted == (0 if found == LARGEST else MAX_FAILURES)


def test_mtu_probe_is_a_full_packet_of_new_data_behind_padding() -> None:
    stream = lone()
    stream.write(bytes(range(256)) * 100)
    sent(stream, 1.0)
    tell(stream, 1.1, ack=1)
    stream.write(b"x" * 5000)
    probe, after, *_ = sent(stream, 1.1)
    header = decode_header(probe)
    assert (len(probe) + 28, header.bits, header.offset) == (BASE + STEP, DATA, STEP)
    assert probe[HEADER_SIZE : HEADER_SIZE + STEP] == bytes(STEP)
    assert decode_header(after).offset == 0
    seq = header.seq
    tell(stream, 1.2, ack=seq, sacks=[(seq + 1, seq + 5)])
    again = next(packet for packet in sent(stream, 1.2) if decode_header(packet).seq == seq)
    assert decode_header(again).offset == 0
    assert again[HEADER_SIZE:] == probe[HEADER_SIZE + STEP :]
    assert stream.mtu == BASE


def test_packets_return_to_the_base_size_after_a_timeout() -> None:
    link = Link(3, Conditions(delay=0.01, rate=5e6))
    left, right = link.pair()
    link.send(left, bytes(3_000_000), end=False)
    link.run(lambda: right.arrived == 3_000_000)
    assert left.stream.mtu == LARGEST
    link.cut = True
    link.send(left, b"lost", end=False)
    link.run_for(3.0)
    link.cut = False
    assert left.stream.timeouts > 0
    assert left.stream.mtu == BASE


# -- another path -----------------------------------------------------------------------------------------------------


def lone() -> UdxStream:
    """A stream whose peer is this test, with 23 packets of room."""
    stream = UdxStream(HERE, congestion=FixedWindow())
    stream.connect(THERE, PEER, 1.0, rtt=0.1)
    return stream


def sent(stream: UdxStream, now: float) -> list[bytes]:
    return [data for _, data in addressed(stream, now)]


def addressed(stream: UdxStream, now: float) -> list[tuple[Address, bytes]]:
    out = []
    for item in stream.take_outgoing(now):
        step = item.segment or len(item.data)
        out += [(item.address, bytes(item.data[at : at + step])) for at in range(0, len(item.data), step)]
    return out


def tell(stream: UdxStream, now: float, *, ack: int, sacks: list[tuple[int, int]] | None = None) -> None:
    packet = encode_header(SACK if sacks else ACK, HERE, 1 << 20, 0, ack) + encode_sacks(sacks or [])
    stream.receive(memoryview(packet), PEER, now)


def where(packets: list[tuple[Address, bytes]]) -> list[tuple[Address, int, int]]:
    """(to, id, seq) of each."""
    return [(to, decode_header(data).stream, decode_header(data).seq) for to, data in packets]


def test_packets_in_flight_stay_on_the_old_path_until_they_time_out() -> None:
    stream = lone()
    stream.write(bytes(FULL * 3))
    sent(stream, 1.0)
    stream.change_remote(ELSEWHERE, 1.05, remote_id=77)
    assert stream.take_effects() == [RemoteChanged(ELSEWHERE)]
    stream.write(bytes(FULL * 2))
    assert where(addressed(stream, 1.05)) == [(ELSEWHERE, 77, 3), (ELSEWHERE, 77, 4)]
    tell(stream, 1.06, ack=0, sacks=[(1, 5)])  # the new path is the faster one: the old one gets its time
    assert addressed(stream, 1.06) == []
    stream.wake(1.6)
    tell(stream, 1.6, ack=0, sacks=[(1, 5)])
    assert where(addressed(stream, 1.6)) == [(PEER, THERE, 0)]
    while not stream.timeouts:
        at = stream.next_wake()
        stream.wake(at)
        again = addressed(stream, at)
    assert where(again) == [(ELSEWHERE, 77, 0)]


def test_packets_in_flight_leave_a_forgotten_path() -> None:
    stream = lone()
    stream.write(bytes(FULL * 3))
    sent(stream, 1.0)
    stream.change_remote(ELSEWHERE, 1.05, remote_id=77)
    stream.write(bytes(FULL * 2))
    addressed(stream, 1.05)
    stream.forget_old_paths()
    stream.wake(1.6)
    tell(stream, 1.6, ack=0, sacks=[(1, 5)])
    assert where(addressed(stream, 1.6)) == [(ELSEWHERE, 77, 0)]


def test_new_path_begins_without_estimates() -> None:
    link = Link(3, Conditions(delay=0.01, rate=5e6))
    left, right = link.pair()
    link.send(left, bytes(3_000_000), end=False)
    link.run(lambda: right.arrived == 3_000_000)
    known = left.stream
    before = known.mtu, known.rtt.known
    known.change_remote(ELSEWHERE, link.now)
    assert (before, (known.mtu, known.rtt.known)) == ((LARGEST, True), (BASE, False))
    assert known.congestion.window == UdxStream(5).congestion.window


def test_changed_port_alone_keeps_the_estimates_of_the_path() -> None:
    stream = UdxStream(HERE, congestion=FixedWindow(), adopt=lambda source: True)
    stream.connect(THERE, PEER, 1.0, rtt=0.1)
    stream.receive(memoryview(encode_header(ACK, HERE, 1 << 20, 0, 0)), (PEER[0], 8), 1.1)
    before = stream.rtt.known
    stream.receive(memoryview(encode_header(ACK, HERE, 1 << 20, 0, 0)), ELSEWHERE, 1.2)
    assert (before, stream.rtt.known) == (True, False)
    assert stream.take_effects() == [RemoteChanged((PEER[0], 8)), RemoteChanged(ELSEWHERE)]


def test_moved_peer_gets_all_packets_at_its_new_address() -> None:
    stream = UdxStream(HERE, congestion=FixedWindow(), adopt=lambda source: True)
    stream.connect(THERE, PEER, 1.0, rtt=0.1)
    stream.write(b"lost on the old way")
    sent(stream, 1.0)
    stream.receive(memoryview(encode_header(ACK, HERE, 1 << 20, 0, 0)), ELSEWHERE, 1.1)
    at = stream.next_wake()
    stream.wake(at)
    assert where(addressed(stream, at)) == [(ELSEWHERE, THERE, 0)]


def test_stream_changes_paths_in_the_middle_of_a_transfer() -> None:
    link = Link(4, Conditions(delay=0.02, rate=2e6, queue=100e3, loss=0.02))
    left, right = link.pair()
    data = bytes(range(256)) * 4000
    link.send(left, data)
    link.run(lambda: right.arrived > 300_000)
    link.moved[right.side] = ELSEWHERE
    left.stream.change_remote(ELSEWHERE, link.now)
    assert link.run(lambda: left.reason is not None, limit=30)
    assert bytes(right.received) == data


def test_mtu_probe_of_an_older_path_does_not_count_for_the_new_one() -> None:
    for moved, found in ((False, True), (True, None)):
        flight = Flight(RttEstimator())
        flight.send_new(memoryview(bytes(BASE)), BASE, False, 0.0, padding=STEP)
        if moved:
            flight.new_path()
        flight.acknowledge(1, (), 0.1)
        assert flight.probe is found
