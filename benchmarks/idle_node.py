"""What idle connections cost: memory above an idle node, and CPU while only keep-alives are sent.

    python -m benchmarks.idle_node [--connections 100] [--seconds 60] [--rounds 5] [--out FILE]

One process listens; others in one process dial it.  Memory is the listener's resident set less what it was before the
first connection, after every connection has carried 64 KiB each way, as in use.  CPU is the listener's own, user and
system, with one connection and with all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ends import ROOT
from benchmarks.spread import load, machine, spread
from identity.keys import SigningKey
from netstack import Connection, Host

CARRIED = 64 * 1024
SETTLE = 3.0  # seconds between the last connection and the first reading


def resident() -> int:
    """Bytes of our own memory that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def listener() -> None:
    """Echoes; answers each line of its input with its connections, resident bytes and CPU seconds."""
    open_now: set[int] = set()

    def greet(connection: Connection) -> None:
        open_now.add(connection.id)
        connection.on_close = lambda reason: open_now.discard(connection.id)

        def echo(frames: Sequence[bytes]) -> None:
            for frame in frames:
                connection.send(frame)

        connection.on_frames = echo

    async with Host() as host:
        key = SigningKey.generate(os.urandom)
        host.on_connection = greet
        host.listen(key)
        print(json.dumps({"key": key.public.hex(), "port": host.address[1]}), flush=True)
        read = asyncio.get_running_loop().run_in_executor
        while await read(None, sys.stdin.readline):
            found = {"connections": len(open_now), "resident": resident(), "cpu": time.process_time()}
            print(json.dumps(found), flush=True)


class Listener:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.idle_node", "--listen"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        ready = self._hear()
        self.key, self.address = bytes.fromhex(str(ready["key"])), ("127.0.0.1", int(ready["port"]))

    def ask(self) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._hear()

    def close(self) -> None:
        self._process.communicate()

    def _hear(self) -> dict[str, float]:
        assert self._process.stdout is not None
        told: dict[str, float] = json.loads(self._process.stdout.readline())
        return told


async def measure(connections: int, seconds: float) -> dict[str, float]:
    there = Listener()
    try:
        before = there.ask()
        async with Host() as host:
            one = await used(host, there)
            alone = await cpu(there, seconds)
            held = [one, *[await used(host, there) for _ in range(connections - 1)]]
            await asyncio.sleep(SETTLE)
            after = there.ask()
            many = await cpu(there, seconds)
            if any(connection.closed for connection in held) or after["connections"] != connections:
                raise RuntimeError("a connection broke")
        return {
            "mb": round((after["resident"] - before["resident"]) / 1e6, 2),
            "cpu_percent_of_one": round(alone, 3),
            f"cpu_percent_of_{connections}": round(many, 3),
        }
    finally:
        there.close()


async def used(host: Host, there: Listener) -> Connection:
    """A connection that has carried something each way."""
    connection = await host.connect(there.key, [there.address])
    connection.send(bytes(CARRIED))
    await connection.receive()
    return connection


async def cpu(there: Listener, seconds: float) -> float:
    """Percent of one core over so many seconds."""
    await asyncio.sleep(SETTLE)
    began = there.ask()
    await asyncio.sleep(seconds)
    return 100 * (there.ask()["cpu"] - began["cpu"]) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle_node")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        asyncio.run(listener())
        return
    rows: list[dict[str, float]] = []
    for _ in range(options.rounds):
        before = load()
        rows.append({"load": before, **asyncio.run(measure(options.connections, options.seconds))})
        print(json.dumps(rows[-1]), flush=True)
    for key in rows[0]:
        print(json.dumps({"figure": key, **spread([row[key] for row in rows])}))
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": machine(), "rounds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
