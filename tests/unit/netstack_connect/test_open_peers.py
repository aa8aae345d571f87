"""A peer that says it needs no hole: which of its addresses are asked, and which one the connection takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from netstack.connect.outbound import MAX_PRIVATE, MAX_PUBLIC, OutboundAttempt, may_say, named_addresses
from netstack.connect.rounds import Route
from netstack.dht.datagram import PEER_HANDSHAKE, Request, Response, decode_datagram, encode_response
from netstack.events import PathKind
from netstack.udp.port import Address, Outgoing
from netstack.wire.handshake import Agreement
from netstack.wire.messages import HandshakeMessage, RoutingMode, encode_handshake
from tests.support.nat import Internet, SimHost
from tests.unit.netstack_connect.test_pairs import BOB, listening, talk
from tests.unit.netstack_connect.test_paths import RELAY, relay

NOWHERE: Address = ("5.20.30.250", 7)


def route(client: str, server: str, relay: str | None = None) -> Route:
    """What a relay says; without an address of its own it stands in the network of the server."""
    return Route(True, (relay or server, 1), (server, 2), (client, 3), 0)


def open_pair(net: Internet) -> tuple[SimHost, SimHost]:
    """Ada behind a router, and Bob whom everybody reaches."""
    ada, bob = net.host(behind=net.router()), net.host(reachable=True)
    net.run(5)
    listening(net, bob)
    return ada, bob


def dial(
    net: Internet, ada: SimHost, names: Sequence[Address] | None = None, relay_says: Address | None = None
) -> OutboundAttempt:
    """Ada dials Bob; his answer names these addresses, and the relay says that it came from there."""
    conn = ada.connect(BOB.public)
    attempt = ada.core._outbound[conn]
    take = attempt._routed

    def routed(route: Route, agreement: Agreement) -> None:
        if names is not None:
            agreement = replace(agreement, payload=replace(agreement.payload, addresses4=tuple(names)))
        take(replace(route, server=relay_says or route.server), agreement)

    attempt._routed = routed  # type: ignore[method-assign]
    ada.turn()
    return attempt


def test_open_peer_is_reached_at_any_of_its_addresses() -> None:
    net = Internet(seed=40, nodes=12)
    ada, bob = open_pair(net)
    for names in ([NOWHERE, bob.address], [bob.address, NOWHERE]):
        dial(net, ada, names, relay_says=NOWHERE)
        opened = len(ada.opened)
        assert net.run(2, lambda opened=opened: len(ada.opened) > opened)  # type: ignore[misc]
        assert ada.opened[-1].address == bob.address
    talk(net, ada, ada.opened[-1].conn)


def test_open_peer_is_reached_where_only_the_relay_saw_it() -> None:
    net = Internet(seed=41, nodes=12)
    ada, bob = open_pair(net)
    dial(net, ada, [NOWHERE], relay_says=bob.address)
    assert net.run(3, lambda: bool(ada.opened))
    assert ada.opened[0].address == bob.address
    talk(net, ada, ada.opened[0].conn)


def test_open_peer_with_one_address_is_not_asked_again() -> None:
    net = Internet(seed=42, nodes=12)
    ada, bob = open_pair(net)
    asked = 0

    def count(source: Address, target: Address, data: bytes) -> bool:
        nonlocal asked
        message = decode_datagram(data) if source == ada.address and data[0] == 0x03 else None
        asked += isinstance(message, Request) and target == bob.address and message.command == PEER_HANDSHAKE
        return False

    net.loss = count
    dial(net, ada)
    assert net.run(3, lambda: bool(ada.opened))
    assert asked == 0


def test_open_peer_that_answers_nowhere_stays_connected_through_a_blind_relay() -> None:
    net = Internet(seed=44, nodes=12)
    relay(net)
    home = net.router()
    ada, bob = net.host(behind=home, relay_through=RELAY.public), net.host(reachable=True)
    net.run(5)
    listening(net, bob)
    net.loss = lambda source, target, data: {source[0], target[0]} == {home.host, bob.host}
    dial(net, ada, [NOWHERE], relay_says=("5.20.30.251", 7))
    assert net.run(10, lambda: bool(ada.opened))
    net.run(30)
    assert (ada.core.path(ada.opened[0].conn), ada.moved, ada.closed) == (PathKind.RELAYED, [], [])
    talk(net, ada, ada.opened[0].conn)


def test_relay_that_gives_the_answer_again_does_not_divert_the_attempt() -> None:
    """Eve is faster than Bob with the answer that her relay has passed on; without it she would get the stream."""
    net = Internet(seed=43, nodes=12)
    ada, bob = open_pair(net)
    eve = net.host()
    attempt = dial(net, ada, [bob.address, NOWHERE], relay_says=eve.address)
    answered: list[Address] = []
    lost: list[Address] = []

    def echo(source: Address, target: Address, data: bytes) -> bool:
        message = decode_datagram(data) if target == eve.address and data[0] == 0x03 else None
        if isinstance(message, Request) and message.command == PEER_HANDSHAKE:
            value = encode_handshake(HandshakeMessage(RoutingMode.REPLY, attempt._answer))
            net.send(eve, Outgoing(source, encode_response(Response(message.tid, source, value))))
            answered.append(source)
            return True
        if source == bob.address and data[0] == 0x13 and len(data) > 100 and not lost:
            lost.append(source)
            return True
        return False

    net.loss = echo
    assert net.run(20, lambda: bool(ada.opened or ada.failed))
    assert answered and lost
    assert [event.address for event in ada.opened] == [bob.address]
    talk(net, ada, ada.opened[0].conn)


@pytest.mark.parametrize(
    ("client", "server", "named", "asked"),
    [
        # the peer is on our machine, in our network, behind our router, and elsewhere
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1", "10.1.1.1"], ["127.0.0.1", "10.1.1.1"]),
        ("10.1.1.2", "10.1.1.1", ["127.0.0.1", "10.1.1.1"], ["10.1.1.1"]),
        ("5.5.5.5", "5.5.5.5", ["127.0.0.1", "10.1.1.1", "5.5.5.5"], ["5.5.5.5", "10.1.1.1"]),
        ("5.5.5.5", "6.6.6.6", ["127.0.0.1", "10.1.1.1", "100.64.0.1", "6.6.6.6"], ["6.6.6.6"]),
        # nobody sends a datagram there
        ("5.5.5.5", "6.6.6.6", ["0.0.0.0", "224.0.0.1", "255.255.255.255"], []),
    ],
)
def test_private_addresses_are_asked_only_near_their_network(
    client: str, server: str, named: list[str], asked: list[str]
) -> None:
    addresses = tuple((host, 9) for host in named)
    assert named_addresses(addresses, route(client, server), ()) == tuple((host, 9) for host in asked)


@pytest.mark.parametrize("server", ["127.0.0.1", "10.1.1.1"])
def test_relay_is_not_believed_about_addresses_that_reach_less_far_than_its_own(server: str) -> None:
    named = (("127.0.0.1", 9), ("10.1.1.1", 9))
    assert named_addresses(named, route(server, server, "5.20.30.1"), ()) == ()
    assert not may_say(route(server, server, "5.20.30.1")) and may_say(route(server, server))


def test_relay_that_invents_where_we_are_has_no_private_address_asked() -> None:
    named, here = (("10.1.1.1", 9),), ("5.5.5.5", 1)
    assert named_addresses(named, route("5.5.5.5", "5.5.5.5"), (), here) == named
    assert named_addresses(named, route("7.7.7.7", "7.7.7.7"), (), here) == ()


@pytest.mark.parametrize("server", [("192.168.1.9", 7), ("127.0.0.1", 53)])
def test_far_relay_and_far_peer_send_us_nowhere_in_our_own_network(server: Address) -> None:
    net = Internet(seed=40, nodes=12)
    ada, _ = open_pair(net)
    sent: list[Address] = []

    def watch(source: Address, target: Address, data: bytes) -> bool:
        if target[0].startswith(("192.168.", "127.")):
            sent.append(target)
        return False

    net.loss = watch
    dial(net, ada, [(f"192.168.1.{n}", 1900 + n) for n in range(8)] + [("127.0.0.1", 53)], relay_says=server)
    net.run(15)
    assert sent == []


def test_peer_that_names_many_addresses_has_few_of_them_asked() -> None:
    public = tuple((f"6.6.6.{n}", 9) for n in range(50))
    private = tuple((f"10.1.{n}.1", 9) for n in range(50))
    asked = named_addresses(private + public, route("10.1.40.2", "10.9.9.9"), (("10.1.40.2", 5),))
    assert asked[:MAX_PUBLIC] == public[:MAX_PUBLIC]
    assert asked[MAX_PUBLIC] == ("10.1.40.1", 9)  # the one most like ours
    assert len(asked) == MAX_PUBLIC + MAX_PRIVATE
