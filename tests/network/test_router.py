"""The routers of this network behave as their kind says; all other tests of this folder depend on it."""

from __future__ import annotations

import socket

import pytest

from tests.network.router import Nat
from tests.network.stun import Mirror, inside
from tests.network.topology import Internet

EVERYBODY, ASKED_ALONE = {0, 1, 2, 3}, {0}
ANSWERS = {
    Nat.OPEN: EVERYBODY,
    Nat.CONE: EVERYBODY,
    Nat.MASQUERADE: ASKED_ALONE,
    Nat.RANDOM: ASKED_ALONE,
    Nat.FULLY_RANDOM: ASKED_ALONE,
}


@pytest.mark.parametrize("nat", Nat, ids=lambda nat: nat.value)
def test_router_maps_and_filters_as_its_kind_says(net: Internet, nat: Nat) -> None:
    host = net.site("site", nat)
    with Mirror(net) as mirror, inside(host) as one, inside(host) as other:
        seen = mirror.look(one)
        assert {address for address, _ in seen.seen} == {host.public}
        assert seen.independent is not nat.symmetric
        assert len(set(seen.seen)) == (4 if nat.symmetric else 1)
        assert seen.keeps_port is (nat in (Nat.OPEN, Nat.MASQUERADE))
        assert mirror.look(one) == seen  # the mapping is stable
        assert mirror.unasked(other) == ANSWERS[nat]


def test_hosts_behind_one_router_speak_directly_and_not_by_hairpin(net: Internet) -> None:
    router = net.router("home", Nat.MASQUERADE)
    with Mirror(net) as mirror, inside(net.host(router)) as phone, inside(net.host(router)) as desk:
        assert {address for seen in (mirror.look(phone), mirror.look(desk)) for address, _ in seen.seen} == {
            router.address
        }
        outside = mirror.look(desk).seen[0]
        phone.sendto(b"by the router", outside)  # no hairpin: dropped
        phone.sendto(b"by the LAN", desk.getsockname())
        assert desk.recv(64) == b"by the LAN"


@pytest.mark.parametrize("nat", [Nat.CONE, Nat.MASQUERADE], ids=lambda nat: nat.value)
def test_router_that_forgets_assigns_other_ports(net: Internet, nat: Nat) -> None:
    host = net.site("site", nat)
    assert host.router is not None
    with Mirror(net) as mirror, inside(host) as one:
        before = mirror.look(one)
        host.router.forget()
        first = mirror.sockets[0]
        first.sendto(b"!", before.seen[0])  # the mapping is gone
        after = mirror.look(one)
        assert after.independent and after.seen[0] != before.seen[0]
        first.sendto(b"again", after.seen[0])
        assert one.recv(64) == b"again"


def test_datagram_with_a_short_ttl_opens_its_router_and_arrives_nowhere(net: Internet) -> None:
    """A datagram of TTL 5 opens its own router and is dropped on its way."""
    host, bob = net.site("ada", Nat.MASQUERADE), net.open("bob")
    with inside(host) as ada, inside(bob) as far:
        ada.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 5)
        ada.sendto(b"opener", far.getsockname())
        far.sendto(b"through the opening", (host.public, ada.getsockname()[1]))  # this router keeps ports
        assert ada.recv(64) == b"through the opening"
        ada.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
        ada.sendto(b"whole way", far.getsockname())
        assert far.recv(64) == b"whole way"


def test_homes_behind_one_carrier_share_its_address_and_hairpin(net: Internet) -> None:
    """Both have the same public and the same private address, so that addresses do not tell them apart."""
    carrier = net.carrier("carrier")
    ada, bob = net.home(carrier, "ada", Nat.MASQUERADE), net.home(carrier, "bob", Nat.MASQUERADE)
    assert ada.address == bob.address and ada.public == bob.public == carrier.address
    with Mirror(net) as mirror, inside(ada) as one, inside(bob) as other:
        seen, others = mirror.look(one), mirror.look(other)
        assert seen.independent and others.independent
        assert {address for address, _ in (*seen.seen, *others.seen)} == {carrier.address}
        other.sendto(b"opens bob's router", seen.seen[0])  # and dies at ada's
        one.sendto(b"by the carrier's hairpin", others.seen[0])
        assert other.recvfrom(64) == (b"by the carrier's hairpin", seen.seen[0])
        other.sendto(b"and back", seen.seen[0])
        assert one.recvfrom(64) == (b"and back", others.seen[0])
