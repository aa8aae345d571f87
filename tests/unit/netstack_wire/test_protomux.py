"""Protomux as transcripts: two muxes, the frames between them, what each saw."""

from __future__ import annotations

from identity.codec import Writer
from netstack.wire.protomux import ChannelClosed, ChannelOpened, Event, Fault, Message, Offered, Protomux


class Pair:
    """Two muxes and what they saw; `settle` carries frames both ways until nothing moves."""

    def __init__(self, **limits: int) -> None:
        self.a, self.b = Protomux(**limits), Protomux(**limits)
        self.seen_a: list[Event] = []
        self.seen_b: list[Event] = []
        self.frames = 0

    def rest(self) -> None:
        """Each side hears from the other once more: numbers that were closed are given out again."""
        self.a.receive(b"")
        self.b.receive(b"")

    def settle(self) -> None:
        moved = True
        while moved:
            moved = False
            for source, target, seen in ((self.a, self.b, self.seen_b), (self.b, self.a, self.seen_a)):
                for frame in source.take_outgoing():
                    seen.extend(target.receive(frame))
                    self.frames += 1
                    moved = True
        self.seen_a.extend(self.a.take_effects())
        self.seen_b.extend(self.b.take_effects())


def test_both_sides_open_a_channel_and_exchange_messages() -> None:
    pair = Pair()
    a, b = pair.a.open("chat", b"id", b"hello from a"), pair.b.open("chat", b"id", b"hello from b")
    pair.a.send(a, 0, b"one")
    pair.a.send(a, 7, b"")
    pair.settle()
    pair.b.send(b, 300, b"two")
    pair.settle()
    assert pair.seen_a == [ChannelOpened(a, "chat", b"id", b"hello from b"), Message(a, 300, b"two")]
    assert pair.seen_b == [
        ChannelOpened(b, "chat", b"id", b"hello from a"),
        Message(b, 0, b"one"),
        Message(b, 7, b""),
    ]


def test_offer_and_its_messages_wait_until_answered() -> None:
    pair = Pair()
    pair.b.pair("chat")
    a = pair.a.open("chat", b"x", b"hs")
    pair.a.send(a, 1, b"early")
    pair.settle()
    assert pair.seen_b == [Offered("chat", b"x", b"hs")]
    b = pair.b.open("chat", b"x")
    pair.settle()
    assert pair.seen_b[1:] == [ChannelOpened(b, "chat", b"x", b"hs"), Message(b, 1, b"early")]
    assert pair.seen_a == [ChannelOpened(a, "chat", b"x", b"")]


def test_offer_of_an_unpaired_protocol_is_rejected() -> None:
    pair = Pair()
    pair.b.pair("chat", b"mine")
    a = pair.a.open("chat", b"other")
    pair.settle()
    assert pair.seen_a == [ChannelClosed(a, rejected=True)]
    assert pair.seen_b == []
    assert not pair.a.send(a, 0, b"too late")
    pair.rest()
    assert pair.a.open("chat", b"mine") == a  # the number is free again


def test_offer_can_be_refused_later() -> None:
    pair = Pair()
    pair.b.pair("chat")
    a = pair.a.open("chat", b"x")
    pair.a.send(a, 0, b"parked")
    pair.settle()
    pair.b.refuse("chat", b"x")
    pair.settle()
    assert pair.seen_a == [ChannelClosed(a, rejected=True)]


def test_close_frees_both_numbers_and_late_messages_are_ignored() -> None:
    pair = Pair()
    a, b = pair.a.open("chat"), pair.b.open("chat")
    pair.settle()
    pair.seen_a.clear()
    pair.seen_b.clear()
    pair.b.send(b, 0, b"crossing")
    pair.a.close(a)
    pair.settle()
    assert pair.seen_b == [ChannelClosed(b, rejected=False)]
    assert pair.seen_a == []
    pair.rest()
    assert (pair.a.open("next"), pair.b.open("next")) == (a, b)
    pair.settle()
    assert pair.seen_a == [ChannelOpened(a, "next", b"", b"")]


def test_simultaneous_closes_free_both_numbers() -> None:
    pair = Pair()
    a, b = pair.a.open("chat"), pair.b.open("chat")
    pair.settle()
    pair.a.close(a)
    pair.b.close(b)
    pair.rest()
    a2 = pair.a.open("chat")
    pair.b.pair("chat")
    pair.settle()
    assert a2 == a
    assert pair.seen_b[-1] == Offered("chat", b"", b"")


def test_number_of_a_closed_channel_is_free_only_after_the_peers_answer() -> None:
    pair = Pair()
    a = pair.a.open("chat")
    pair.a.close(a)
    other = pair.a.open("other")
    assert other != a
    pair.settle()  # the peer rejects both: it wants neither
    assert pair.seen_a == [ChannelClosed(other, rejected=True)]
    pair.rest()
    assert {pair.a.open("x"), pair.a.open("y")} == {a, other}


def test_closing_while_the_peers_open_is_in_flight() -> None:
    pair = Pair()
    a, b = pair.a.open("chat"), pair.b.open("chat")
    pair.a.close(a)
    pair.settle()
    assert pair.seen_a == []
    assert pair.seen_b == [ChannelOpened(b, "chat", b"", b""), ChannelClosed(b, rejected=False)]
    pair.rest()
    assert (pair.a.open("x"), pair.b.open("x")) == (a, b)
    pair.settle()
    assert isinstance(pair.seen_a[-1], ChannelOpened)


