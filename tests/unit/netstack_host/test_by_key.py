"""Hosts in a private DHT on loopback: they find each other by key and by topic, and leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from identity.keys import SigningKey
from netstack.dht.records import PeerRecord
from netstack.events import PathKind, Reason
from netstack.shell.connection import Connection
from netstack.shell.host import ConnectError, Host
from netstack.shell.testnet import Testnet

BOB, EVE = SigningKey.from_seed(b"b" * 32), SigningKey.from_seed(b"e" * 32)
TOPIC = b"t" * 32
LIMIT = 30  # seconds before a hanging test is called failed


def run(story: Callable[[Testnet], Awaitable[None]], size: int = 8) -> None:
    """Runs the story in a network of its own and holds that no task and no socket is left when it ends."""

    async def limited() -> None:
        before = sockets()
        async with asyncio.timeout(LIMIT):
            async with Testnet(size) as net:
                await story(net)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert sockets() == before

    asyncio.run(limited())


def sockets() -> int:
    links = Path("/proc/self/fd")
    return sum(entry.is_symlink() and str(entry.readlink()).startswith("socket:") for entry in links.iterdir())


async def server(host: Host, key: SigningKey = BOB) -> asyncio.Queue[Connection]:
    """Listens, is announced, and gives the connections that come."""
    guests: asyncio.Queue[Connection] = asyncio.Queue()
    host.on_connection = guests.put_nowait
    await host.ready()
    host.listen(key)
    await host.announced(key.public)
    return guests


def test_host_connects_by_key_alone() -> None:
    async def story(net: Testnet) -> None:
        async with Host(bootstrap=net.bootstrap) as bob, Host(bootstrap=net.bootstrap) as ada:
            guests = await server(bob)
            to_bob = await ada.connect(BOB.public)
            to_ada = await guests.get()
            assert to_bob.handshake_hash == to_ada.handshake_hash
            assert to_bob.path is PathKind.DIRECT
            to_bob.send(b"found you")
            assert await to_ada.receive() == b"found you"
            assert len(bob.status().relays) == 3
            assert bob.status().reachable

    run(story)


def test_addresses_and_the_dht_are_tried_at_the_same_time() -> None:
    async def story(net: Testnet) -> None:
        async with Host(bootstrap=net.bootstrap) as bob, Host(bootstrap=net.bootstrap) as ada, Host() as eve:
            guests = await server(bob)
            stale = [("127.0.0.1", 9), ("127.0.0.1", eve.address[1]), ("203.0.113.9", 9)]
            await ada.connect(BOB.public, stale)  # nobody, somebody else, nowhere
            await guests.get()
            await ada.connect(BOB.public, [("127.0.0.1", bob.address[1])], relays=stale)
            await guests.get()
            with pytest.raises(ConnectError) as failure:
                await ada.connect(EVE.public, [("127.0.0.1", eve.address[1])])
            assert failure.value.reason is Reason.NOT_THERE

    run(story)


def test_three_nodes_relay_for_a_key_until_it_is_withdrawn() -> None:
    async def story(net: Testnet) -> None:
        async with Host(bootstrap=net.bootstrap) as ada:
            async with Host(bootstrap=net.bootstrap) as bob:
                await server(bob)
                assert len(await ada.find_peer(BOB.public)) == 3
            assert await ada.find_peer(BOB.public) == ()
            with pytest.raises(ConnectError) as failure:
                await ada.connect(BOB.public)
            assert failure.value.reason is Reason.NOT_THERE

    run(story)


def test_peers_of_a_topic_find_each_other_and_connect() -> None:
    async def story(net: Testnet) -> None:
        async with Host(bootstrap=net.bootstrap) as bob, Host(bootstrap=net.bootstrap) as ada:
            guests = await server(bob)
            await server(ada, EVE)
            assert await bob.announce(TOPIC, BOB) == 8
            met: list[PeerRecord] = []
            assert await ada.announce(TOPIC, EVE, met.append) == 8
            assert [peer.key for peer in met] == [BOB.public]
            found = {peer.key: peer.relays async for peer in ada.lookup(TOPIC)}
            assert set(found) == {BOB.public, EVE.public}
            await ada.connect(BOB.public, relays=found[BOB.public])
            await guests.get()
            await bob.unannounce(TOPIC, BOB)
            assert [peer.key async for peer in ada.lookup(TOPIC)] == [EVE.public]

    run(story)


def test_values_are_stored_by_other_nodes() -> None:
    async def story(net: Testnet) -> None:
        async with Host(bootstrap=net.bootstrap) as ada, Host(bootstrap=net.bootstrap) as bob:
            await ada.ready()
            assert await ada.mutable_put(BOB, b"first", 1) == await ada.mutable_put(BOB, b"second", 2) == 8
            target = await ada.immutable_put(b"for ever")
            mutable = await bob.mutable_get(BOB.public)
            assert mutable is not None
            assert (mutable.seq, mutable.value) == (2, b"second")
            assert await bob.immutable_get(target) == b"for ever"
            assert await bob.mutable_get(EVE.public) is None

    run(story)


def test_cancelled_connect_through_the_dht_leaves_nothing() -> None:
    async def story(net: Testnet) -> None:
        async with Host(bootstrap=net.bootstrap) as bob, Host(bootstrap=net.bootstrap) as ada:
            guests = await server(bob)
            for steps in range(12):
                attempt = asyncio.create_task(ada.connect(BOB.public))
                for _ in range(steps):
                    await asyncio.sleep(0)
                attempt.cancel()
                [connection] = await asyncio.gather(attempt, return_exceptions=True)
                if isinstance(connection, Connection):
                    connection.abort()  # it was faster
                    await connection.wait_closed()
            assert ada.connections == {}
            await ada.connect(BOB.public)
            await guests.get()

    run(story)


def test_dht_operations_raise_without_a_dht() -> None:
    async def story(net: Testnet) -> None:
        async with Host() as alone:
            for call in (alone.find_peer(BOB.public), alone.mutable_get(BOB.public)):
                with pytest.raises(Exception, match="bootstrap"):
                    await call

    run(story, 1)


async def six(net: Testnet, *, walled: bool) -> Host:
    """A host with a port for IPv6.  `walled`: by IPv4 it reaches DHT nodes alone."""
    host = Host(bootstrap=net.bootstrap)
    assert host.dht is not None
    if walled:
        host.dht.reach.examine = lambda done, *, firewall_only=False: done(False)  # type: ignore[method-assign]
        host.core._sockets.probe = lambda port, address, ttl=0: None  # type: ignore[method-assign]
        host.core._context.local = lambda: ()
    await host.start("127.0.0.1", 0, "::1")
    return host


@pytest.mark.parametrize("walled", [False, True])
def test_ipv6_is_used_by_address_or_as_learned_through_a_relay(walled: bool) -> None:
    async def story(net: Testnet) -> None:
        async with await six(net, walled=walled) as bob, await six(net, walled=walled) as ada:
            guests = await server(bob)
            there = ("::1", bob.address[1])
            connection = await ada.connect(BOB.public, [] if walled else [there], by_key=walled)
            assert (connection.address, connection.path) == (there, PathKind.DIRECT)
            connection.send(b"found you")
            assert await (await guests.get()).receive() == b"found you"

    run(story)
