"""The schedule of one topic in virtual time: peers find each other however they join, and records are withdrawn."""

from __future__ import annotations

from itertools import pairwise, permutations
from math import inf

import pytest

from netstack.swarm.core.discovery import REFRESH, Discovery, Start, Stop, Walk
from tests.support.discovery_world import DiscoveryPeer, DiscoveryWorld

LOOK_UP, ANNOUNCE, UNANNOUNCE = "LOOK_UP", "ANNOUNCE", "UNANNOUNCE"


def still(size: int) -> bytes:
    return bytes(size)


@pytest.mark.parametrize("seed", range(50))
def test_simultaneous_joiners_find_each_other_at_the_first_further_look_up(seed: int) -> None:
    world = DiscoveryWorld(seed)
    ada, bob = DiscoveryPeer(world, "ada"), DiscoveryPeer(world, "bob")
    world.run(1.0)  # a walk, 0.4 s, a walk
    assert "bob" in ada.found or "ada" in bob.found
    world.run(4.0)
    assert (set(ada.found), set(bob.found)) == ({"bob"}, {"ada"})


@pytest.mark.parametrize("seed", range(50))
def test_simultaneous_client_and_server_find_each_other(seed: int) -> None:
    world = DiscoveryWorld(seed)
    ada = DiscoveryPeer(world, "ada", server=False)
    bob = DiscoveryPeer(world, "bob", client=False)
    world.run(4.0)
    assert (set(ada.found), set(bob.found)) == ({"bob"}, set())


@pytest.mark.parametrize("seed", range(50))
def test_eight_peers_joining_with_packet_loss_all_find_each_other(seed: int) -> None:
    world = DiscoveryWorld(seed, loss=0.3)
    peers: list[DiscoveryPeer] = []
    names = "abcdefgh"
    for name in names:
        world.at(world.random.uniform(0.0, 3.0), lambda name=name: peers.append(DiscoveryPeer(world, name)))  # type: ignore[misc]
    world.run(20.0)
    seen = {(one.name, other) for one in peers for other in one.found}
    assert seen == set(permutations(names, 2))


@pytest.mark.parametrize("seed", range(20))
def test_resumed_peer_is_found_again_and_closed_peer_is_not(seed: int) -> None:
    world = DiscoveryWorld(seed, loss=0.1)
    ada, bob = DiscoveryPeer(world, "ada"), DiscoveryPeer(world, "bob")
    world.run(15.0)
    for peer in (ada, bob):
        peer.discovery.suspend()
        peer.serve()
        peer.found.clear()
    world.run(16.0)
    for peer in (ada, bob):
        peer.discovery.resume()
        peer.serve()
    world.run(30.0)
    assert (set(ada.found), set(bob.found)) == ({"bob"}, {"ada"})
    bob.discovery.close()
    bob.serve()
    world.loss = 0.0
    world.run(31.0)
    assert bob.discovery.finished and bob.discovery.next_wake() == inf
    assert ("bob", UNANNOUNCE) in [(name, walk) for _, name, walk in world.walks]


def test_lone_peer_only_refreshes_its_announcement() -> None:
    world = DiscoveryWorld(7)
    DiscoveryPeer(world, "ada")
    world.run(3600.0)
    assert [walk for _, _, walk in world.walks[:4]] == [ANNOUNCE, LOOK_UP, LOOK_UP, LOOK_UP]
    later = [at for at, _, walk in world.walks[4:] if walk == ANNOUNCE]
    assert {walk for _, _, walk in world.walks[4:]} == {ANNOUNCE}  # a routine refresh has no further look-ups
    gaps = [after - before for before, after in pairwise([0.0, *later])]
    assert all(REFRESH[0] <= gap <= REFRESH[1] + 1 for gap in gaps) and len(set(gaps)) > 1


def test_unreachable_network_is_retried_with_backoff_until_it_answers() -> None:
    world = DiscoveryWorld(3, loss=1.0)
    ada = DiscoveryPeer(world, "ada")
    world.run(300.0)
    tries = [at for at, _, _ in world.walks]
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps[0] < 4 < gaps[2] and 60 <= gaps[-1] <= 95 and gaps == sorted(gaps[:4]) + gaps[4:]
    assert ada.discovery.settled and not ada.discovery.reached
    world.loss = 0.0
    before = len(world.walks)
    ada.discovery.refresh()
    ada.serve()
    world.run(320.0)
    assert [walk for _, _, walk in world.walks[before:]] == [ANNOUNCE, LOOK_UP, LOOK_UP, LOOK_UP]
    assert ada.discovery.settled and ada.discovery.reached


def test_role_change_cancels_the_walk_and_withdraws_the_record() -> None:
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


def test_server_without_client_role_does_not_look_up() -> None:
    discovery = Discovery(still, server=True, client=False)
    discovery.done(1, True, 1.0)
    assert discovery.next_wake() == 601.0


def test_suspend_stops_walks_and_closing_twice_withdraws_once() -> None:
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
