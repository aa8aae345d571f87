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
def test_a_newcomer_finds_out_how_others_see_it(nat: Nat, seen: Seen, reachable: bool, port: int) -> None:
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


def test_a_node_that_wants_to_be_persistent_is_at_once_if_it_is_reachable() -> None:
    net = Network(seed=3)
    net.grow(8)
    server = guest(net, mode=Mode.PERSISTENT)
    assert server.seen == [Persistent(server.address), Ready()]
    behind = guest(net, Nat.CONSISTENT, Mode.PERSISTENT)
    assert behind.seen == [Ready()]
    assert behind.node.ephemeral


def test_the_dead_are_forgotten_within_minutes() -> None:
    net = Network(seed=4)
    nodes = net.grow(30)
    dead = nodes[10:20]
    for member in dead:
        net.kill(member)
    net.run(15 * MINUTE)
    gone = {contact_at(member.address) for member in dead}
    for member in nodes[:10] + nodes[20:]:
        assert not gone & {entry.contact for entry in member.node.table}


def test_nobody_is_forgotten_because_we_are_cut_off() -> None:
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


def test_the_dead_are_reported_to_whoever_named_them() -> None:
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


def test_a_full_bucket_keeps_those_that_answer() -> None:
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


def test_whoever_speaks_first_under_a_forged_address_does_not_stay() -> None:
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


def test_after_a_sleep_a_node_gives_up_its_id_and_looks_around() -> None:
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


def test_in_another_network_a_node_notices_from_what_others_see() -> None:
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


def test_three_liars_do_not_move_a_node() -> None:
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


def test_the_nodes_of_an_earlier_run_replace_the_bootstrap_nodes() -> None:
    net = Network(seed=12)
    nodes = net.grow(30)
    known = guest(net).node.known_nodes()
    assert len(known) > 20
    net.kill(nodes[0])
    again = net.join(known=known, bootstrap=[])
    net.until(lambda: again.ready)
    assert len(again.node.table) > 20


def test_alone_a_node_is_ready_and_stays_quiet() -> None:
    net = Network(seed=13)
    alone = net.join(bootstrap=[], mode=Mode.PERSISTENT)
    net.run(60 * MINUTE)
    assert alone.seen == [Ready()]
    assert net.datagrams == 0


def test_idle_nodes_say_little() -> None:
    net = Network(seed=14)
    nodes = net.grow(30)
    before = net.datagrams
    net.run(30 * MINUTE)
    assert (net.datagrams - before) / len(nodes) / 1800 < 0.6  # datagrams a second and node


def test_a_public_node_cannot_send_us_into_our_own_network() -> None:
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


def test_one_seed_is_one_run() -> None:
    def run() -> tuple[int, list[int]]:
        net = Network(seed=16, loss=0.05)
        net.grow(15)
        net.run(5 * MINUTE)
        return net.datagrams, [member.received for member in net.members]

    assert run() == run()


def test_a_node_that_starts_without_a_network_joins_when_there_is_one() -> None:
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


def test_a_dead_node_in_a_small_network_costs_little() -> None:
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


def test_a_server_that_moves_is_a_server_again_where_it_is_now() -> None:
    net = Network(seed=19)
    net.grow(20)
    server = guest(net, mode=Mode.PERSISTENT)
    net.move(server, "203.0.113.5")
    net.run(5 * MINUTE)
    there = ("203.0.113.5", PORT)
    assert server.seen[-3:] == [Ephemeral(), NetworkChanged(there, online=True), Persistent(there)]
    assert server.node.id == contact_at(there).id
