"""The schedule of one topic in virtual time: everybody meets, however they join, and nothing is left behind."""

from __future__ import annotations

from itertools import pairwise, permutations
from math import inf

import pytest

from netstack.swarm.core.discovery import REFRESH, Discovery, Start, Stop, Walk
from tests.support.simulated_topic import SimulatedTopic, TopicPeer

LOOK_UP, ANNOUNCE, UNANNOUNCE = "LOOK_UP", "ANNOUNCE", "UNANNOUNCE"


def still(size: int) -> bytes:
    return bytes(size)


@pytest.mark.parametrize("seed", range(50))
def test_two_that_join_at_one_instant_meet_at_the_first_further_look_up(seed: int) -> None:
    town = SimulatedTopic(seed)
    ada, bob = TopicPeer(town, "ada"), TopicPeer(town, "bob")
    town.run(1.0)  # a walk, 0.4 s, a walk
    assert "bob" in ada.found or "ada" in bob.found
    town.run(4.0)
    assert (set(ada.found), set(bob.found)) == ({"bob"}, {"ada"})


@pytest.mark.parametrize("seed", range(50))
def test_a_client_and_a_server_that_join_at_one_instant_meet(seed: int) -> None:
    town = SimulatedTopic(seed)
    ada = TopicPeer(town, "ada", server=False)
    bob = TopicPeer(town, "bob", client=False)
    town.run(4.0)
    assert (set(ada.found), set(bob.found)) == ({"bob"}, set())


@pytest.mark.parametrize("seed", range(50))
def test_eight_that_join_over_some_seconds_with_losses_all_find_each_other(seed: int) -> None:
    town = SimulatedTopic(seed, loss=0.3)
    everybody: list[TopicPeer] = []
    names = "abcdefgh"
    for name in names:
        town.at(town.luck.uniform(0.0, 3.0), lambda name=name: everybody.append(TopicPeer(town, name)))  # type: ignore[misc]
    town.run(20.0)
    seen = {(one.name, other) for one in everybody for other in one.found}
    assert seen == set(permutations(names, 2))


@pytest.mark.parametrize("seed", range(20))
def test_who_goes_and_comes_back_is_found_again_and_who_left_is_not(seed: int) -> None:
    town = SimulatedTopic(seed, loss=0.1)
    ada, bob = TopicPeer(town, "ada"), TopicPeer(town, "bob")
    town.run(15.0)
    for dweller in (ada, bob):
        dweller.discovery.suspend()
        dweller.serve()
        dweller.found.clear()
    town.run(16.0)
    for dweller in (ada, bob):
        dweller.discovery.resume()
        dweller.serve()
    town.run(30.0)
    assert (set(ada.found), set(bob.found)) == ({"bob"}, {"ada"})
    bob.discovery.close()
    bob.serve()
    town.loss = 0.0
    town.run(31.0)
    assert bob.discovery.finished and bob.discovery.next_wake() == inf
    assert ("bob", UNANNOUNCE) in [(name, walk) for _, name, walk in town.walks]


def test_a_day_alone() -> None:
    town = SimulatedTopic(7)
    TopicPeer(town, "ada")
    town.run(3600.0)
    assert [walk for _, _, walk in town.walks[:4]] == [ANNOUNCE, LOOK_UP, LOOK_UP, LOOK_UP]
    later = [at for at, _, walk in town.walks[4:] if walk == ANNOUNCE]
    assert {walk for _, _, walk in town.walks[4:]} == {ANNOUNCE}  # a routine refresh has no further look-ups
    gaps = [after - before for before, after in pairwise([0.0, *later])]
    assert all(REFRESH[0] <= gap <= REFRESH[1] + 1 for gap in gaps) and len(set(gaps)) > 1


def test_with_nobody_to_ask_it_tries_again_ever_more_slowly_and_joins_when_it_can() -> None:
    town = SimulatedTopic(3, loss=1.0)
    ada = TopicPeer(town, "ada")
    town.run(300.0)
    tries = [at for at, _, _ in town.walks]
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps[0] < 4 < gaps[2] and 60 <= gaps[-1] <= 95 and gaps == sorted(gaps[:4]) + gaps[4:]
    assert ada.discovery.settled and not ada.discovery.reached
    town.loss = 0.0
    before = len(town.walks)
    ada.discovery.refresh()
    ada.serve()
    town.run(320.0)
    assert [walk for _, _, walk in town.walks[before:]] == [ANNOUNCE, LOOK_UP, LOOK_UP, LOOK_UP]
    assert ada.discovery.settled and ada.discovery.reached


def test_a_change_of_role_breaks_off_what_runs_and_takes_back_what_was_said() -> None:
    discovery = Discovery(still, server=True, client=True)
    assert discovery.take_effects() == [Start(1, Walk.ANNOUNCE)]
    discovery.set_role(server=False, client=True)
    assert discovery.take_effects() == [Stop(1), Start(2, Walk.UNANNOUNCE)]
    discovery.done(1, True, 1.0)  # too late to count
    assert discovery.take_effects() == [] and not discovery.settled
    discovery.done(2, True, 1.0)
    assert discovery.take_effects() == [Start(3, Walk.LOOK_UP)]
    discovery.done(3, True, 2.0)
    assert (discovery.settled, discovery.next_wake()) == (True, 2.4)


def test_a_server_alone_looks_nobody_up() -> None:
    discovery = Discovery(still, server=True, client=False)
    discovery.done(1, True, 1.0)
    assert discovery.next_wake() == 601.0


def test_suspended_is_silent_and_closing_twice_takes_back_once() -> None:
    discovery = Discovery(still)
    discovery.done(1, True, 1.0)
    discovery.suspend()
    discovery.close()
    assert discovery.take_effects() == [Start(1, Walk.ANNOUNCE), Start(2, Walk.UNANNOUNCE)]
    discovery.refresh()
    discovery.resume()
    discovery.wake(1e9)
    assert (discovery.take_effects(), discovery.next_wake(), discovery.finished) == ([], inf, False)
    discovery.done(2, False, 2.0)
    assert discovery.finished
