"""What is passed on, what is answered, and on whose account: the router alone, without connections behind it."""

from __future__ import annotations

from collections.abc import Callable

from netstack.connect.allowance import Allowance
from netstack.connect.route import ASKED, Recent, Router
from netstack.connect.rpc import MAX_CALLS, BareNode
from netstack.connect.secure_payload import HolepunchMessage, encode_holepunch
from netstack.connect.tasks import Tasks
from netstack.dht.ask import Ask
from netstack.dht.datagram import PEER_HANDSHAKE, PEER_HOLEPUNCH, PING, Request, Response, encode_request
from netstack.ports import SERVER, SERVER6
from netstack.udp.port import Address
from netstack.wire.messages import HandshakeMessage, RoutingMode, encode_handshake
from tests.support.streams import stream

HERE: Address = ("10.0.0.2", 2)
ADA: Address = ("10.0.0.1", 1)
TARGET = bytes(32)


class Willing:
    """A server that answers every round at once."""

    def on_handshake(
        self, noise: bytes, client: Address, relay: Address | None, request: Request, port: int, now: float
    ) -> tuple[bytes, int] | None:
        return b"answer", port

    def on_holepunch(
        self,
        message: HolepunchMessage,
        relay: Address,
        request: Request,
        port: int,
        answer: Callable[[bytes, int], None],
    ) -> None:
        answer(b"answer", port)


def test_punch_round_over_ipv6_gets_no_answer() -> None:
    """Its answer would have to name an address that these datagrams have no room for."""
    node = BareNode(stream(1), Tasks(), SERVER6)
    Router(node, servers={TARGET: Willing()})
    value = encode_holepunch(HolepunchMessage(RoutingMode.FROM_RELAY, 1, b"sealed", ADA))
    data = encode_request(Request(7, HERE, PEER_HOLEPUNCH, target=TARGET, value=value))
    node.receive(data, ("2001:db8::1", 5), SERVER6, 0.0)
    assert node.outgoing() == []


def test_hosts_of_one_ipv6_network_share_one_allowance() -> None:
    allowance = Allowance(burst=4, rate=1.0, hosts=100)
    hosts = [f"2001:db8:1:2::{n:x}" for n in range(1, 9)]
    assert [allowance.spend(host, 0.0) for host in hosts] == [True] * 4 + [False] * 4
    assert allowance.spend("2001:db8:1:3::1", 0.0)
    assert allowance.spend("fe80::1%eth0", 0.0)
    assert len(allowance) == 3


def test_requests_beyond_the_limit_fail_as_if_lost() -> None:
    tasks = Tasks()
    node = BareNode(stream(2), tasks)
    heard: list[Response | None] = []
    calls = [node.request(ADA, Ask(PING, internal=True), heard.append) for _ in range(MAX_CALLS + 2)]
    calls[-1].cancel()
    tasks.wake(1.0)
    assert heard == [None]
    assert len(node.calls) == MAX_CALLS


BOB: Address = ("5.20.30.40", 3)


def handshake(mode: RoutingMode, tid: int, peer: Address | None = None) -> bytes:
    value = encode_handshake(HandshakeMessage(mode, b"noise", peer))
    return encode_request(Request(tid, HERE, PEER_HANDSHAKE, target=TARGET, value=value))


def passed(node: BareNode, data: bytes, source: Address, now: float = 0.0) -> list[Address]:
    """Where that datagram made the relay send something."""
    node.receive(data, source, SERVER, now)
    return [item.address for item in node.outgoing()]


def test_relay_forwards_answers_only_from_network_that_was_asked() -> None:
    """Its other ports and, where a provider has several addresses, its neighbours may."""
    node = BareNode(stream(3), Tasks())
    Router(node, lambda target, now: BOB)
    assert passed(node, handshake(RoutingMode.FROM_CLIENT, 7), ADA) == [BOB]
    answer = handshake(RoutingMode.FROM_SERVER, 7, ADA)
    assert passed(node, answer, ("6.6.6.6", 3)) == []
    assert passed(node, answer, ADA) == []
    assert passed(node, answer, ("5.20.30.41", 9)) == [ADA]
    assert passed(node, answer, (BOB[0], 9)) == [ADA]
    assert passed(node, handshake(RoutingMode.FROM_SERVER, 8, ADA), BOB) == []


def test_flood_from_one_network_does_not_evict_requests_of_others() -> None:
    node = BareNode(stream(4), Tasks())
    Router(node, lambda target, now: BOB)
    passed(node, handshake(RoutingMode.FROM_CLIENT, 7), ADA)
    for n in range(2 * ASKED):  # sources that somebody has made up
        assert passed(node, handshake(RoutingMode.FROM_CLIENT, n), (f"9.9.{n % 4}.{n // 4 % 256}", 5)) == [BOB]
    assert passed(node, handshake(RoutingMode.FROM_SERVER, 7, ADA), BOB) == [ADA]


def test_recent_notes_expire_and_stay_within_their_bound() -> None:
    fresh: Recent[int] = Recent(size=8, life=10.0)
    for n in range(20):
        fresh.note(n, 0.0, f"network {n}")
    assert [n for n in range(20) if fresh.about(n, 10.0) is not None] == list(range(12, 20))
    assert fresh.about(19, 10.1) is None
    fresh.note(99, 11.0, "network 99")
    assert len(fresh) == 1
