"""Connections by key with npm hyperdht, both ways: direct, near, punched and relayed, through npm's nodes and ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from identity.keys import SigningKey
from netstack.dht.node import DhtNode
from netstack.events import PathKind
from netstack.shell.connection import Connection
from netstack.shell.host import Host
from netstack.shell.testnet import Testnet
from netstack.udp.port import Address
from tests.support.npm_dht import NpmDht

LIMIT = 90  # seconds before a hanging test is called failed
BOB, RELAY = SigningKey.from_seed(b"b" * 32), SigningKey.from_seed(b"r" * 32)
DATA = bytes(at * 31 & 255 for at in range(300_000))
FIREWALLED = {"quickFirewall": False}  # npm then never finds out that it can be reached
FAR = {"localConnection": False, "shareLocalAddress": False}


class Stage:
    """A network, and npm beside it."""

    def __init__(self, stack: AsyncExitStack, npm: NpmDht, bootstrap: list[Address]) -> None:
        self.npm = npm
        self.bootstrap = bootstrap
        self._stack = stack

    async def host(
        self,
        *,
        firewalled: bool = False,
        far: bool = False,
        walled: bool = False,
        relay_through: bytes | None = None,
    ) -> Host:
        """One of ours.  `firewalled`: it never finds out that it can be reached; `far`: knows no network of its own;
        `walled`: no probe leaves it or reaches it."""
        host = Host(bootstrap=self.bootstrap, relay_through=relay_through)
        if walled:
            sockets = host.core._sockets
            sockets.probe = lambda port, address, ttl=0: None  # type: ignore[method-assign]
            sockets.heard = lambda port, source: None  # type: ignore[method-assign]
        if firewalled and host.dht is not None:
            close(host.dht)
        if far:
            host.core._context.local = lambda: ()
        await host.start("127.0.0.1")
        self._stack.push_async_callback(host.stop)
        await host.ready()
        assert host.status().reachable is not firewalled
        return host

    async def serve(self, host: Host) -> list[Connection]:
        """Echoes under Bob's key."""
        guests: list[Connection] = []
        tasks: set[asyncio.Task[None]] = set()

        async def echo(connection: Connection) -> None:
            connection.half_open = True
            async for frame in connection:
                connection.send(frame)
            connection.end()

        def greet(connection: Connection) -> None:
            guests.append(connection)
            task = asyncio.create_task(echo(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        host.on_connection = greet
        host.listen(BOB)
        await host.announced(BOB.public)
        return guests


def close(node: DhtNode) -> None:
    node.reach.examine = lambda done, *, firewall_only=False: done(False)  # type: ignore[method-assign]


def run(story: Callable[[Stage], Awaitable[None]], ours: int = 0, theirs: int = 0) -> None:
    """A network of so many nodes of either kind."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            npm = await stack.enter_async_context(NpmDht())
            bootstrap: list[Address] = []
            if not ours:
                bootstrap = [(host, port) for host, port in (await npm.ask("testnet", size=theirs))["bootstrap"]]
            net = await stack.enter_async_context(Testnet(ours, bootstrap=bootstrap))
            if ours and theirs:
                await npm.ask("testnet", size=theirs, bootstrap=net.bootstrap)
            await story(Stage(stack, npm, net.bootstrap))

    asyncio.run(limited())


async def echoed(connection: Connection) -> None:
    for at in range(0, len(DATA), 50_000):
        connection.send(DATA[at : at + 50_000])
    got = bytearray()
    while len(got) < len(DATA):
        frame = await connection.receive()
        assert frame is not None
        got += frame
    assert bytes(got) == DATA


networks = pytest.mark.parametrize(("ours", "theirs"), [(8, 0), (0, 8), (4, 4)], ids=["ours", "npm", "mixed"])


@networks
def test_npm_client_connects_to_our_server_by_key(ours: int, theirs: int) -> None:
    async def story(stage: Stage) -> None:
        host = await stage.host()
        guests = await stage.serve(host)
        for options in ({}, FIREWALLED):
            caller = await stage.npm.join(stage.bootstrap, **options)
            said = await stage.npm.ask("call", node=caller, key=BOB.public, data=DATA)
            assert (said["echoed"], said["remote"]) == (True, BOB.public.hex())
        assert [guest.path for guest in guests] == [PathKind.DIRECT] * 2

    run(story, ours, theirs)


@networks
def test_our_client_connects_to_npm_server_by_key(ours: int, theirs: int) -> None:
    async def story(stage: Stage) -> None:
        host = await stage.host()
        for seed, options in ((b"1" * 32, {}), (b"2" * 32, FIREWALLED)):
            server = await stage.npm.join(stage.bootstrap, **options)
            said = await stage.npm.ask("serve", node=server, seed=seed)
            connection = await host.connect(bytes.fromhex(said["key"]))
            assert connection.path is PathKind.DIRECT
            await echoed(connection)

    run(story, ours, theirs)


def test_npm_client_punches_to_our_server() -> None:
    async def story(stage: Stage) -> None:
        host = await stage.host(firewalled=True, far=True)
        guests = await stage.serve(host)
        caller = await stage.npm.join(stage.bootstrap, **FIREWALLED)
        said = await stage.npm.ask("call", node=caller, key=BOB.public, data=DATA, options=FAR)
        assert (said["echoed"], said["remote"]) == (True, BOB.public.hex())
        assert [guest.path for guest in guests] == [PathKind.PUNCHED]

    run(story, 8)


def test_our_client_punches_to_npm_server() -> None:
    async def story(stage: Stage) -> None:
        host = await stage.host(firewalled=True, far=True)
        server = await stage.npm.join(stage.bootstrap, **FIREWALLED)
        said = await stage.npm.ask("serve", node=server, seed=b"3" * 32, options=FAR)
        connection = await host.connect(bytes.fromhex(said["key"]))
        assert connection.path is PathKind.PUNCHED
        await echoed(connection)

    run(story, 8)


def test_peers_in_one_network_connect_locally() -> None:
    async def story(stage: Stage) -> None:
        host = await stage.host(firewalled=True)
        server = await stage.npm.join(stage.bootstrap, **FIREWALLED)
        said = await stage.npm.ask("serve", node=server, seed=b"3" * 32)
        connection = await host.connect(bytes.fromhex(said["key"]))
        assert connection.path in (PathKind.LAN, PathKind.PUNCHED)
        await echoed(connection)
        guests = await stage.serve(host)
        said = await stage.npm.ask("call", node=server, key=BOB.public, data=DATA)
        assert said["echoed"]
        assert [guest.path for guest in guests if guest.path is PathKind.DIRECT] == []

    run(story, 8)


@pytest.mark.parametrize(("server", "client"), [({}, {}), (FIREWALLED, {}), ({}, FIREWALLED), (FIREWALLED, FIREWALLED)])
def test_npm_peers_connect_through_our_dht_nodes(server: dict[str, bool], client: dict[str, bool]) -> None:
    async def story(stage: Stage) -> None:
        there = await stage.npm.join(stage.bootstrap, **server)
        said = await stage.npm.ask("serve", node=there, seed=b"3" * 32, options=FAR)
        assert len(said["relays"]) == 3
        here = await stage.npm.join(stage.bootstrap, **client)
        said = await stage.npm.ask("call", node=here, key=said["key"], data=DATA, options=FAR)
        assert said["echoed"]

    run(story, 8)


async def npm_relay(stage: Stage) -> bytes:
    relay = await stage.npm.join(stage.bootstrap)
    return bytes.fromhex((await stage.npm.ask("relay", node=relay, seed=b"4" * 32))["key"])


async def our_relay(stage: Stage) -> bytes:
    host = await stage.host()
    host.relay_for_others(RELAY)
    await host.announced(RELAY.public)
    return RELAY.public


relays = pytest.mark.parametrize("relay", [npm_relay, our_relay], ids=["npm's relay", "our relay"])
Relay = Callable[[Stage], Awaitable[bytes]]


@relays
@pytest.mark.parametrize("who", ["client", "server"])
def test_our_peers_connect_through_a_blind_relay(relay: Relay, who: str) -> None:
    async def story(stage: Stage) -> None:
        key = await relay(stage)
        bob = await stage.host(firewalled=True, far=True, walled=True, relay_through=key if who == "server" else None)
        ada = await stage.host(firewalled=True, far=True, walled=True, relay_through=key if who == "client" else None)
        guests = await stage.serve(bob)
        connection = await ada.connect(BOB.public)
        await echoed(connection)
        assert (connection.path, guests[0].path) == (PathKind.RELAYED, PathKind.RELAYED)

    run(story, 8)


@relays
def test_npm_client_connects_to_our_server_through_a_blind_relay(relay: Relay) -> None:
    async def story(stage: Stage) -> None:
        key = await relay(stage)
        bob = await stage.host(firewalled=True, far=True, walled=True)
        guests = await stage.serve(bob)
        caller = await stage.npm.join(stage.bootstrap, **FIREWALLED)
        options = {**FAR, "relayThrough": key.hex()}
        said = await stage.npm.ask("call", node=caller, key=BOB.public, data=DATA, options=options)
        assert said["echoed"]
        assert guests[0].path is PathKind.RELAYED

    run(story, 8)


@relays
def test_our_client_connects_to_npm_server_through_a_blind_relay(relay: Relay) -> None:
    async def story(stage: Stage) -> None:
        key = await relay(stage)
        ada = await stage.host(firewalled=True, far=True, walled=True, relay_through=key)
        server = await stage.npm.join(stage.bootstrap, **FIREWALLED)
        said = await stage.npm.ask("serve", node=server, seed=b"3" * 32, options=FAR)
        connection = await ada.connect(bytes.fromhex(said["key"]))
        await echoed(connection)
        assert connection.path is PathKind.RELAYED

    run(story, 8)


@relays
def test_npm_peers_connect_through_a_blind_relay(relay: Relay) -> None:
    async def story(stage: Stage) -> None:
        key = await relay(stage)
        server, caller = [await stage.npm.join(stage.bootstrap, **FIREWALLED) for _ in range(2)]
        said = await stage.npm.ask("serve", node=server, seed=b"3" * 32, options={**FAR, "holepunch": False})
        options = {**FAR, "relayThrough": key.hex()}
        said = await stage.npm.ask("call", node=caller, key=said["key"], data=DATA, options=options)
        assert said["echoed"]

    run(story, 8)


@relays
def test_a_relayed_connection_with_npm_becomes_direct(relay: Relay) -> None:
    async def story(stage: Stage) -> None:
        key = await relay(stage)
        bob = await stage.host(firewalled=True, far=True)
        guests = await stage.serve(bob)
        caller = await stage.npm.join(stage.bootstrap, **FIREWALLED)
        options = {**FAR, "relayThrough": key.hex()}
        said = await stage.npm.ask("call", node=caller, key=BOB.public, data=DATA, options=options, stay=500)
        assert said["echoed"]
        server = await stage.npm.join(stage.bootstrap, **FIREWALLED)
        said = await stage.npm.ask("serve", node=server, seed=b"3" * 32, options=FAR)
        ada = await stage.host(firewalled=True, far=True, relay_through=key)
        connection = await ada.connect(bytes.fromhex(said["key"]))
        await echoed(connection)
        while connection.path is not PathKind.PUNCHED:
            await ada._progress()
        await echoed(connection)
        assert guests[0].path is PathKind.PUNCHED

    run(story, 8)
