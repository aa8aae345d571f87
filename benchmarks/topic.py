"""From joining a topic to the first secure connection.  `python -m benchmarks.topic [ROUNDS] [NODES,...] [open,punch]`

Three processes on loopback, all new for every figure: a network of NODES, a server that has announced itself, a client
that then joins.  Ours is our network, server and client; the peers' is `connect.js`, npm's.  They alternate, ours
twice for each of theirs, since starting npm's network takes longest.  "open": both peers know that they are reachable;
"punch": both have to find out, and what loopback then shows is the relayed handshake and the punching.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from hashlib import blake2b
from typing import Any

from benchmarks.peers import Peers
from benchmarks.scene import ROOT
from benchmarks.spread import load, machine, quantile, spread
from netstack import Swarm, parse_address

LIMIT = 60


class Role:
    """One of our processes, and the JSON lines that it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *arguments: object) -> Role:
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", *map(str, arguments), stdin=pipe, stdout=pipe, cwd=ROOT, env=os.environ
            )
        )

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT):
            said: dict[str, Any] = json.loads(await self._process.stdout.readline())
            return said

    async def ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")
        return await self.hear()

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()


async def measure(nodes: int, mode: str) -> dict[str, float]:
    """One figure of ours: ms from joining as a client to the open connection, and to the first echo over it."""
    net = await Role.start("netstack", "testnet", "--size", nodes)
    roles = [net]
    try:
        bootstrap = (await net.hear())["bootstrap"]
        topic = blake2b(os.urandom(32), digest_size=32).hexdigest()
        server = await Role.start("benchmarks.topic", "peer", bootstrap, mode, topic)
        roles.append(server)
        await server.hear()
        announced = await server.ask("serve")
        client = await Role.start("benchmarks.topic", "peer", bootstrap, mode, topic)
        roles.append(client)
        await client.hear()
        return {**announced, **await client.ask("connect")}
    finally:
        for role in roles:
            await role.stop()


async def peer(bootstrap: str, mode: str, topic: bytes) -> None:
    """A server or a client, as it is told on standard input."""
    public_host = "127.0.0.1" if mode == "open" else ""
    async with Swarm(bootstrap=[parse_address(bootstrap)], host="127.0.0.1", public_host=public_host) as swarm:
        await swarm.host.ready()
        print(json.dumps({"ready": True}), flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while word := (await reader.readline()).strip():
            start = time.perf_counter()
            if word == b"serve":
                swarm.on_connection = lambda connection, info: setattr(
                    connection, "on_frames", lambda frames: [connection.send(frame) for frame in frames]
                )
                await swarm.join(topic, client=False).flushed()
                found = {"announce_ms": since(start)}
            else:
                async for connection in swarm.join(topic, server=False):
                    opened = since(start)
                    connection.send(b"ping")
                    await connection.receive()
                    found = {"connect_ms": opened, "echo_ms": since(start)}
                    break
            print(json.dumps(found), flush=True)


def since(start: float) -> float:
    return round((time.perf_counter() - start) * 1e3, 2)


def main(rounds: str = "5", sizes: str = "10,100", modes: str = "open,punch") -> None:
    print(json.dumps({**machine(), "load": load()}), flush=True)
    peers = Peers()
    for mode in modes.split(","):
        for nodes in map(int, sizes.split(",")):
            ours: list[dict[str, float]] = []
            theirs: list[dict[str, Any]] = []
            for _ in range(int(rounds)):
                ours.append(asyncio.run(measure(nodes, mode)))
                found = peers.run("connect.js", nodes, mode)
                if found is not None:
                    theirs.append(found)
                ours.append(asyncio.run(measure(nodes, mode)))
            for side, rows in (("ours", ours), ("peer", theirs)):
                values = [row["connect_ms"] for row in rows]
                if values:
                    line = {"figure": "topic", "mode": mode, "nodes": nodes, "side": side, "n": len(values)}
                    line |= {"connect_ms": spread(values), "p95_ms": quantile(values, 0.95)}
                    line |= {"announce_ms": spread([row["announce_ms"] for row in rows])}
                    line |= {"values": values, "load": load()}
                    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        asyncio.run(peer(sys.argv[2], sys.argv[3], bytes.fromhex(sys.argv[4])))
    else:
        main(*sys.argv[1:])
