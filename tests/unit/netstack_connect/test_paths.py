"""Which way a connection goes, and that it finds a better one: relays, the same network, routers that forget."""

from __future__ import annotations

import pytest

from identity.keys import SigningKey
from netstack.events import PathKind, Reason
from netstack.udp.port import Address
from tests.support.nat import Internet, Mapping, SimHost
from tests.support.streams import stream
from tests.unit.netstack_connect.test_pairs import BOB, KINDS, behind, listening, talk

RELAY = SigningKey.from_seed(b"r" * 32)


def relay(net: Internet) -> SimHost:
    """A node that anybody reaches and that serves as blind relay."""
    host = net.host(reachable=True)
    host.core.relay_for_others(RELAY)
    host.turn()
    assert net.run(20, lambda: host.core.announced(RELAY.public))
    return host


def opened(net: Internet, ada: SimHost) -> int:
    conn = ada.connect(BOB.public)
    ada.turn()
    assert net.run(60, lambda: bool(ada.opened or ada.failed))
    assert ada.failed == []
    return conn


def test_two_symmetric_routers_are_bridged_by_a_blind_relay() -> None:
    for who in ("client", "server"):
        net = Internet(seed=3, nodes=12)
        bridge = relay(net)
        ada = behind(net, "symmetric", RELAY.public if who == "client" else None)
        bob = behind(net, "symmetric", RELAY.public if who == "server" else None)
        net.run(5)
        listening(net, bob)
        conn = opened(net, ada)
        assert ada.opened[0].path is PathKind.RELAYED
        assert ada.opened[0].handshake_hash == bob.opened[0].handshake_hash
        talk(net, ada, conn)
        net.run(120)
        assert ada.closed == bob.closed == []
        ada.core.close(conn, net.now)
        ada.turn()
        net.run(1)
        bob.core.end(bob.opened[0].conn, net.now)
        bob.turn()
        net.run(90)
        assert [event.reason for event in ada.closed + bob.closed] == [Reason.ENDED, Reason.ENDED]
        assert [len(host.core) for host in (ada, bob, bridge)] == [0, 0, 0]


def test_a_relayed_connection_becomes_a_punched_one() -> None:
    net = Internet(seed=4, nodes=12)
    relay(net)
    ada, bob = behind(net, "cone", RELAY.public), behind(net, "symmetric")
    net.run(5)
    listening(net, bob)
    conn = opened(net, ada)
    assert ada.opened[0].path is PathKind.RELAYED  # a storm of probes takes its time
    sent = [bytes((n,)) * 5000 for n in range(200)]
    for frame in sent:
        ada.core.send(conn, frame, net.now)
        ada.turn()
        net.run(0.2)
    assert net.run(30, lambda: bool(ada.moved and bob.moved))
    assert ada.core.path(conn) is PathKind.PUNCHED
    net.run(60)
    assert ada.frames == sent
    assert ada.closed == bob.closed == []
    assert len(ada.core) == len(bob.core) == 1  # nothing is left of the connections to the relay


def test_hosts_behind_one_router_connect_over_the_local_network() -> None:
    net = Internet(seed=5, nodes=12)
    for policy in (KINDS["cone"], KINDS["symmetric"]):
        assert policy is not None
        home = net.router(*policy)
        ada, bob = net.host(behind=home), net.host(behind=home)
        net.run(5)
        listening(net, bob)
        conn = opened(net, ada)
        assert ada.opened[0].path is PathKind.LAN
        assert ada.opened[0].address == bob.address
        talk(net, ada, conn)
        bob.core.unlisten(BOB.public)
        bob.turn()
        net.run(60)


def test_server_is_reachable_15_seconds_after_its_router_lost_its_mappings() -> None:
    net = Internet(seed=6, nodes=12)
    home = net.router(Mapping.INDEPENDENT)
    ada, bob = net.host(), net.host(behind=home)
    net.run(5)
    listening(net, bob)
    opened(net, ada)
    home.forget()
    net.run(15)
    eve = net.host()
    net.run(5)
    opened(net, eve)


@pytest.mark.parametrize("kind", ["open", "full cone", "restricted"])
def test_open_connection_survives_router_that_lost_its_mappings(kind: str) -> None:
    """Whoever lets the peer in from another port of its host follows what it sealed."""
    net = Internet(seed=8, nodes=12)
    home = net.router(Mapping.INDEPENDENT)
    ada, bob = behind(net, kind), net.host(behind=home)
    net.run(5)
    listening(net, bob)
    conn = opened(net, ada)
    before = ada.core.stream(conn)
    assert before is not None and before.remote is not None
    home.forget()
    net.run(12)
    talk(net, ada, conn)
    after = ada.core.stream(conn)
    assert after is not None and after.remote is not None
    assert after.remote[0] == before.remote[0] and ada.closed == bob.closed == []
    assert [event.address for event in ada.moved] == [after.remote]


