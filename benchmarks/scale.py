"""Look-ups on loopback against the size of the network, ours beside the peers', and after a third of it ends.

    python -m benchmarks.scale [--sizes 10 50 100 200 500] [--rounds 5] [--ops 20] [--out FILE] [--plots FOLDER]

A network of real sockets in one process, a client in another, as the peers' `dht.js` has it; rounds are interleaved.  A
look-up is over when its walk is.  Then 30 % of the nodes end at once, and a client that knows only the bootstrap node
looks up what was announced before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.dht import resident
from benchmarks.peers import Peers
from benchmarks.plot import Point, plot
from benchmarks.scene import ROOT
from benchmarks.spread import load, machine, quantile, spread
from identity.keys import SigningKey
from netstack import Mode, Testnet, parse_address
from netstack.dht import hyper
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome

KILLED = 0.3
KEY = SigningKey.from_seed(b"s" * 32)


async def lines() -> asyncio.StreamReader:
    """What comes in, line by line."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def network(size: int) -> None:
    """Role `network`: a line when it stands; for each line that comes 30 % of the nodes end."""
    before, began, cpu = resident(), time.perf_counter(), time.process_time()
    async with Testnet(size) as net:
        host, port = net.bootstrap[0]
        line = {
            "bootstrap": f"{host}:{port}",
            "start_s": round(time.perf_counter() - began, 2),
            "start_cpu_s": round(time.process_time() - cpu, 2),
            "kb_per_node": round((resident() - before) * 1000 / size, 1),
            "table": round(statistics.mean(len(node.table) for node in net.nodes)),
        }
        print(json.dumps(line), flush=True)
        told = await lines()
        while await told.readline():
            dead = random.Random(size).sample(net.nodes[1:], int(KILLED * size))
            for node in dead:
                await net.kill(node)
            print(json.dumps({"killed": len(dead)}), flush=True)


async def client(bootstrap: str, ops: int) -> None:
    """Role `client`: announces, looks up, prints a line; for each line that comes a fresh client looks up again."""
    topics = [os.urandom(32) for _ in range(ops)]
    async with Testnet(0, bootstrap=[parse_address(bootstrap)]) as net:
        node = await net.join(Mode.EPHEMERAL)
        announced = [await timed(net, node, topic, write=True) for topic in topics]
        found = [await timed(net, node, topic) for topic in topics]
        print(json.dumps({"announce": figures(announced), "lookup": figures(found)}), flush=True)
        told = await lines()
        while await told.readline():
            fresh = await net.join(Mode.EPHEMERAL)
            print(json.dumps(figures([await timed(net, fresh, topic) for topic in topics])), flush=True)


async def timed(net: Testnet, node: DhtNode, topic: bytes, *, write: bool = False) -> tuple[float, Outcome, bool]:
    """Milliseconds, how the walk ended, and whether it found (or wrote) the record."""
    keys: set[bytes] = set()
    began = time.perf_counter()
    if write:
        outcome: Outcome = await net.ask(node, lambda done: hyper.announce(node, topic, KEY, (), done))
    else:
        outcome = await net.ask(
            node,
            lambda done: hyper.lookup(
                node, topic, lambda peers, _: keys.update(peer.key for peer in peers.peers), done
            ),
        )
    took = (time.perf_counter() - began) * 1000
    return took, outcome, outcome.committed > 0 if write else keys == {KEY.public}


def figures(walks: list[tuple[float, Outcome, bool]]) -> dict[str, float]:
    times = [took for took, _, _ in walks]
    return {
        "p50_ms": round(quantile(times, 0.5), 2),
        "p99_ms": round(quantile(times, 0.99), 2),
        "hops": round(statistics.mean(outcome.hops for _, outcome, _ in walks), 2),
        "asked": round(statistics.mean(outcome.answers + outcome.failures for _, outcome, _ in walks), 1),
        "hit": round(statistics.mean(hit for _, _, hit in walks), 4),
    }


