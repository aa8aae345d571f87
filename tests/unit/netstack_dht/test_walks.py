"""Looking up, announcing and storing in a network of 40 nodes: what one puts, another gets."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.query import Outcome
from netstack.dht.records import LookupReply, Mutable, PeerRecord, hashed
from tests.support.dht_network import Member, Nat, Network

ADA = SigningKey.from_seed(b"a" * 32)
BOB = SigningKey.from_seed(b"b" * 32)
TOPIC = hashed(b"chess")
RELAYS = (("198.18.0.7", 49737), ("198.18.0.8", 49737))


@pytest.fixture
def net() -> Network:
    network = Network(seed=7)
    network.grow(40)
    return network


def guest(net: Network, nat: Nat = Nat.CONSISTENT) -> Member:
    member = net.join(nat=nat)
    net.until(lambda: member.ready)
    return member


def outcome(net: Network, member: Member, start: Callable[[Callable[[Any], None]], object]) -> Any:
    """Starts a walk at `member` and runs the network until it is done."""
    done: list[Any] = []
    member.node.now = net.now
    start(done.append)
    net.flush(member)
    net.until(lambda: bool(done))
    assert len(done) == 1
    return done[0]


def announce(net: Network, member: Member, key: SigningKey, relays: tuple[Any, ...] = RELAYS, **more: Any) -> Outcome:
    ended: Outcome = outcome(net, member, lambda done: hyper.announce(member.node, TOPIC, key, relays, done, **more))
    return ended


def lookup(net: Network, member: Member) -> list[LookupReply]:
    found: list[LookupReply] = []
    outcome(net, member, lambda done: hyper.lookup(member.node, TOPIC, lambda peers, _: found.append(peers), done))
    return found


def test_announcement_is_found_by_another_node(net: Network) -> None:
    ada, bob = guest(net), guest(net, Nat.RANDOM)
    assert announce(net, ada, ADA).committed == 20
    found = lookup(net, bob)
    assert len(found) == 20
    assert {peer for reply in found for peer in reply.peers} == {PeerRecord(ADA.public, RELAYS)}


def test_announcing_walk_reports_peers_already_announced(net: Network) -> None:
    ada, bob = guest(net), guest(net)
    announce(net, ada, ADA)
    met: list[LookupReply] = []
    announce(net, bob, BOB, on_found=lambda peers, _: met.append(peers))
    assert {peer.key for reply in met for peer in reply.peers} == {ADA.public}


def test_unannounced_record_is_found_no_more(net: Network) -> None:
    ada, bob = guest(net), guest(net)
    announce(net, ada, ADA)
    announce(net, bob, BOB)
    outcome(net, ada, lambda done: hyper.unannounce(ada.node, TOPIC, ADA, done))
    assert {peer.key for reply in lookup(net, ada) for peer in reply.peers} == {BOB.public}


def test_announcement_expires_after_twenty_minutes(net: Network) -> None:
    ada = guest(net)
    announce(net, ada, ADA)
    net.run(19 * 60)
    assert lookup(net, ada)
    net.run(66)
    assert not lookup(net, ada)
    assert sum(len(member.node.store) for member in net.members) == 0


def test_announcement_is_renewed_by_refresh_token_without_signature(net: Network) -> None:
    ada = guest(net)
    third = hashed(b"drawn once")
    second = hashed(third)
    announce(net, ada, ADA, refresh=hashed(second))
    net.run(15 * 60)
    renewed = outcome(net, ada, lambda done: hyper.renew(ada.node, TOPIC, second, (), done))
    assert renewed.committed == 20
    net.run(15 * 60)
    assert lookup(net, ada), "the first announcement would be dead by now"
    again = outcome(net, ada, lambda done: hyper.renew(ada.node, TOPIC, third, (), done))
    assert again.committed == 20
    replayed = outcome(net, ada, lambda done: hyper.renew(ada.node, TOPIC, second, (), done))
    assert replayed.committed == 0


def test_a_bump_orders_topics_and_may_not_lie_in_the_future(net: Network) -> None:
    ada = guest(net)
    now = int(1_800_000_000_000 + net.now * 1000)
    announce(net, ada, ADA, bump=now)
    assert {reply.bump for reply in lookup(net, ada)} == {now}
    announce(net, ada, ADA, bump=now + 600_000)
    assert {reply.bump for reply in lookup(net, ada)} == {now}


def test_announcing_own_key_makes_nodes_relay_handshakes(net: Network) -> None:
    ada, bob = guest(net), guest(net)
    target = hashed(ADA.public)
    outcome(net, ada, lambda done: hyper.announce(ada.node, target, ADA, (), done))
    found: list[tuple[PeerRecord, object]] = []
    outcome(
        net,
        bob,
        lambda done: hyper.find_peer(bob.node, target, lambda peer, by: found.append((peer, by.address)), done),
    )
    assert len(found) == 20
    for peer, relay in found:
        assert peer == PeerRecord(ADA.public)
        forward = net.at(relay).node.store.forwards.get(target, net.now)  # type: ignore[arg-type]
        assert forward is not None
        assert forward.relay == ada.node.address


def test_mutable_value_is_replaced_only_by_higher_sequence_number(net: Network) -> None:
    ada, bob = guest(net), guest(net)

    def put(value: bytes, seq: int) -> int:
        ended: Outcome = outcome(net, ada, lambda done: hyper.mutable_put(ada.node, ADA, value, seq, done))
        return ended.committed

    def get(**more: Any) -> Mutable | None:
        value: Mutable | None = outcome(net, bob, lambda done: hyper.mutable_get(bob.node, ADA.public, done, **more))
        return value

    assert get() is None
    assert put(b"one", 1) == 20
    assert put(b"other", 1) == 0, "the number is used"
    assert put(b"two", 2) == 20
    assert put(b"one", 1) == 0, "the number is too low"
    value = get()
    assert value is not None
    assert (value.seq, value.value) == (2, b"two")
    assert get(latest=False) == value
    assert get(seq=3) is None


def test_reader_can_store_a_mutable_value_again(net: Network) -> None:
    ada = guest(net)
    outcome(net, ada, lambda done: hyper.mutable_put(ada.node, ADA, b"kept", 1, done))
    holders = [member for member in net.members if len(member.node.store)]
    for member in holders[1:]:
        net.kill(member)
    bob = guest(net)
    outcome(net, bob, lambda done: hyper.mutable_get(bob.node, ADA.public, done, refresh=lambda value: True))
    # those left name the dead ones still, so a walk now does not find all that live
    assert sum(len(member.node.store) for member in net.members if member.alive) >= 8


def test_immutable_value_is_found_by_its_hash(net: Network) -> None:
    ada, bob = guest(net), guest(net)
    target = hashed(b"a value")
    put = outcome(net, ada, lambda done: hyper.immutable_put(ada.node, b"a value", done))
    assert put.committed == 20
    assert outcome(net, bob, lambda done: hyper.immutable_get(bob.node, target, done)) == b"a value"
    assert outcome(net, bob, lambda done: hyper.immutable_get(bob.node, hashed(b"none"), done)) is None


def test_cancelled_walk_calls_nobody_back_and_leaves_no_requests(net: Network) -> None:
    ada = guest(net)
    net.run(5)
    called: list[object] = []
    walk = hyper.lookup(ada.node, TOPIC, lambda peers, by: called.append(peers), called.append)
    walk.cancel()
    assert ada.node.stats().queries == ada.node.stats().inflight == 0
    net.flush(ada)
    net.run(10)
    assert called == []


def test_announce_and_lookup_work_with_ten_percent_datagram_loss(net: Network) -> None:
    net.loss = 0.1
    ada, bob = guest(net), guest(net)
    assert announce(net, ada, ADA).committed >= 18
    assert ADA.public in {peer.key for reply in lookup(net, bob) for peer in reply.peers}


def test_finished_walks_leave_no_reference_cycles(net: Network) -> None:
    ada = guest(net)
    announce(net, ada, ADA)
    net.run(10)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            lookup(net, ada)
        net.run(10)
        assert gc.collect() == 0
    finally:
        gc.enable()
