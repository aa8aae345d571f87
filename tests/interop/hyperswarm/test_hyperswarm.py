"""Our swarm and npm's connect by topic: on npm's network and on ours, in every role and order of joining."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b

import pytest

from netstack import Address, Connection, Swarm, Testnet
from tests.support.npm_swarm import NpmSwarms

LIMIT = 120  # seconds before a hanging test is called failed
NAMES = [str(number) for number in range(5)]


def run(story: Callable[[NpmSwarms], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT), NpmSwarms() as npm:
            await story(npm)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(limited())


def topic(name: str) -> bytes:
    return blake2b(b"topic " + name.encode(), digest_size=32).digest()


def ours(bootstrap: Address, *, open: bool) -> Swarm:
    return Swarm(bootstrap=[bootstrap], host="127.0.0.1", public_host="127.0.0.1" if open else "")


async def with_npm(swarm: Swarm, key: bytes, name: str, *, server: bool, client: bool) -> Connection:
    async for connection in swarm.join(topic(name), server=server, client=client):
        assert connection.remote_key == key
        connection.send(b"echo this")
        if await connection.receive() == b"echo this":
            return connection
        # both dialled at once, and npm closed this one
    raise AssertionError("the swarm ended")


async def meet(npm: NpmSwarms, bootstrap: Address, name: str, *, open: bool, apart: float) -> None:
    """Both as server and client; `apart` seconds after npm's joins, or before it if negative."""
    key = await npm.swarm(name, bootstrap, open=open)
    async with ours(bootstrap, open=open) as swarm:
        await swarm.host.ready()

        async def theirs() -> None:
            await asyncio.sleep(max(-apart, 0.0))
            npm.join(name, topic(name))

        joining = asyncio.create_task(theirs())
        await asyncio.sleep(max(apart, 0.0))
        await with_npm(swarm, key, name, server=True, client=True)
        await joining
        assert await npm.connection(name) == swarm.key.public
    npm.tell("end", name=name)
    await npm.hear("ended", name)


@pytest.mark.parametrize("open", [True, False], ids=["open", "firewalled"])
@pytest.mark.parametrize("apart", [0.0, 0.3, -0.3], ids=["at one instant", "npm first", "ours first"])
def test_peers_connect_when_both_serve_and_look_up(open: bool, apart: float) -> None:
    async def story(npm: NpmSwarms) -> None:
        bootstrap = await npm.testnet(6)
        await asyncio.gather(*(meet(npm, bootstrap, name, open=open, apart=apart) for name in NAMES))

    run(story)


@pytest.mark.parametrize("open", [True, False], ids=["open", "firewalled"])
@pytest.mark.parametrize("we_serve", [True, False], ids=["ours serves", "npm serves"])
def test_peers_connect_when_one_serves_and_one_looks_up(open: bool, we_serve: bool) -> None:
    async def story(npm: NpmSwarms) -> None:
        async with Testnet(6) as net:  # a network of our nodes alone
            key = await npm.swarm("npm", net.bootstrap[0], open=open)
            async with ours(net.bootstrap[0], open=open) as swarm:
                if we_serve:
                    handle = swarm.join(topic("one"), client=False)
                    assert await handle.flushed()
                    npm.join("npm", topic("one"), server=False)
                    async for connection in handle:
                        assert (connection.remote_key, connection.initiator) == (key, False)
                        break
                else:
                    npm.join("npm", topic("one"), client=False)
                    await npm.hear("joined", "npm")
                    connection = await with_npm(swarm, key, "one", server=False, client=True)
                    assert connection.initiator
                assert await npm.connection("npm") == swarm.key.public

    run(story)
