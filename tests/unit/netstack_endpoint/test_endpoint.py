"""Endpoint cores on a wire of virtual time: connecting, talking, ending."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from identity.errors import DecodeError
from netstack.events import Closed, Ended, Failed, Frame, Opened, Reason, Writable
from netstack.limits import Limits
from netstack.udp.port import Address
from tests.support.streams import stream
from tests.unit.netstack_endpoint.wire import ADA, BOB, EVE, A, B, C, Story


def test_a_connection_opens_on_both_sides() -> None:
    story = Story()
    conn = story.dial()
    story.run(1)
    [at_ada], [at_bob] = story.seen[A], story.seen[B]
    assert isinstance(at_ada, Opened) and isinstance(at_bob, Opened)
    assert at_ada.handshake_hash == at_bob.handshake_hash
    assert at_ada == Opened(conn, True, ADA.public, BOB.public, at_ada.handshake_hash, B)
    assert at_bob == Opened(at_bob.conn, False, BOB.public, ADA.public, at_ada.handshake_hash, A)


def test_opening_takes_two_round_trips_and_no_timer() -> None:
    story = Story()
    story.dial()
    story.run(0.0401)  # there and back, and the dialler's first bytes there: 10 ms each
    assert [type(event) for event in story.seen[A] + story.seen[B]] == [Opened, Opened]


def test_frames_arrive_whole_in_order_and_both_sides_end() -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    frames = [b"hello", bytes(100_000), b"x" * 17]
    for frame in frames:
        story.ada.send(at_ada, frame, story.now)
    story.run(1)
    assert story.seen[B] == [Frame(at_bob, frame) for frame in frames]
    story.ada.end(at_ada, story.now)
    assert not story.ada.send(at_ada, b"too late", story.now)
    story.run(1)
    assert story.seen[B][3:] == [Ended(at_bob)]
    story.bob.send(at_bob, b"the last word", story.now)
    story.bob.end(at_bob, story.now)
    story.run(60)  # streams repeat their last word for a while
    assert story.seen[A] == [Frame(at_ada, b"the last word"), Ended(at_ada), Closed(at_ada, Reason.ENDED)]
    assert story.seen[B][4:] == [Closed(at_bob, Reason.ENDED)]
    assert len(story.ada) == len(story.bob) == 0


def test_empty_frame_is_not_delivered() -> None:
    story = Story()
    at_ada, _ = story.opened()
    story.ada.send(at_ada, b"", story.now)
    story.run(1)
    assert story.seen[B] == []


def test_several_keys_listen_on_one_port() -> None:
    story = Story()
    story.bob.listen(EVE)
    story.dial(to=EVE)
    story.dial(to=BOB)
    story.run(1)
    assert [event.local_key for event in story.seen[B] if isinstance(event, Opened)] == [EVE.public, BOB.public]
    story.bob.unlisten(EVE.public)
    assert story.bob.listening == [BOB.public]
    third = story.dial(to=EVE)
    story.run(1)
    assert story.seen[A][-1] == Failed(third, Reason.NOT_THERE)


def test_connect_without_key_uses_a_fresh_key() -> None:
    story = Story()
    for _ in range(2):
        story.ada.connect(BOB.public, [B], None, story.now)
    story.run(1)
    keys = {event.remote_key for event in story.seen[B] if isinstance(event, Opened)}
    assert len(keys) == 2


def test_dialler_that_accept_rejects_gets_no_answer() -> None:
    story = Story()
    asked: list[tuple[bytes, bytes]] = []

    def accept(local: bytes, remote: bytes) -> bool:
        asked.append((local, remote))
        return False

    story.bob.accept = accept
    conn = story.dial()
    story.run(15)
    assert story.seen[A] == [Failed(conn, Reason.NO_ANSWER)]
    assert story.seen[B] == []
    assert asked[0] == (BOB.public, ADA.public)
    assert len(story.ada) == len(story.bob) == 0


def test_connect_to_silent_address_fails_with_no_answer() -> None:
    story = Story()
    nowhere, nothing = story.dial(C), story.dial(C, C, C)
    story.run(15)
    assert story.seen[A] == [Failed(nowhere, Reason.NO_ANSWER), Failed(nothing, Reason.NO_ANSWER)]
    no_address = story.ada.connect(BOB.public, [], ADA, story.now)
    story.run(1)
    assert story.seen[A][2:] == [Failed(no_address, Reason.NO_ANSWER)]


def test_connect_raises_for_invalid_keys() -> None:
    story = Story()
    for key in (bytes(32), b"x", b"\x01" + bytes(31)):
        with pytest.raises(DecodeError):
            story.ada.connect(key, [B], ADA, story.now)
    assert len(story.ada) == 0


def test_unusable_addresses_are_skipped() -> None:
    story = Story()
    conn = story.dial(("::1", 5), ("10.0.0.1", 0), ("nowhere", 7), ("0.0.0.0", 7), ("10.0.0.1", 70_000), B)
    nothing = story.dial(("::1", 5))
    story.run(1)
    assert [type(event) for event in story.seen[A]] == [Failed, Opened]
    assert [event.conn for event in story.seen[A]] == [nothing, conn]


def test_the_first_address_to_answer_wins() -> None:
    story = Story()
    story.core(3)  # answers, but does not know Bob
    conn = story.dial(("10.9.9.9", 9), C, B)
    story.run(5)
    [opened] = story.seen[A]
    assert isinstance(opened, Opened)
    assert (opened.conn, opened.address) == (conn, B)
    assert len(story.seen[B]) == 1


def lossy(seed: int, share: int) -> Callable[[Address, Address, bytes], list[bytes]]:
    rng = stream(seed)

    def pass_on(source: Address, target: Address, data: bytes) -> list[bytes]:
        roll = rng(1)[0]
        if roll < share:
            return []
        return [data, data] if roll > 240 else [data]

    return pass_on


@pytest.mark.parametrize("seed", range(5))
def test_frames_arrive_with_a_third_of_datagrams_lost(seed: int) -> None:
    story = Story(seed=seed)
    story.filter = lossy(seed, 85)
    conn = story.dial()
    story.run(10)
    assert isinstance(story.seen[A][0], Opened)
    sent = [bytes((n,)) * (n * 997 % 5000 + 1) for n in range(60)]
    for frame in sent:
        story.ada.send(conn, frame, story.now)
    story.run(60)
    assert story.frames(B) == sent


def test_same_seed_gives_same_datagrams() -> None:
    def trace(seed: int) -> bytes:
        story = Story(seed=seed)
        story.filter = lossy(1, 60)
        conn = story.dial()
        story.run(5)
        for size in (10, 50_000, 0, 3):
            story.ada.send(conn, bytes(size), story.now)
        story.run(30)
        return story.trace.digest()

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_idle_connection_stays_open_with_few_datagrams() -> None:
    story = Story()
    story.opened()
    before = story.sent
    story.run(600)
    assert story.seen[A] == story.seen[B] == []
    assert story.sent - before <= 600 / 5 * 4 + 8  # a keep-alive each way and its acknowledgement


def test_connection_to_vanished_peer_closes() -> None:
    story = Story()
    at_ada, _ = story.opened()
    del story.cores[B]
    story.run(30)
    [closed] = story.seen[A]
    assert isinstance(closed, Closed)
    assert (closed.conn, closed.reason) in ((at_ada, Reason.SILENT), (at_ada, Reason.TIMED_OUT))


def test_half_closed_connection_still_carries_frames() -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    story.ada.end(at_ada, story.now)
    story.run(120)
    assert story.seen[B] == [Ended(at_bob)]
    story.bob.send(at_bob, b"a late answer", story.now)
    story.run(1)
    assert story.seen[A] == [Frame(at_ada, b"a late answer")]


def test_full_connection_reports_when_writable_again() -> None:
    story = Story()
    at_ada, _ = story.opened()
    count = 1
    while story.ada.send(at_ada, bytes(65_536), story.now):
        count += 1
    assert count < 100
    story.run(10)
    assert story.seen[A] == [Writable(at_ada)]
    assert len(story.frames(B)) == count
    assert story.ada.queued(at_ada) == 0


def test_a_peer_that_never_reads_costs_bounded_memory() -> None:
    limit = 8 << 20
    story = Story(ada=Limits(buffer=limit))
    at_ada, at_bob = story.opened()
    story.bob.hold(at_bob, 4 << 20, story.now)  # Bob's window is shut
    most = 0
    for _ in range(1000):
        story.ada.send(at_ada, bytes(65_536), story.now)
        story.run(0.01)
        most = max(most, story.ada.queued(at_ada))
    assert most <= limit + 100_000
    assert story.seen[A] == [Closed(at_ada, Reason.UNREAD)]
    assert sum(map(len, story.frames(B))) <= 5 << 20


def test_held_frames_slow_the_peer_without_closing_the_connection() -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    story.bob.hold(at_bob, 4 << 20, story.now)
    story.run(1)
    for _ in range(10):
        story.ada.send(at_ada, bytes(65_536), story.now)
    story.run(60)
    arrived = len(story.frames(B))
    assert arrived < 10
    story.bob.hold(at_bob, 0, story.now)
    story.run(10)
    assert len(story.frames(B)) == 10
    assert story.seen[A] == [Writable(at_ada)]


def test_close_delivers_what_was_sent() -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    story.ada.send(at_ada, bytes(200_000), story.now)
    story.ada.close(at_ada, story.now)
    story.run(2)
    assert story.seen[B] == [Frame(at_bob, bytes(200_000)), Ended(at_bob)]
    story.bob.end(at_bob, story.now)
    story.run(10)
    assert story.seen[A] == [Closed(at_ada, Reason.ENDED)]


def test_close_ends_after_linger_when_peer_is_silent() -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    story.ada.close(at_ada, story.now)
    story.run(20)  # Bob's owner never ends his side
    assert story.seen[A] == [Closed(at_ada, Reason.CLOSED)]
    assert story.seen[B] == [Ended(at_bob), Closed(at_bob, Reason.RESET)]


def test_abort_tells_the_peer_once() -> None:
    story = Story()
    at_ada, at_bob = story.opened()
    story.ada.abort(at_ada, story.now, Reason.PROTOCOL, "opens channel 0")
    story.run(60)
    assert story.seen[A] == [Closed(at_ada, Reason.PROTOCOL, "opens channel 0")]
    assert story.seen[B] == [Closed(at_bob, Reason.RESET)]
    assert len(story.ada) == len(story.bob) == 0


def test_aborted_attempt_leaves_no_connection_or_timer() -> None:
    story = Story()
    conn = story.dial(C)
    story.run(1)
    story.ada.close(conn, story.now)
    story.run(1)
    assert story.seen[A] == [Failed(conn, Reason.CLOSED)]
    assert len(story.ada) == 0
    assert story.ada.next_wake() == inf


def test_calls_with_unknown_connection_numbers_do_nothing() -> None:
    story = Story()
    assert not story.ada.send(99, b"x", story.now)
    story.ada.close(99, story.now)
    story.ada.end(99, story.now)
    story.ada.hold(99, 5, story.now)
    assert story.ada.queued(99) == 0
    assert story.ada.stream(99) is None
    story.run(1)
    assert story.seen[A] == []