def test_connection_that_cannot_recover_from_lost_mappings_closes_within_12_seconds() -> None:
    net = Internet(seed=9, nodes=12)
    home = net.router(Mapping.INDEPENDENT)
    ada, bob = behind(net, "cone"), net.host(behind=home)
    net.run(5)
    listening(net, bob)
    opened(net, ada)
    home.forget()
    assert net.run(12, lambda: bool(bob.closed))
    assert [event.reason for event in bob.closed] == [Reason.SILENT]


def test_server_replaces_dead_relays() -> None:
    net = Internet(seed=7, nodes=12)
    ada, bob = behind(net, "cone"), behind(net, "cone")
    net.run(5)
    listening(net, bob)
    dead = {relay[0] for relay in bob.core.relays_of(BOB.public)[:2]}
    net.loss = lambda source, target, data: source[0] in dead or target[0] in dead
    net.run(30)
    assert not dead & {host for host, _ in bob.core.relays_of(BOB.public)}
    opened(net, ada)


def test_attempt_cancelled_at_any_moment_leaves_no_ports_or_connections() -> None:
    net = Internet(seed=8, nodes=12)
    relay(net)
    ada, bob = behind(net, "symmetric", RELAY.public), behind(net, "cone")
    net.run(5)
    listening(net, bob)
    for step in range(40):
        conn = ada.connect(BOB.public)
        ada.turn()
        net.run(step * 0.06)
        ada.core.abort(conn, net.now)
        ada.turn()
        # one that was open keeps its port for as long as it repeats its last word
        assert len(ada.ports) == 2 or conn in {event.conn for event in ada.opened}
        net.run(3)
    net.run(90)
    assert [len(host.ports) for host in (ada, bob)] == [2, 2]
    assert len(ada.core) == len(bob.core) == 0


def test_connection_opens_with_twenty_percent_datagram_loss() -> None:
    for client, server in (("cone", "cone"), ("symmetric", "cone"), ("open", "symmetric")):
        net = Internet(seed=9, nodes=12)
        ada, bob = behind(net, client), behind(net, server)
        net.run(5)
        listening(net, bob)
        rng = stream("weather")
        net.loss = lambda source, target, data, rng=rng: rng(1)[0] < 51  # type: ignore[misc]
        talk(net, ada, opened(net, ada))


def test_random_punches_run_one_at_a_time_while_relay_carries_data() -> None:
    net = Internet(seed=11, nodes=12)
    relay(net)
    bob = behind(net, "cone")
    diallers = [behind(net, "symmetric", RELAY.public) for _ in range(2)]
    net.run(5)
    listening(net, bob)
    for ada in diallers:
        ada.connect(BOB.public)
        ada.turn()
    assert net.run(30, lambda: all(ada.opened for ada in diallers))
    assert [ada.opened[0].path for ada in diallers] == [PathKind.RELAYED] * 2
    assert net.run(120, lambda: all(ada.moved for ada in diallers))
    assert all(len(ada.ports) == 3 for ada in diallers)
    assert bob.most_ports <= 2 + 2 * 5  # it is the side with one socket


def test_punch_uses_another_server_relay_when_one_is_dead() -> None:
    net = Internet(seed=12, nodes=12)
    ada, bob = behind(net, "cone"), behind(net, "cone")
    net.run(5)
    listening(net, bob)
    punches: dict[str, int] = {}

    def lost(source: Address, target: Address, data: bytes) -> bool:
        """The relay that the first hole-punch message goes to passes nothing on any more."""
        if data[0] == 3 and source[0] == "5.20.30.13" and 250 > len(data) > 100 and not punches:
            punches[target[0]] = 1
        return target[0] in punches

    net.loss = lost
    opened(net, ada)


def test_connection_falls_back_to_relay_when_path_passes_probes_but_no_stream() -> None:
    net = Internet(seed=13, nodes=12)
    relay(net)
    ada, bob = behind(net, "cone", RELAY.public), behind(net, "cone")
    net.run(5)
    listening(net, bob)
    homes = {ada.router.host if ada.router else "", bob.router.host if bob.router else ""}
    net.loss = lambda source, target, data: len(data) > 1 and {source[0], target[0]} == homes
    conn = opened(net, ada)
    assert net.run(10, lambda: ada.core.path(conn) is PathKind.RELAYED)
    talk(net, ada, conn)
    net.run(60)
    assert ada.closed == bob.closed == []