def test_number_is_not_given_out_again_before_its_closing_was_heard() -> None:
    """One frame closes two channels and offers another: whoever opens it while handling the frame gets a new number."""
    pair = Pair()
    a, other = pair.a.open("chat"), pair.a.open("other")
    b, b_other = pair.b.open("chat"), pair.b.open("other")
    pair.b.pair("again")
    pair.settle()
    pair.a.close(a)
    pair.a.open("again")
    pair.a.close(other)
    (frame,) = pair.a.take_outgoing()
    closed, offered, closed_too = pair.b.receive(frame)
    assert (closed, closed_too) == (ChannelClosed(b, rejected=False), ChannelClosed(b_other, rejected=False))
    assert isinstance(offered, Offered) and pair.b.open("again") not in (b, b_other)


def test_two_channels_of_one_name_pair_in_order() -> None:
    pair = Pair()
    first, second = pair.a.open("chat", b"", b"1"), pair.a.open("chat", b"", b"2")
    mine, other = pair.b.open("chat"), pair.b.open("chat")
    pair.settle()
    assert pair.seen_b == [ChannelOpened(mine, "chat", b"", b"1"), ChannelOpened(other, "chat", b"", b"2")]
    assert pair.seen_a == [ChannelOpened(first, "chat", b"", b""), ChannelOpened(second, "chat", b"", b"")]


def test_messages_queued_together_share_a_frame() -> None:
    pair = Pair()
    channels = [pair.a.open(name) for name in ("x", "y")]
    for name in ("x", "y"):
        pair.b.open(name)
    pair.settle()
    pair.frames = 0
    pair.seen_b.clear()
    for index in range(1000):
        pair.a.send(channels[index % 2], 3, b"%d" % index)
    pair.settle()
    assert pair.frames == 1
    assert [event.body for event in pair.seen_b if isinstance(event, Message)] == [b"%d" % n for n in range(1000)]


def test_batches_are_split_at_the_frame_limit() -> None:
    pair = Pair(limit=4096)
    a = pair.a.open("x")
    pair.b.open("x")
    pair.settle()
    pair.seen_b.clear()
    bodies = [bytes((n % 256,)) * (37 * n % 4000) for n in range(200)]
    for body in bodies:
        pair.a.send(a, 0, body)
    frames = pair.a.take_outgoing()
    assert max(map(len, frames)) <= 4096
    for frame in frames:
        pair.seen_b.extend(pair.b.receive(frame))
    assert [event.body for event in pair.seen_b if isinstance(event, Message)] == bodies


def test_frames_match_expected_bytes() -> None:
    mux = Protomux()
    channel = mux.open("ab", b"\x09", b"hs")
    assert mux.take_outgoing() == [b"\x00\x01\x01\x02ab\x01\x09hs"]
    mux.send(channel, 5, b"body")
    assert mux.take_outgoing() == [b"\x01\x05body"]
    mux.send(channel, 5, b"one")
    mux.open("z")
    mux.send(channel, 6, b"two")
    assert mux.take_outgoing() == [b"\x00\x00\x01\x04\x05one\x00\x00\x05\x01\x02\x01z\x00\x00\x01\x04\x06two"]
    mux.close(channel)
    assert mux.take_outgoing() == [b"\x00\x03\x01"]


def opens(number: int, protocol: str = "p") -> bytes:
    return Writer().raw(b"\x00\x01").uint(number).string(protocol).uint(0).finish()


def test_hostile_frames_are_faults_with_a_reason() -> None:
    hostile = {
        b"\x00\x01\x02\x01p\x00": "opens a channel number that is not free",
        b"\x00\x02\x05": "rejects what was not offered",
        b"\x00\x00\x01\x09abc": "message ends early",
        b"\x00\x00\x00\x05\x00\x01\x02\x03\x04": "a batch inside a batch",
        b"\x00\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff": "integer is too large",
        b"\x00\x01\x01\x02\xff\xfe\x00": "text is not UTF-8",
        b"\x00": "message ends early",
        b"\x05": "message ends early",
    }
    for frame, reason in hostile.items():
        mux = Protomux()
        assert mux.receive(frame) == [Fault(reason)], frame
        assert mux.receive(opens(1)) == []  # nothing is read after that


def test_reused_channel_number_is_a_fault() -> None:
    mux = Protomux()
    mux.pair("p")
    assert mux.receive(opens(1)) == [Offered("p", b"", b"")]
    assert mux.receive(opens(1)) == [Fault("opens a channel number that is not free")]


def test_parked_bytes_are_bounded() -> None:
    mux = Protomux(max_parked=10_000)
    mux.pair("p")
    mux.receive(opens(1))
    for _ in range(8):
        assert mux.receive(b"\x01\x00" + bytes(600)) == []
    assert mux.receive(b"\x01\x00" + bytes(600)) == [Fault("sends too much to channels that are not open")]


def test_parking_allowance_is_released_when_a_channel_opens() -> None:
    mux = Protomux(max_parked=10_000)
    mux.pair("p")
    for _ in range(20):
        mux.receive(opens(1))
        mux.receive(b"\x01\x00" + bytes(6000))
        channel = mux.open("p")
        assert [type(event) for event in mux.take_effects()] == [ChannelOpened, Message]
        mux.close(channel)
    assert mux.fault is None


def test_number_of_channels_is_bounded() -> None:
    mux = Protomux(max_channels=3)
    mux.pair("p")
    for number in (1, 2, 3):
        mux.receive(opens(number))
    assert mux.receive(opens(4)) == [Fault("opens too many channels")]


def test_unknown_control_types_are_ignored() -> None:
    mux = Protomux()
    assert mux.receive(b"") == []  # a keep-alive
    assert mux.receive(b"\x00\x2a\x01\x02") == []
    assert mux.receive(opens(0)) == []
    assert mux.receive(b"\x07\x00hello") == []  # of a channel that is long closed
