"""Look-ups and announcements in a DHT on loopback, ours beside the peers'.

    python -m benchmarks.dht [nodes=100] [ops=50] [rounds=5]

A network in one process, a client in another, as the peers' `dht.js` has it.
Rounds are interleaved.  Times in ms, memory in MB per node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import Peers
from benchmarks.scene import ROOT
from benchmarks.spread import load, machine
from identity.keys import SigningKey
from netstack import Host, Testnet, parse_address


def resident() -> float:
    """MB of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() / 1e6


def network(size: int) -> None:
    """Role `network`: a line about its start, then there until the input ends."""

    async def run() -> None:
        before, began = resident(), time.perf_counter()
        async with Testnet(size) as net:
            grown = time.perf_counter() - began
            host, port = net.bootstrap[0]
            line = {
                "bootstrap": f"{host}:{port}",
                "start_ms": round(grown * 1000, 1),
                "mb_per_node": round((resident() - before) / size, 4),
            }
            print(json.dumps(line), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    asyncio.run(run())


def client(bootstrap: str, ops: int) -> None:
    """Role `client`: one line of figures."""

    async def timed(act: Callable[[bytes], Awaitable[bool]], topics: list[bytes]) -> dict[str, float]:
        times: list[float] = []
        hits = 0
        for topic in topics:
            began = time.perf_counter()
            hits += await act(topic)
            times.append((time.perf_counter() - began) * 1000)
        times.sort()
        return {
            "p50": round(statistics.median(times), 2),
            "p99": round(times[int(len(times) * 0.99)], 2),
            "hit": round(hits / len(topics), 3),
        }

    async def run() -> None:
        began = time.perf_counter()
        async with Host(bootstrap=[parse_address(bootstrap)]) as host:
            await host.ready()
            boot = (time.perf_counter() - began) * 1000
            key = SigningKey.generate(os.urandom)
            topics = [os.urandom(32) for _ in range(ops)]
            assert host.core.dht is not None
            sent = host.core.dht.stats().sent
            announced = await timed(lambda topic: taken(host.announce(topic, key)), topics)
            requests = (host.core.dht.stats().sent - sent) / ops
            looked_up = await timed(lambda topic: everybody(host, topic), topics)
            first = await timed(lambda topic: finds_a_peer(host, topic), topics)
            usage = resource.getrusage(resource.RUSAGE_SELF)
        line = {
            "boot_ms": round(boot, 1),
            "announce": announced,
            "announce_requests": round(requests, 1),
            "lookup": looked_up,
            "lookup_first": first,
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        }
        print(json.dumps(line), flush=True)

    asyncio.run(run())


async def taken(announcing: Awaitable[int]) -> bool:
    return await announcing > 0


async def everybody(host: Host, topic: bytes) -> bool:
    return bool([peer async for peer in host.lookup(topic)])


async def finds_a_peer(host: Host, topic: bytes) -> bool:
    peers = host.lookup(topic)
    try:
        return await anext(peers, None) is not None
    finally:
        await peers.aclose()  # type: ignore[attr-defined]  # an async generator


@contextlib.contextmanager
def grown(size: int) -> Iterator[dict[str, Any]]:
    """A network of ours in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.dht", "network", str(size)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate()


def ours(nodes: int, ops: int) -> dict[str, Any]:
    with grown(nodes) as net:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.dht", "client", net["bootstrap"], str(ops)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return {**net, **found}


def main(nodes: int = 100, ops: int = 50, rounds: int = 5) -> None:
    peers = Peers()
    print(json.dumps({"nodes": nodes, "ops": ops, "machine": machine(), "peers": peers.reason or "npm hyperdht"}))
    told: dict[str, list[float]] = {}

    def note(side: str, row: dict[str, Any]) -> None:
        for figure, value in (
            ("lookup p50", row["lookup"]["p50"] if "p50" in row["lookup"] else row["lookup"]["p50_ms"]),
            ("announce p50", row["announce"]["p50"] if "p50" in row["announce"] else row["announce"]["p50_ms"]),
            ("first peer p50", row["lookup_first"].get("p50", row["lookup_first"].get("p50_ms"))),
            ("start of a node", row["start_ms"] / nodes),
            ("MB a node", row["mb_per_node"]),
        ):
            told.setdefault(f"{figure}, {side}", []).append(value)
        print(json.dumps({"side": side, "load": load(), **row}), flush=True)

    for _ in range(rounds):
        note("ours", ours(nodes, ops))
        found = peers.run("dht.js", nodes, ops)
        if found is not None:
            note("npm", found)
    for name, values in sorted(told.items()):
        print(f"{name}: {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["network", size]:
            network(int(size))
        case ["client", bootstrap, ops]:
            client(bootstrap, int(ops))
        case given:
            main(*map(int, given))
