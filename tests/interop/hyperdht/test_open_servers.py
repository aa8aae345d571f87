"""npm servers that are open, and whose addresses mean something in their own network alone: 50 of 50 are reached.

Such a server names no relays to punch through.  It announced itself while it took itself for firewalled, from its
other socket, so the relay's word leads there; and of the addresses that it names itself, some lead nowhere from here.
Decision 0170.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from netstack import Swarm
from netstack.shell.connection import Connection
from netstack.shell.host import Host
from netstack.udp.port import Address
from tests.support.npm_dht import NpmDht
from tests.support.own_network import PRIVATE_HOST, in_own_network, missing_network

SERVERS, CALLS = 5, 10
LIMIT = 60  # seconds before a hanging test is called failed
EVERYWHERE, LOOPBACK = "0.0.0.0", "127.0.0.1"


@dataclass(frozen=True)
class Binding:
    """The DHT's nodes are at `dht`, the npm servers are bound to `npm`, we are bound to each of `ours` in turn."""

    dht: str
    npm: str
    ours: tuple[str, ...]
    own_network: bool = False


bindings = pytest.mark.parametrize(
    "binding",
    [
        Binding(LOOPBACK, LOOPBACK, (LOOPBACK, EVERYWHERE)),
        Binding(LOOPBACK, EVERYWHERE, (LOOPBACK, EVERYWHERE)),
        Binding(PRIVATE_HOST, PRIVATE_HOST, (PRIVATE_HOST, EVERYWHERE), own_network=True),
        Binding(LOOPBACK, EVERYWHERE, (PRIVATE_HOST, LOOPBACK, EVERYWHERE), own_network=True),
    ],
    ids=["loopback", "all addresses", "private address", "all addresses, one of them private"],
)
Call = Callable[[int, str], Awaitable[None]]  # (number of the server, what to bind to)


async def fifty(binding: Binding, npm: NpmDht, call: Call) -> None:
    reached: list[int] = []
    for number in range(SERVERS * CALLS):
        async with asyncio.timeout(10):
            await call(number % SERVERS, binding.ours[number % len(binding.ours)])
        reached.append(number)
    assert len(reached) == 50


def run(binding: Binding, story: Callable[[NpmDht, list[Address]], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT), NpmDht() as npm:
            net = await npm.ask("testnet", size=8, host=binding.dht)
            await story(npm, [(host, port) for host, port in net["bootstrap"]])

    if not binding.own_network:
        asyncio.run(limited())
    elif reason := missing_network():
        pytest.skip(reason)
    else:
        in_own_network(lambda: asyncio.run(limited()))


async def echoed(connection: Connection) -> None:
    connection.send(b"echo this")
    assert await connection.receive() == b"echo this"


@bindings
def test_open_npm_server_is_reached_by_key_50_times_of_50(binding: Binding) -> None:
    async def story(npm: NpmDht, bootstrap: list[Address]) -> None:
        keys: list[bytes] = []
        for number in range(SERVERS):
            node = await npm.join(bootstrap, host=binding.npm)
            keys.append(bytes.fromhex((await npm.ask("serve", node=node, seed=bytes((number,)) * 32))["key"]))
            assert await npm.ask("look", node=node)

        async def call(number: int, host: str) -> None:
            ours = Host(bootstrap=bootstrap)
            await ours.start(host)
            async with ours:
                await echoed(await ours.connect(keys[number]))

        await fifty(binding, npm, call)

    run(binding, story)


@bindings
def test_open_npm_swarm_is_reached_by_topic_50_times_of_50(binding: Binding) -> None:
    async def story(npm: NpmDht, bootstrap: list[Address]) -> None:
        topics = [bytes((number,)) * 32 for number in range(SERVERS)]
        for topic in topics:
            node = await npm.join(bootstrap, host=binding.npm)
            await npm.ask("swarm", node=node, topic=topic, seed=topic)
            assert await npm.ask("look", node=node)

        async def call(number: int, host: str) -> None:
            async with Swarm(bootstrap=bootstrap, host=host) as ours:
                async for connection in ours.join(topics[number], server=False):
                    await echoed(connection)
                    return

        await fifty(binding, npm, call)

    run(binding, story)
