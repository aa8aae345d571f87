"""Time until two peers of one topic connect: ours with npm's, ours with ours.  `python -m benchmarks.meeting [N]`

One network of 10 npm nodes on loopback.  N (20) pairs each of: both join at one instant; npm's, or ours, 20 ms or 0.3 s
before the other.  Both serve and look.  Counted in ms from the later join until both have a connection that carried an
echo; new peers each time.  Ours are in this process, npm's in the process of their network.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine

from benchmarks.spread import load, machine, quantile, spread
from netstack import Address, Swarm
from tests.support.npm_swarm import NpmSwarms

APART = (0.0, 0.02, 0.3, -0.02, -0.3)  # seconds from the other's join to ours
LIMIT = 30.0


def ours(bootstrap: Address, open: bool) -> Swarm:
    return Swarm(bootstrap=[bootstrap], host="127.0.0.1", public_host="127.0.0.1" if open else "")


async def with_npm(npm: NpmSwarms, bootstrap: Address, name: str, apart: float, open: bool) -> float:
    await npm.swarm(name, bootstrap, open=open)
    topic = os.urandom(32)
    async with ours(bootstrap, open) as swarm:
        await swarm.host.ready()

        async def join_ours() -> None:
            async for connection in swarm.join(topic):
                connection.send(b"x")
                if await connection.receive():
                    return

        async def join_theirs() -> None:
            npm.join(name, topic)
            await npm.connection(name)

        met = await in_turn(join_theirs(), join_ours(), apart)
    npm.tell("end", name=name)
    await npm.hear("ended", name)
    return met


async def with_ours(bootstrap: Address, apart: float, open: bool) -> float:
    topic = os.urandom(32)
    async with ours(bootstrap, open) as ada, ours(bootstrap, open) as bob:
        await asyncio.gather(ada.host.ready(), bob.host.ready())

        async def join(swarm: Swarm) -> None:
            async for connection in swarm.join(topic):
                connection.send(b"x")
                if await connection.receive():
                    return

        return await in_turn(join(ada), join(bob), apart)


async def in_turn(one: Coroutine[None, None, None], other: Coroutine[None, None, None], apart: float) -> float:
    """Starts `one`, `apart` seconds later `other` (negative: before it); ms from the later until both are done."""
    first, second = (one, other) if apart >= 0 else (other, one)
    early = asyncio.create_task(first)
    await asyncio.sleep(abs(apart))
    start = time.perf_counter()
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(early, second)
    return round((time.perf_counter() - start) * 1e3, 1)


async def measure(count: int) -> None:
    async with NpmSwarms() as npm:
        bootstrap = await npm.testnet(10)
        for open in (True, False):
            for apart in APART:
                mixed: list[float] = []
                own: list[float] = []
                for number in range(count):
                    mixed.append(await with_npm(npm, bootstrap, f"{open} {apart} {number}", apart, open))
                    own.append(await with_ours(bootstrap, apart, open))
                for side, values in (("ours with npm's", mixed), ("ours with ours", own)):
                    line = {"figure": "meeting", "open": open, "apart_ms": round(apart * 1e3), "side": side}
                    figures = {"met": len(values), "ms": spread(values), "p95_ms": quantile(values, 0.95)}
                    print(json.dumps(line | figures | {"load": load()}), flush=True)


if __name__ == "__main__":
    print(json.dumps({**machine(), "load": load()}), flush=True)
    asyncio.run(measure(int(sys.argv[1]) if sys.argv[1:] else 20))
