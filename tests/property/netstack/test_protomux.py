"""Two muxes under any sequence of moves and any delay, and one mux under any bytes."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from netstack.wire.protomux import ChannelClosed, ChannelOpened, Event, Fault, Message, Offered, Protomux

MOVES = st.lists(
    st.tuples(
        st.integers(0, 1),  # who
        st.sampled_from(["open", "send", "close", "refuse", "carry", "flush"]),
        st.integers(0, 3),  # of which name or channel
    ),
    max_size=60,
)


class Side:
    """One mux, what it believes to be open, and what it sent and got, channel by channel."""

    def __init__(self) -> None:
        self.mux = Protomux()
        self.mux.pair("p")
        self.numbers: list[int] = []
        self.opened: set[int] = set()
        self.got: list[tuple[bytes, bytes]] = []  # (channel handshake, body)
        self.handshakes: dict[int, bytes] = {}
        self.flying: deque[bytes] = deque()

    def happened(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case ChannelOpened(channel, _, _, handshake):
                    assert channel in self.numbers and channel not in self.opened
                    self.opened.add(channel)
                    self.handshakes[channel] = handshake
                case Message(channel, _, body):
                    assert channel in self.opened
                    self.got.append((self.handshakes[channel], body))
                case ChannelClosed(channel, rejected):
                    assert channel in self.numbers
                    assert rejected == (channel not in self.opened)
                    self.numbers.remove(channel)
                    self.opened.discard(channel)
                case Offered():
                    pass
                case Fault(reason):
                    raise AssertionError(reason)


@given(MOVES)
def test_honest_sides_never_fault_and_agree_at_the_end(moves: list[tuple[int, str, int]]) -> None:
    sides = Side(), Side()
    names: dict[bytes, list[bytes]] = {}  # handshake of a channel -> bodies sent on it, in order

    def flush(who: int) -> None:
        sides[who].flying.extend(sides[who].mux.take_outgoing())

    def carry(who: int) -> None:
        if sides[who].flying:
            other = sides[1 - who]
            other.happened(other.mux.receive(sides[who].flying.popleft()))

    own: dict[tuple[int, int], bytes] = {}
    for count, (who, move, which) in enumerate(moves):
        side = sides[who]
        if move == "open":
            handshake = b"%d" % count
            number = side.mux.open("p", bytes((which,)), handshake)
            side.numbers.append(number)
            own[who, number] = handshake
            names[handshake] = []
            side.happened(side.mux.take_effects())
        elif move == "send" and side.numbers:
            number = side.numbers[which % len(side.numbers)]
            assert side.mux.send(number, 0, b"%d" % count)
            names[own[who, number]].append(b"%d" % count)
        elif move == "close" and side.numbers:
            number = side.numbers.pop(which % len(side.numbers))
            side.opened.discard(number)
            side.mux.close(number)
        elif move == "refuse":
            side.mux.refuse("p", bytes((which,)))
        elif move == "flush":
            flush(who)
        elif move == "carry":
            flush(who)
            carry(who)
    for side in sides:
        side.mux.unpair("p")
        for which in range(4):
            side.mux.refuse("p", bytes((which,)))
    for _ in range(200):
        for who in (0, 1):
            flush(who)
            carry(who)
    assert not any(side.flying or side.mux.take_outgoing() for side in sides)
    # what is left is open on both sides or waits on one alone, and everything arrived in order, nothing twice
    assert len(sides[0].opened) == len(sides[1].opened)
    for side in sides:
        arrived: dict[bytes, list[bytes]] = {}
        for handshake, body in side.got:
            arrived.setdefault(handshake, []).append(body)
        for handshake, bodies in arrived.items():
            assert bodies == names[handshake][: len(bodies)]


@given(
    st.lists(st.binary(max_size=60) | st.builds(bytes.__add__, st.just(b"\x00"), st.binary(max_size=60)), max_size=30)
)
def test_arbitrary_frames_fault_at_most_once_and_stay_bounded(frames: list[bytes]) -> None:
    mux = Protomux(max_parked=5000, max_channels=8)
    mux.pair("", None)
    mux.open("p")
    faults = 0
    for frame in frames:
        faults += sum(isinstance(event, Fault) for event in mux.receive(frame))
        mux.take_outgoing()
    assert faults == (mux.fault is not None)
    assert mux.parked <= 5000 + 1000
