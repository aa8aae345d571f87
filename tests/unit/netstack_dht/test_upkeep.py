"""What a node does over minutes and hours: who stays in its table, what it is to others, what it notices."""

from __future__ import annotations

import random

import pytest

from netstack.dht.ask import Ask
from netstack.dht.contact import contact_at, shared_prefix
from netstack.dht.datagram import (
    DOWN_HINT,
    FIND_NODE,
    PING,
    Request,
    Response,
    decode_datagram,
    encode_request,
    encode_response,
)
from netstack.dht.events import Ephemeral, Mode, NetworkChanged, Persistent, Ready, Woken
from netstack.dht.events import Nat as Seen
from netstack.dht.query import Outcome
from netstack.dht.table import K
from tests.support.dht_network import PORT, Member, Nat, Network

MINUTE = 60.0


def walk(net: Network, member: Member, target: bytes) -> Outcome:
    done: list[Outcome] = []
    member.node.now = net.now
    member.node.query(Ask(FIND_NODE, internal=True, target=target), on_done=done.append)
    net.flush(member)
    net.until(lambda: bool(done))
    return done[0]


def guest(net: Network, nat: Nat = Nat.OPEN, mode: Mode = Mode.ADAPTIVE) -> Member:
    member = net.join(nat=nat, mode=mode)
    net.until(lambda: member.ready)
    return member


@pytest.mark.parametrize(
    ("nat", "seen", "reachable", "port"),
    [
        (Nat.OPEN, Seen.OPEN, True, PORT),
        (Nat.CONSISTENT, Seen.CONSISTENT, False, 50000),
        (Nat.RANDOM, Seen.RANDOM, False, 0),
    ],
)
def test_new_node_learns_its_public_address_and_nat(nat: Nat, seen: Seen, reachable: bool, port: int) -> None:
    net = Network(seed=1)
    net.grow(8)
    member = guest(net, nat)
    assert (member.node.nat, member.node.reachable) == (seen, reachable)
    assert member.node.address == (member.host, port)
    assert member.node.ephemeral
    assert member.node.id is None


def test_an_open_node_becomes_persistent_after_twenty_minutes_and_a_firewalled_one_never() -> None:
    net = Network(seed=2)
    net.grow(8)
    open_one, behind, shy = guest(net), guest(net, Nat.CONSISTENT), guest(net, mode=Mode.EPHEMERAL)
    net.run(19 * MINUTE)
    assert open_one.seen == [Ready()]
    net.run(2 * MINUTE)
    assert open_one.seen == [Ready(), Persistent(open_one.address)]
    assert open_one.node.id == contact_at(open_one.address).id
    net.run(60 * MINUTE)
    assert behind.seen == shy.seen == [Ready()]
    assert contact_at(open_one.address) in [reply_of.contact for reply_of in net.members[3].node.table]


def test_reachable_node_in_persistent_mode_becomes_persistent_at_once() -> None:
    net = Network(seed=3)
    net.grow(8)
    server = guest(net, mode=Mode.PERSISTENT)
    assert server.seen == [Persistent(server.address), Ready()]
    behind = guest(net, Nat.CONSISTENT, Mode.PERSISTENT)
    assert behind.seen == [Ready()]
    assert behind.node.ephemeral


def test_dead_nodes_leave_tables_within_minutes() -> None:
    net = Network(seed=4)
    nodes = net.grow(30)
    dead = nodes[10:20]
    for member in dead:
        net.kill(member)
    net.run(15 * MINUTE)
    gone = {contact_at(member.address) for member in dead}
    for member in nodes[:10] + nodes[20:]:
        assert not gone & {entry.contact for entry in member.node.table}


def test_node_without_network_keeps_its_table() -> None:
    net = Network(seed=5)
    net.grow(8)
    member = guest(net)
    known = len(member.node.table)
    net.tap = lambda source, to, data: None if member.host in (source[0], to[0]) else data
    for _ in range(5):
        for entry in list(member.node.table):
            member.node.now = net.now
            member.node.request(entry.address, Ask(PING, internal=True), lambda response: None)
        net.flush(member)
        net.run(6)
    assert NetworkChanged(member.address, online=False) in member.seen
    assert len(member.node.table) == known
    net.tap = None
    net.run(2 * MINUTE)
    assert member.seen[-1] == NetworkChanged(member.address, online=True)