class Role:
    """One of the two in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self.read()


@contextlib.contextmanager
def role(*given: object) -> Iterator[Role]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", *map(str, given)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Role(process)
    finally:
        process.communicate()


def ours(size: int, ops: int) -> dict[str, Any]:
    with role("network", size) as net:
        started = net.read()
        with role("client", started["bootstrap"], ops) as guest:
            row = {**started, **guest.read()}
            row.update(net.ask())
            row["after"] = guest.ask()
    return row


def npm(peers: Peers, size: int, ops: int) -> dict[str, Any] | None:
    found = peers.run("dht.js", size, ops)
    if found is None:
        return None
    return {
        "lookup": found["lookup"],
        "announce": found["announce"],
        "kb_per_node": found["mb_per_node"] * 1000,
        "start_s": round(found["start_ms"] / 1000, 2),
        "start_cpu_s": found["start_cpu_s"],
    }


def points(rows: list[dict[str, Any]], side: str, *path: str) -> list[Point]:
    """For every size the median of a figure over the rounds, with its spread."""
    sizes = sorted({row["nodes"] for row in rows if row["side"] == side})
    made = []
    for size in sizes:
        values = []
        for row in rows:
            if row["side"] == side and row["nodes"] == size:
                value: Any = row
                for key in path:
                    value = value[key]
                values.append(float(value))
        found = spread(values)
        made.append(Point(size, found["median"], found["low"], found["high"]))
    return made


def table(rows: list[dict[str, Any]]) -> str:
    """As it stands in `docs/benchmarks.md`."""

    def column(side: str, *path: str, digits: int = 1) -> dict[float, str]:
        return {
            point.x: f"{point.y:.{digits}f} ({point.low:.{digits}f}–{point.high:.{digits}f})"
            for point in points(rows, side, *path)
        }

    columns = [
        column("ours", "lookup", "p50_ms"),
        column("npm", "lookup", "p50_ms"),
        column("ours", "announce", "p50_ms"),
        column("npm", "announce", "p50_ms"),
        column("ours", "lookup", "hops", digits=2),
        column("ours", "lookup", "asked"),
        column("ours", "kb_per_node", digits=0),
        column("npm", "kb_per_node", digits=0),
        column("ours", "after", "hit", digits=3),
        column("ours", "after", "p50_ms"),
    ]
    text = [
        "| nodes | look-up p50 ms, ours | npm | announce p50 ms, ours | npm | hops | asked | KB a node, ours | npm"
        " | found after 30 % died | its p50 ms |",
        "|" + "---|" * 11,
    ]
    for size in sorted(columns[0]):
        text.append(f"| {size:.0f} | " + " | ".join(column.get(size, "") for column in columns) + " |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 50, 100, 200, 500])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ops", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further round after that")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plots", type=Path)
    options = parser.parse_args()
    peers = Peers()
    if peers.reason is not None:
        print(json.dumps({"skipped": "the peers' side", "reason": peers.reason}))
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    for number in range(options.rounds):
        if time.monotonic() - began > options.minutes * 60:
            break
        for size in options.sizes:
            for side in ("ours", "npm"):
                before = load()
                found = ours(size, options.ops) if side == "ours" else npm(peers, size, options.ops)
                if found is not None:
                    rows.append({"round": number, "side": side, "nodes": size, "load": before, **found})
                    print(json.dumps(rows[-1]), flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps({"machine": machine(), "rounds": rows}, indent=1) + "\n")
    print(table(rows))
    if options.plots is not None:
        lines = {"ours": points(rows, "ours", "lookup", "p50_ms")}
        if any(row["side"] == "npm" for row in rows):
            lines["npm hyperdht"] = points(rows, "npm", "lookup", "p50_ms")
        options.plots.mkdir(parents=True, exist_ok=True)
        (options.plots / "dht-lookup.svg").write_text(
            plot("A look-up on loopback, p50 of each round: median, lowest, highest", "nodes", "ms", lines)
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["network", size]:
            asyncio.run(network(int(size)))
        case ["client", bootstrap, ops]:
            asyncio.run(client(bootstrap, int(ops)))
        case _:
            main()
