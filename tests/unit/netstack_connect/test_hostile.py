"""What relays, strangers and the new holder of an old address can do to a connection, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from identity.errors import DecodeError
from identity.keys import SigningKey
from netstack.connect.blind_relay import PAIR, PROTOCOL, UNPAIR, Pair, encode_pair, encode_unpair
from netstack.dht.datagram import PEER_HANDSHAKE, Request, Response, decode_datagram, encode_request, encode_response
from netstack.events import PathKind
from netstack.udp.port import Address, Outgoing
from netstack.wire.handshake import Initiator, target_of
from netstack.wire.messages import (
    HandshakeMessage,
    NoisePayload,
    RoutingMode,
    UdxInfo,
    decode_handshake,
    encode_handshake,
)
from netstack.wire.protomux import Protomux
from tests.support.nat import Internet, SimHost
from tests.support.streams import stream
from tests.unit.netstack_connect.test_pairs import BOB, behind, listening, talk
from tests.unit.netstack_connect.test_paths import RELAY, relay


def test_forged_answers_from_peers_old_address_do_not_end_the_attempt() -> None:
    net = Internet(seed=20, nodes=12)
    ada, bob, eve = behind(net, "cone"), behind(net, "cone"), net.host()
    net.run(5)
    listening(net, bob)
    told, late = 0, net.now

    def answer(source: Address, target: Address, data: bytes) -> bool:
        nonlocal told
        if target != eve.address or data[0] != 0x03:
            return net.now < late and source != eve.address  # the true way takes a little longer
        asked = decode_datagram(data)
        if isinstance(asked, Request) and asked.command == PEER_HANDSHAKE and not asked.internal:
            told += 1
            mode = RoutingMode.REPLY if told % 2 else RoutingMode.FROM_SERVER
            value = encode_handshake(HandshakeMessage(mode, bytes(100)))
            net.send(eve, Outgoing(source, encode_response(Response(asked.tid, source, value))))
        return True

    late = net.now + 2
    net.loss = answer
    conn = ada.core.connect(BOB.public, [eve.address], None, net.now)
    ada.turn()
    assert net.run(20, lambda: bool(ada.opened or ada.failed))
    assert ada.failed == []
    assert told <= 2 * ada.core.limits.forgeries
    talk(net, ada, conn)


@pytest.mark.parametrize("server", ["open", "cone", "symmetric"])
@pytest.mark.parametrize("client", ["open", "cone"])
def test_unneeded_blind_relay_is_released(client: str, server: str) -> None:
    net = Internet(seed=21, nodes=12)
    bridge = relay(net)
    ada, bob = behind(net, client, RELAY.public), behind(net, server, RELAY.public)
    net.run(5)
    listening(net, bob)
    conn = ada.connect(BOB.public)
    ada.turn()
    assert net.run(60, lambda: bool(ada.opened))
    net.run(90)
    talk(net, ada, conn)
    assert [len(host.core) for host in (ada, bob, bridge)] == [1, 1, 0]


def test_handshakes_from_invented_relay_do_not_use_up_a_hosts_allowance() -> None:
    net = Internet(seed=22, nodes=12)
    ada, bob, eve = behind(net, "open"), behind(net, "open"), net.host()
    net.run(5)
    listening(net, bob)
    for n in range(400):
        value = encode_handshake(HandshakeMessage(RoutingMode.FROM_RELAY, n.to_bytes(2, "little") * 50, ada.address))
        asked = Request(n, bob.address, PEER_HANDSHAKE, target=target_of(BOB.public), value=value)
        net.send(eve, Outgoing(bob.address, encode_request(asked)))
        net.run(0.005)
        if n == 300:
            ada.core.connect(BOB.public, [bob.address], None, net.now, by_key=False)
            ada.turn()
    assert len(ada.opened) == 1


def test_private_addresses_are_told_only_to_peers_in_our_network() -> None:
    net = Internet(seed=23, nodes=12)
    home = net.router()
    ada, bob, neighbour = net.host(), net.host(behind=home), net.host(behind=home)
    net.run(5)
    listening(net, bob)
    for dialler, told in ((ada, ()), (neighbour, (bob.address,))):
        conn = dialler.connect(BOB.public)
        dialler.turn()
        net.run(5)
        agreement = dialler.core._links.by_id[conn].agreement
        assert agreement is not None
        assert agreement.payload.addresses4 == told


def test_relay_that_reports_a_move_at_every_ping_causes_few_announcements() -> None:
    net = Internet(seed=24, nodes=12)
    bob = behind(net, "cone")
    net.run(5)
    listening(net, bob)
    said = 0
    for node in net.nodes:
        if node.address in bob.core.relays_of(BOB.public):
            dht = node.core.dht
            assert dht is not None

            def lie(out: Outgoing, put: Callable[[Outgoing], None] = dht._put) -> None:
                nonlocal said
                said += 1
                wrong = bytes(out.data[:4]) + said.to_bytes(6, "big") + bytes(out.data[10:])
                put(out._replace(data=wrong) if out.data[0] == 0x13 and len(out.data) == 42 else out)

            dht._put = lie  # type: ignore[method-assign]
    announcer = bob.core._server.announcers[BOB.public]
    before = announcer.rounds
    net.run(180)
    assert 5 <= announcer.rounds - before <= 12


def test_unlisten_withdraws_announcement_from_current_and_past_relays() -> None:
    net = Internet(seed=25, nodes=12)
    bob = behind(net, "cone")
    net.run(5)
    listening(net, bob)
    first = bob.core.relays_of(BOB.public)
    lost = set(first[:2])
    net.loss = lambda source, target, data: source in lost or target in lost
    net.run(30)  # others took their places
    net.loss = lambda source, target, data: False
    assert set(bob.core.relays_of(BOB.public)) != set(first)
    bob.core.unlisten(BOB.public)
    bob.turn()
    net.run(10)
    forwards = [node.core.dht.store.forwards.get(target_of(BOB.public), net.now) for node in net.nodes if node.core.dht]
    assert [forward for forward in forwards if forward is not None] == []


def test_blind_relay_keeps_nothing_of_broken_connections() -> None:
    net = Internet(seed=26, nodes=12)
    bridge, eve = relay(net), net.host()
    net.run(5)
    served = bridge.core._relay
    assert served is not None
    for ending in (b"garbage", encode_unpair(bytes(32)), b""):
        conn = eve.connect(RELAY.public)
        eve.turn()
        assert net.run(10, lambda conn=conn: any(event.conn == conn for event in eve.opened))  # type: ignore[misc]
        mux = Protomux()
        channel = mux.open(PROTOCOL, eve.opened[-1].local_key)
        for number in range(8):
            mux.send(channel, PAIR, encode_pair(Pair(True, bytes((number,)) * 32, number)))
        mux.send(channel, PAIR if ending == b"garbage" else UNPAIR, ending or encode_unpair(bytes(32)))
        for frame in mux.take_outgoing():
            eve.core.send(conn, frame, net.now)
        if not ending:
            eve.core.end(conn, net.now)
        eve.turn()
        net.run(1)
        assert len(served._waiting) == (7 if ending == encode_unpair(bytes(32)) else 0)
        if len(ending) > 10:
            net.run(90)  # whoever waits so long waits for nobody
            assert len(served._waiting) == 0
        eve.core.abort(conn, net.now)
        eve.turn()
        net.run(30)
        assert served._sessions == {}
        assert len(bridge.core) == 0


def test_other_host_at_peers_private_address_is_not_taken_for_peer() -> None:
    net = Internet(seed=27, nodes=12)
    relay(net)
    home = net.router()
    ada = net.host(behind=home, relay_through=RELAY.public)
    bob, neighbour = net.host(behind=home), net.host(behind=home)
    bob.core._context.local = lambda: (neighbour.address,)
    net.run(5)
    listening(net, bob)
    conn = ada.connect(BOB.public)
    ada.turn()
    assert net.run(20, lambda: bool(ada.opened or ada.failed))
    assert [event.path for event in ada.opened] == [PathKind.RELAYED]
    talk(net, ada, conn)


def test_silent_relays_do_not_delay_relays_that_answer() -> None:
    net = Internet(seed=28, nodes=12)
    ada, bob = behind(net, "cone"), behind(net, "cone")
    silent = [net.host().address for _ in range(6)]
    net.run(5)
    listening(net, bob)
    net.loss = lambda source, target, data: target in silent
    ada.core.connect(BOB.public, (), None, net.now, relays=silent)
    ada.turn()
    assert net.run(4, lambda: bool(ada.opened))


@pytest.mark.parametrize("server", ["open", "cone"])
def test_relays_that_claim_to_be_the_peer_do_not_prevent_connection(server: str) -> None:
    net = Internet(seed=29, nodes=12)
    ada, bob = behind(net, "cone"), behind(net, server)
    net.run(5)
    listening(net, bob)
    passed: list[bytes] = []

    def strip(source: Address, target: Address, data: bytes) -> bool:
        answer = decode_datagram(data) if data[0] == 0x13 and data not in passed else None
        if not isinstance(answer, Response) or answer.value is None or len(answer.value) < 100:
            return False
        with suppress(DecodeError):
            message = decode_handshake(answer.value)
            if message.mode == RoutingMode.REPLY and message.noise and message.peer is not None:
                value = encode_handshake(HandshakeMessage(RoutingMode.REPLY, message.noise))
                passed.append(encode_response(answer._replace(value=value)))
                net.send(net._hosts[source[0]], Outgoing(target, passed[-1]))
                return True
        return False

    net.loss = strip
    ada.core.connect(BOB.public, (), None, net.now)
    ada.turn()
    assert net.run(20, lambda: bool(ada.opened or ada.failed))
    assert bool(passed) is (server == "cone")  # the other is reached without them
    assert len(ada.opened) == 1


def request_handshake(net: Internet, eve: SimHost, through: Address, times: int) -> None:
    """Handshakes with BOB of which nothing more is heard."""
    for n in range(times):
        rng = stream(f"{eve.host} {n}")
        dial = Initiator(SigningKey.generate(rng), BOB.public, NoisePayload(udx=UdxInfo(n), secret_stream=1), rng)
        value = encode_handshake(HandshakeMessage(RoutingMode.FROM_CLIENT, dial.message))
        asked = Request(n, through, PEER_HANDSHAKE, target=target_of(BOB.public), value=value)
        net.send(eve, Outgoing(through, encode_request(asked)))


def test_diallers_that_send_no_punch_round_hold_few_sockets() -> None:
    net = Internet(seed=30, nodes=12)
    ada, bob, crowd = behind(net, "cone"), behind(net, "cone"), [net.host() for _ in range(3)]
    net.run(5)
    listening(net, bob)
    through = bob.core.relays_of(BOB.public)[0]
    request_handshake(net, crowd[0], through, 50)
    net.run(1)
    assert len(bob.ports) == 2 + 32
    conn = ada.connect(BOB.public)  # one host leaves room for others
    ada.turn()
    assert net.run(8, lambda: bool(ada.opened or ada.failed))
    talk(net, ada, conn)
    net.run(15)
    assert len(bob.ports) == 2 + 1
    for eve in crowd[1:]:
        request_handshake(net, eve, through, 50)
    request_handshake(net, net.host(), through, 50)
    net.run(1)
    assert len(bob.ports) == 2 + 1 + 64
    net.run(15)
    assert len(bob.ports) == 2 + 1
