"""Every kind of router before every other: what connects, how, and that nothing is left of the attempt."""

from __future__ import annotations

import pytest

from identity.keys import SigningKey
from netstack.events import PathKind, Reason
from tests.support.nat import Filtering, Internet, Mapping, Router, SimHost

BOB = SigningKey.from_seed(b"b" * 32)
RELAY = SigningKey.from_seed(b"r" * 32)
KINDS = {
    "open": None,
    "full cone": (Mapping.INDEPENDENT, Filtering.NONE),
    "restricted": (Mapping.INDEPENDENT, Filtering.ADDRESS),
    "cone": (Mapping.INDEPENDENT, Filtering.ADDRESS_AND_PORT),
    "symmetric": (Mapping.PER_DESTINATION, Filtering.ADDRESS_AND_PORT),
}


def behind(net: Internet, kind: str, relay: bytes | None = None) -> SimHost:
    policy = KINDS[kind]
    router: Router | None = net.router(*policy) if policy else None
    return net.host(behind=router, relay_through=relay)


def listening(net: Internet, bob: SimHost) -> None:
    bob.echoing = True
    bob.listen(BOB)
    assert net.run(20, lambda: bob.core.announced(BOB.public))


def talk(net: Internet, ada: SimHost, conn: int) -> None:
    ada.core.send(conn, b"through the wall", net.now)
    ada.turn()
    assert net.run(10, lambda: ada.frames == [b"through the wall"])


@pytest.mark.parametrize("server", KINDS)
@pytest.mark.parametrize("client", KINDS)
def test_connection_through_every_pair_of_router_kinds(client: str, server: str) -> None:
    net = Internet(seed=len(client) * 16 + len(server), nodes=12)
    ada, bob = behind(net, client), behind(net, server)
    net.run(5)
    listening(net, bob)
    conn = ada.connect(BOB.public)
    ada.turn()
    net.run(60, lambda: bool(ada.opened or ada.failed))
    if client == server == "symmetric":
        assert [event.reason for event in ada.failed] == [Reason.NO_PATH]
        net.run(60)
        assert len(ada.core) == len(bob.core) == 0
    else:
        [opened] = ada.opened
        direct = "open" in (client, server)
        assert opened.path is (PathKind.DIRECT if direct else PathKind.PUNCHED)
        talk(net, ada, conn)
        net.run(90)  # longer than any attempt
        assert ada.closed == bob.closed == []
        assert [len(host.ports) for host in (ada, bob)] == ([2, 2] if direct else [3, 3])
        ada.core.abort(conn, net.now)
        ada.turn()
        net.run(30)
    assert [len(host.ports) for host in (ada, bob)] == [2, 2]
