"""Which peers a swarm dials, when it retries, and what it refuses."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from netstack.swarm.core.effects import Abandon, Dial, Drop, PeerCounts, SwarmLimits, Take
from netstack.swarm.core.peer import Priority
from netstack.swarm.core.swarm import SwarmCore

US, LOW, HIGH, LAST = b"\x80" * 32, b"\x01" * 32, b"\xf0" * 32, b"\xff" * 32
TOPIC, OTHER = b"t" * 32, b"o" * 32
RELAYS = (("192.0.2.1", 1),)


def core(**limits: int) -> SwarmCore:
    core = SwarmCore(US, Random(1).randbytes, SwarmLimits(**limits))
    core.dial_for(TOPIC, True)
    return core


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_found_peer_is_dialled_connected_and_dialled_again_after_a_loss() -> None:
    swarm = core()
    swarm.found(TOPIC, LOW, 0.0, relays=RELAYS)
    swarm.found(TOPIC, LOW, 0.0, relays=RELAYS)
    swarm.found(OTHER, HIGH, 0.0)  # a topic that we do not dial for
    swarm.found(TOPIC, US, 0.0)
    assert swarm.take_effects() == [Dial(LOW, RELAYS, ())]
    swarm.opened(LOW, 1, True, 1.0)
    assert swarm.take_effects() == [Take(LOW, 1, frozenset({TOPIC}))]
    swarm.found(TOPIC, LOW, 2.0, relays=(("192.0.2.9", 9),))
    assert swarm.take_effects() == []
    swarm.closed(LOW, 1, 30.0)
    again = swarm.next_wake()
    assert 31.0 <= again <= 31.5 and swarm.take_effects() == []
    swarm.wake(again)
    assert swarm.take_effects() == [Dial(LOW, (("192.0.2.9", 9),), ())]


def test_backoff_grows_until_a_peer_is_given_up_and_ends_with_a_new_record() -> None:
    swarm = core()
    swarm.found(TOPIC, LOW, 0.0, relays=RELAYS)
    now, waits = 0.0, []
    while True:
        assert swarm.take_effects() == [Dial(LOW, RELAYS, ())]
        swarm.found(TOPIC, LOW, now, relays=RELAYS)  # nothing new: the back-off goes on
        swarm.failed(LOW, now)
        if swarm.next_wake() == inf:
            break
        waits.append(swarm.next_wake() - now)
        now = swarm.next_wake()
        swarm.wake(now)
    assert [5 <= waits[0] < 7.5, 15 <= waits[1] < 22.5, 15 <= waits[2] < 22.5, len(waits)] == [True, True, True, 3]
    swarm.found(TOPIC, LOW, now, relays=RELAYS)  # somebody still says that it is there
    assert swarm.take_effects() == [Dial(LOW, RELAYS, ())]
    swarm.failed(LOW, now)
    elsewhere = (("192.0.2.7", 7),)
    swarm.found(TOPIC, LOW, now, relays=elsewhere)
    assert swarm.take_effects() == [Dial(LOW, elsewhere, ())]


def test_local_address_is_used_until_a_dial_there_fails() -> None:
    swarm = core()
    here = (("10.0.0.7", 7),)
    swarm.found(TOPIC, LOW, 0.0, relays=RELAYS)
    swarm.found(TOPIC, LOW, 0.0, addresses=here)  # better than what is being tried
    assert swarm.take_effects() == [Dial(LOW, RELAYS, ()), Abandon(LOW), Dial(LOW, RELAYS, here)]
    swarm.failed(LOW, 1.0)
    swarm.wake(swarm.next_wake())
    assert swarm.take_effects() == [Dial(LOW, RELAYS, ())]


def test_record_found_during_a_dial_is_tried_after_it() -> None:
    swarm = core()
    swarm.found(TOPIC, LOW, 0.0, relays=RELAYS)
    elsewhere = (("192.0.2.7", 7),)
    swarm.found(TOPIC, LOW, 0.1, relays=elsewhere)
    swarm.failed(LOW, 1.0)
    assert swarm.take_effects() == [Dial(LOW, RELAYS, ()), Dial(LOW, elsewhere, ())]
    swarm.join_peer(HIGH, 1.0)
    swarm.take_effects()
    here = (("10.0.0.7", 7),)
    swarm.located(HIGH, here, 1.1)
    assert swarm.take_effects() == [Abandon(HIGH), Dial(HIGH, (), here)]


def test_peer_joined_by_key_is_never_given_up() -> None:
    swarm = core()
    swarm.join_peer(LOW, 0.0)
    now, waits = 0.0, []
    for _ in range(6):
        assert swarm.take_effects() == [Dial(LOW, (), ())]
        swarm.failed(LOW, now)
        waits.append(swarm.next_wake() - now)
        now = swarm.next_wake()
        swarm.wake(now)
    assert waits[-1] >= 600 and waits[2] < 25
    swarm.leave_peer(LOW)
    swarm.take_effects()
    swarm.failed(LOW, now)
    assert (swarm.next_wake(), swarm.keys()) == (inf, set())


def test_three_dials_at_once_sixty_four_peers_and_joined_peers_on_top() -> None:
    swarm = core(peers=4)
    for number in range(1, 11):
        swarm.found(TOPIC, key(number), 0.0)
    dials = [effect.key for effect in swarm.take_effects() if isinstance(effect, Dial)]
    assert len(dials) == 3
    for at, peer in enumerate(dials):
        swarm.opened(peer, at, True, 1.0)
    effects = swarm.take_effects()
    assert sum(isinstance(effect, Dial) for effect in effects) == 1  # the fourth
    assert swarm.status() == PeerCounts(known=10, banned=0, queued=6, waiting=0, dialling=1, connected=3)
    assert not swarm.accepts(HIGH, 1.0)
    swarm.join_peer(HIGH, 1.0)
    assert [type(effect) for effect in swarm.take_effects()] == [Dial] and swarm.accepts(HIGH, 1.0)
    swarm.closed(dials[0], 0, 2.0)
    swarm.failed(HIGH, 2.0)
    assert [type(effect) for effect in swarm.take_effects()] == [Dial]


def test_topic_of_peers_that_never_answer_does_not_delay_others() -> None:
    swarm = core(slow=4)
    for number in range(100, 112):
        swarm.found(TOPIC, key(number), 0.0)
    under_way = [len(swarm.take_effects())]
    for now in (3.0, 6.0, 9.0):
        swarm.wake(now)
        under_way.append(len(swarm.take_effects()))
    assert (under_way, swarm.next_wake()) == ([3, 3, 1, 0], inf)  # four are slow, three count
    assert swarm.accepts(LOW, 10.0)  # and who dials us is let in
    swarm.failed(key(100), 10.0)
    assert [type(effect) for effect in swarm.take_effects()] in ([], [Dial])


def test_lost_peer_is_dialled_before_a_new_one_and_an_unreachable_one_last() -> None:
    swarm = core(parallel=1)
    swarm.found(TOPIC, key(1), 0.0)
    swarm.opened(key(1), 1, True, 0.0)
    swarm.found(TOPIC, key(2), 0.0)
    swarm.failed(key(2), 0.0)
    swarm.found(TOPIC, key(9), 0.0)  # occupies the one place for dials
    swarm.closed(key(1), 1, 20.0)
    swarm.take_effects()
    swarm.wake(30.0)
    swarm.found(TOPIC, key(3), 30.0)
    order = []
    for busy in (key(9), key(1), key(3)):
        swarm.failed(busy, 30.0)
        order += [effect.key for effect in swarm.take_effects() if isinstance(effect, Dial)]
    assert order == [key(1), key(3), key(2)]
    assert [Priority.VERY_HIGH > Priority.NORMAL > Priority.VERY_LOW] == [True]


def test_banned_peer_is_closed_and_neither_dialled_nor_accepted_until_unbanned() -> None:
    swarm = core()
    swarm.opened(LOW, 1, False, 0.0)
    swarm.found(TOPIC, HIGH, 0.0)
    swarm.take_effects()
    swarm.ban(LOW, 0.0)
    swarm.ban(HIGH, 0.0)
    assert swarm.take_effects() == [Drop(1), Abandon(HIGH)]
    swarm.found(TOPIC, LOW, 1.0, relays=RELAYS)
    swarm.opened(LOW, 2, False, 1.0)
    assert (swarm.take_effects(), swarm.accepts(LOW, 1.0)) == ([Drop(2)], False)
    swarm.unban(LOW)
    assert swarm.accepts(LOW, 1.0)


def test_flood_of_keys_is_bounded_and_displaces_no_wanted_peer() -> None:
    swarm = core(known=10, parallel=1)
    swarm.join_peer(LOW, 0.0)
    swarm.ban(HIGH, 0.0)
    for number in range(1, 1000):
        swarm.found(TOPIC, b"\x02" + number.to_bytes(31, "big"), 0.0)
    assert len(swarm.keys()) == 10 and {LOW, HIGH} <= swarm.keys()


def test_suspend_closes_everything_and_resume_dials_peers_joined_by_key() -> None:
    swarm = core()
    swarm.join_peer(LOW, 0.0)
    swarm.found(TOPIC, HIGH, 0.0)
    swarm.opened(LOW, 1, True, 0.0)
    swarm.take_effects()
    swarm.suspend()
    assert set(swarm.take_effects()) == {Drop(1), Abandon(HIGH)} and not swarm.accepts(HIGH, 1.0)
    swarm.opened(HIGH, 2, False, 1.0)
    assert swarm.take_effects() == [Drop(2)] and swarm.next_wake() == inf
    swarm.resume(2.0)
    assert swarm.take_effects() == [Dial(LOW, (), ())]


def test_leaving_a_topic_forgets_its_peers_and_keeps_connections() -> None:
    swarm = core()
    swarm.found(TOPIC, LOW, 0.0)
    swarm.found(TOPIC, HIGH, 0.0)
    swarm.opened(LOW, 1, True, 0.0)
    swarm.failed(HIGH, 0.0)
    swarm.take_effects()
    swarm.dial_for(TOPIC, False)
    assert (swarm.keys(), swarm.next_wake(), swarm.take_effects()) == ({LOW}, inf, [])
    swarm.closed(LOW, 1, 1.0)
    assert (swarm.keys(), swarm.next_wake()) == (set(), inf)


def test_network_change_ends_every_backoff() -> None:
    swarm = core()
    swarm.found(TOPIC, LOW, 0.0)
    swarm.failed(LOW, 0.0)
    swarm.take_effects()
    swarm.retry_now(0.5)
    assert swarm.take_effects() == [Dial(LOW, (), ())]


def test_larger_key_with_a_dial_under_way_answers_no_dial_for_a_while() -> None:
    swarm = core()
    for other in (LOW, HIGH):
        swarm.found(TOPIC, other, 0.0)
    assert [swarm.accepts(LOW, 0.1), swarm.accepts(HIGH, 0.1), swarm.accepts(LOW, 3.1)] == [False, True, True]
    swarm.failed(LOW, 0.2)
    assert swarm.accepts(LOW, 0.3)


def test_peer_that_answered_a_dial_waits_before_dialling() -> None:
    swarm = core()
    assert swarm.accepts(HIGH, 0.0)
    swarm.found(TOPIC, HIGH, 0.1)
    assert (swarm.take_effects(), swarm.next_wake()) == ([], 1.0)
    swarm.wake(1.0)
    assert swarm.take_effects() == [Dial(HIGH, (), ())]


def test_dial_yields_to_an_open_connection() -> None:
    swarm = core()
    swarm.found(TOPIC, HIGH, 0.0)
    swarm.opened(HIGH, 1, False, 0.1)
    swarm.take_effects()
    assert swarm.next_wake() == 1.1
    swarm.wake(1.1)
    assert (swarm.take_effects(), swarm.next_wake()) == ([Abandon(HIGH)], inf)


@pytest.mark.parametrize(
    "other, active, then",
    [
        # our key is larger: our dial wins, their connection is spare until it opens
        (LOW, [], [Take(LOW, 2, frozenset({TOPIC})), Drop(1)]),
        # our key is smaller: theirs is used at once, ours is kept until they decide
        (HIGH, [Take(HIGH, 1, frozenset({TOPIC}))], []),
    ],
)
def test_simultaneous_dials_keep_the_connection_that_the_larger_key_dialled(
    other: bytes, active: list[object], then: list[object]
) -> None:
    swarm = core()
    swarm.found(TOPIC, other, 0.0)
    swarm.take_effects()
    swarm.opened(other, 1, False, 0.1)
    assert swarm.take_effects() == active
    swarm.opened(other, 2, True, 0.2)
    assert sorted(swarm.take_effects(), key=repr) == sorted(then, key=repr)
    swarm.wake(swarm.next_wake())
    assert swarm.take_effects() == ([] if then else [Drop(2)])


def test_peers_connection_is_used_when_our_dial_fails_or_is_slow() -> None:
    swarm = core()
    swarm.found(TOPIC, LOW, 0.0)
    swarm.opened(LOW, 1, False, 0.1)
    swarm.take_effects()
    swarm.failed(LOW, 0.2)
    assert swarm.take_effects() == [Take(LOW, 1, frozenset({TOPIC}))]

    swarm.found(TOPIC, key(1), 0.0)
    swarm.opened(key(1), 2, False, 0.1)
    swarm.take_effects()
    swarm.wake(3.1)
    assert swarm.take_effects() == [Abandon(key(1)), Take(key(1), 2, frozenset({TOPIC}))]


@pytest.mark.parametrize("ours, later", [(False, 0.1), (False, 60.0), (True, 60.0)])
def test_peer_that_dials_again_has_lost_the_first_connection(ours: bool, later: float) -> None:
    swarm = core()
    swarm.found(TOPIC, LOW, 0.0)
    if not ours:
        swarm.failed(LOW, 0.0)
    swarm.opened(LOW, 1, ours, 0.0)
    swarm.take_effects()
    swarm.opened(LOW, 2, False, later)
    assert set(swarm.take_effects()) == {Drop(1), Take(LOW, 2, frozenset({TOPIC}))}
