"""Networks as they age: hundreds and thousands of nodes, and a third of them gone at once."""

from __future__ import annotations

import random

import pytest

from benchmarks.hops import BuiltNetwork, kill, survey
from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.contact import contact_at
from netstack.dht.events import Mode
from netstack.dht.query import Outcome
from netstack.dht.records import hashed
from netstack.ports import SERVER
from tests.support.dht_network import PORT, Member, Network, public_host

TOPIC = hashed(b"chess")
ADA = SigningKey.from_seed(b"a" * 32)


def guest(net: Network, number: int) -> Member:
    member = net.join(bootstrap=[(public_host(1), PORT)], mode=Mode.EPHEMERAL, host=public_host(1 << 22 | number))
    net.until(lambda: member.ready)
    return member


def announce(net: Network, member: Member, topic: bytes) -> Outcome:
    done: list[Outcome] = []
    member.node.now = net.now
    hyper.announce(member.node, topic, ADA, (), done.append)
    net.flush(member)
    net.until(lambda: bool(done))
    return done[0]


def look_up(net: Network, member: Member, topic: bytes) -> set[bytes]:
    """The keys that are found under `topic`."""
    found: set[bytes] = set()
    done: list[Outcome] = []
    member.node.now = net.now
    hyper.lookup(member.node, topic, lambda peers, _: found.update(peer.key for peer in peers.peers), done.append)
    net.flush(member)
    net.until(lambda: bool(done))
    return found


def found_after(net: Network, nodes: int, topics: int, share: float, seed: int) -> float:
    """Announces, ends that share of the nodes at once, and looks up as a newcomer: how much is found."""
    ada = guest(net, 1)
    announced = [hashed(bytes([number & 255, number >> 8])) for number in range(topics)]
    for topic in announced:
        announce(net, ada, topic)
    kill(net, nodes, share, random.Random(seed))
    bob = guest(net, 2)
    return sum(look_up(net, bob, topic) == {ADA.public} for topic in announced) / topics


def test_records_survive_loss_of_a_third_of_200_nodes() -> None:
    net = Network(21)
    net.grow(200)
    assert found_after(net, 200, topics=60, share=0.3, seed=1) == 1.0


def test_small_idle_network_removes_dead_nodes() -> None:
    """Nodes that are asked and ask nobody: a walk tells them which nodes are dead, and soon waits for those no more."""
    net = Network(31)
    nodes = net.grow(10)
    announce(net, guest(net, 1), TOPIC)
    dead = nodes[3:6]
    for member in dead:
        net.kill(member)
    bob = guest(net, 2)
    for _ in range(6):
        assert look_up(net, bob, TOPIC) == {ADA.public}
        net.run(2)
    alive = [member.node.table for member in nodes if member.alive]
    assert not any(table.get(contact_at(member.address).id) for table in alive for member in dead)
    began = net.now
    look_up(net, bob, TOPIC)
    assert net.now - began < 0.5


def test_hops_grow_with_the_logarithm_of_the_network() -> None:
    hops = [float(str(survey(nodes, 40)["hops_mean"])) for nodes in (50, 500, 5000)]
    assert hops[0] < 0.5
    assert hops[1] < 1.3
    assert hops[2] < 2.2


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_lookups_work_after_loss_of_a_third_of_10000_nodes(seed: int) -> None:
    net = BuiltNetwork(10_000, seed)
    assert net.place((public_host(1), PORT)) is not None
    assert net.members[0].node.bound_to(SERVER) is not None
    assert found_after(net, 10_000, topics=200, share=0.3, seed=seed) >= 0.99


@pytest.mark.soak
def test_lookups_work_after_loss_of_a_third_of_1000_joined_nodes() -> None:
    net = Network(22)
    net.grow(1000)
    assert found_after(net, 1000, topics=400, share=0.3, seed=2) >= 0.99