def test_walk_reports_dead_nodes_to_the_nodes_that_named_them() -> None:
    net = Network(seed=6)
    nodes = net.grow(16)
    member = guest(net)
    for victim in random.Random(6).sample(nodes[1:], 4):
        net.kill(victim)
    hints: list[bytes] = []

    def tap(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bytes:
        message = decode_datagram(data)
        if isinstance(message, Request) and message.internal and message.command == DOWN_HINT:
            hints.append(message.value or b"")
        return data

    net.tap = tap
    for at in range(3):
        walk(net, member, bytes([at * 31]) * 32)
    net.run(20)
    dead = {contact_at(victim.address).wire for victim in nodes if not victim.alive}
    assert hints
    assert set(hints) <= dead


def test_full_bucket_keeps_nodes_that_answer_and_replaces_dead_ones() -> None:
    net = Network(seed=7)
    first, *others = net.grow(60)
    table = first.node.table
    own = int.from_bytes(table.own, "big")
    far = [member for member in others if shared_prefix(own, contact_at(member.address).number) == 0]
    assert len(far) > K
    net.run(3 * MINUTE)
    bucket = {entry.address for entry in table.bucket(contact_at(far[0].address))}
    assert len(bucket) == K
    waiting = [member for member in far if member.address not in bucket]
    victims = [member for member in far if member.address in bucket][:5]
    for member in victims:
        net.kill(member)
    for _ in range(3):
        for member in waiting:  # they speak to the first node, whose bucket has the dead in it
            walk(net, member, table.own)
        net.run(1 * MINUTE)
    after = {entry.address for entry in table.bucket(contact_at(far[0].address))}
    assert len(after) == K
    assert bucket - after == {member.address for member in victims}


def test_request_with_forged_source_gets_no_place_in_the_table() -> None:
    net = Network(seed=8)
    node = net.grow(1)[0]
    ghost = contact_at(("198.51.100.9", 4000))
    forged = encode_request(Request(7, node.address, PING, True, id=ghost.id))
    node.node.receive(forged, ghost.address, 0, net.now)
    net.flush(node)
    liar = encode_request(Request(7, node.address, PING, True, id=bytes(32)))
    node.node.receive(liar, ("198.51.100.10", 4000), 0, net.now)
    assert node.node.table.get(bytes(32)) is None
    net.run(10)
    assert len(node.node.table) == 0


def test_node_gives_up_its_id_and_refreshes_after_sleep() -> None:
    net = Network(seed=9)
    net.grow(8)
    member = guest(net)
    net.run(21 * MINUTE)
    assert not member.node.ephemeral
    net.sleep(member, 3600)
    net.run(30)
    assert member.seen[2:] == [Ephemeral(), Woken()]
    assert member.node.reachable
    net.run(61 * MINUTE)
    assert member.seen[-1] == Persistent(member.address), "after a quiet hour it is of use again"


def test_node_notices_a_new_network_from_addresses_in_answers() -> None:
    net = Network(seed=10)
    net.grow(20)
    member = guest(net)
    net.run(21 * MINUTE)
    assert member.seen[-1] == Persistent(member.address)
    net.move(member, "203.0.113.5")
    net.run(3 * MINUTE)
    assert NetworkChanged(("203.0.113.5", PORT), online=True) in member.seen
    assert Ephemeral() in member.seen
    assert (member.node.address, member.node.nat) == (("203.0.113.5", PORT), Seen.OPEN)
    member.nat = Nat.RANDOM
    net.move(member, "203.0.113.99")
    net.run(3 * MINUTE)
    assert member.node.nat is Seen.RANDOM, "here strangers do not come through"


def test_three_nodes_that_lie_about_our_address_do_not_change_it() -> None:
    net = Network(seed=11)
    nodes = net.grow(20)
    member = guest(net)
    liars = {liar.address for liar in nodes[1:4]}

    def tap(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bytes:
        if source in liars and data[0] == 0x13:
            return data[:4] + bytes([9, 9, 9, 9]) + data[8:]
        return data

    net.tap = tap
    net.run(30 * MINUTE)
    assert member.node.address == member.address
    assert not any(isinstance(event, NetworkChanged) for event in member.seen)


def test_node_joins_through_known_nodes_without_bootstrap_nodes() -> None:
    net = Network(seed=12)
    nodes = net.grow(30)
    known = guest(net).node.known_nodes()
    assert len(known) > 20
    net.kill(nodes[0])
    again = net.join(known=known, bootstrap=[])
    net.until(lambda: again.ready)
    assert len(again.node.table) > 20


def test_node_without_other_nodes_becomes_ready_and_sends_little() -> None:
    net = Network(seed=13)
    alone = net.join(bootstrap=[], mode=Mode.PERSISTENT)
    net.run(60 * MINUTE)
    assert alone.seen == [Ready()]
    assert net.datagrams == 0


def test_idle_nodes_send_few_datagrams() -> None:
    net = Network(seed=14)
    nodes = net.grow(30)
    before = net.datagrams
    net.run(30 * MINUTE)
    assert (net.datagrams - before) / len(nodes) / 1800 < 0.6  # datagrams a second and node


def test_private_addresses_named_by_public_nodes_are_not_asked() -> None:
    net = Network(seed=15)
    nodes = net.grow(25)
    member = guest(net)
    trap = [
        ("192.168.1.1", 80),
        ("127.0.0.1", 22),
        ("10.0.0.1", 53),
        ("224.0.0.1", 9),
        ("0.0.0.0", 9),
        ("255.255.255.255", 7),
    ]

    def tap(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bytes | None:
        assert to not in trap
        if data[0] != 0x13 or source[0] == member.host:
            return data
        answer = decode_datagram(data)
        assert isinstance(answer, Response)
        return encode_response(answer._replace(closer=(*trap, *answer.closer[:14])))

    net.tap = tap
    outcome = walk(net, member, nodes[3].node.table.own)
    assert len(outcome.closest) == K


def test_same_seed_gives_same_datagrams() -> None:
    def run() -> tuple[int, list[int]]:
        net = Network(seed=16, loss=0.05)
        net.grow(15)
        net.run(5 * MINUTE)
        return net.datagrams, [member.received for member in net.members]

    assert run() == run()


def test_node_started_offline_joins_when_network_comes_up() -> None:
    net = Network(seed=17)
    nodes = net.grow(12)
    known = guest(net).node.known_nodes()
    up = False
    net.tap = lambda source, to, data: data if up else None
    early, late = net.join(), net.join(bootstrap=[], known=known)
    net.run(30)
    assert early.ready and late.ready
    assert len(early.node.table) == early.node.stats().answers == late.node.stats().answers == 0
    up = True
    net.run(15)
    assert late.node.stats().answers > len(known) // 2
    assert len(early.node.table) >= len(nodes) - 1
    assert len(late.node.table) >= len(nodes) - 1


def test_walk_in_small_network_does_not_wait_long_for_dead_node() -> None:
    net = Network(seed=18)
    nodes = net.grow(8)
    member = guest(net)
    net.kill(nodes[4])
    began = net.now
    outcome = walk(net, member, bytes(32))
    assert len(outcome.closest) == 7
    assert net.now - began < 4
    net.run(30)
    assert nodes[4].address not in {entry.address for entry in member.node.table}, "what went on found it dead"


def test_persistent_node_that_moves_becomes_persistent_at_its_new_address() -> None:
    net = Network(seed=19)
    net.grow(20)
    server = guest(net, mode=Mode.PERSISTENT)
    net.move(server, "203.0.113.5")
    net.run(5 * MINUTE)
    there = ("203.0.113.5", PORT)
    assert server.seen[-3:] == [Ephemeral(), NetworkChanged(there, online=True), Persistent(there)]
    assert server.node.id == contact_at(there).id
