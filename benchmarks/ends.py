"""The two ends of a measured stream, ours and npm's, as processes that report what they measured.

    python -m benchmarks.ends sink HOST BYTES [SHELL]
    python -m benchmarks.ends source HOST BYTES KEY HOST:PORT [SHELL]

An encrypted connection by address, one direction, pieces of 64 KiB.  Time and CPU of the sink run from its first byte
to its last; `ends.js` is the same on the npm stack.  A process ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from identity.keys import SigningKey
from netstack import Connection, Host
from netstack.udp.port import ShellName

ROOT = Path(__file__).resolve().parents[1]
MODULES = Path(os.environ.get("KITHKIN_NODE_MODULES") or ROOT / "tests" / "interop" / "js" / "node_modules")
PIECE = 64 * 1024
MARK = 0.1  # seconds between the marks of our sink


class End:
    """One end as a process.  `npm` says on which stack, `inside` are words before its command (a namespace's)."""

    def __init__(self, role: str, *words: object, npm: bool = False, inside: Sequence[str] = ()) -> None:
        command = ["node", str(ROOT / "benchmarks" / "ends.js")] if npm else [sys.executable, "-m", "benchmarks.ends"]
        self._process = subprocess.Popen(
            [*inside, *command, role, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NODE_PATH": str(MODULES)},
            text=True,
        )

    def hear(self) -> dict[str, Any]:
        """The next line it tells.  Raises RuntimeError where it has ended."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("an end of the stream ended")
        told: dict[str, Any] = json.loads(line)
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class Side:
    """Which stack an end is of, where it is bound, and how it reads and writes its port (ours alone)."""

    npm: bool = False
    host: str = "127.0.0.1"
    shell: ShellName = "auto"
    inside: tuple[str, ...] = ()

    def start(self, role: str, *words: object) -> End:
        extra = () if self.npm else (self.shell,)
        return End(role, self.host, *words, *extra, npm=self.npm, inside=self.inside)


def transfer(source: Side, sink: Side, size: int) -> dict[str, float]:
    """One stream of `size` bytes: MB/s (10^6 bytes) and CPU seconds of both ends."""
    with sink.start("sink", size) as receiver:
        ready = receiver.hear()
        with source.start("source", size, ready["key"], f"{sink.host}:{ready['port']}") as sender:
            got = receiver.hear()
            sent = sender.hear()
    return {
        "mb_per_s": round(got["bytes"] / got["seconds"] / 1e6, 2),
        "sink_cpu_s": round(got["cpu"], 3),
        "source_cpu_s": round(sent["cpu"], 3),
        **{key: sent[key] for key in ("mtu", "retransmits", "timeouts", "packets") if key in sent},
    }


# this stack's ends


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


async def sink(host: str, total: int, shell: ShellName) -> None:
    def greet(connection: Connection) -> None:
        began = spent = 0.0
        received = 0
        marks: list[tuple[float, int]] = []  # (monotonic time, bytes by then)

        def count(frames: Sequence[bytes]) -> None:
            nonlocal began, spent, received
            now = time.monotonic()
            if not began:
                began, spent = now, time.process_time()
            received += sum(map(len, frames))
            if received >= total:
                say(
                    bytes=received,
                    seconds=now - began,
                    cpu=time.process_time() - spent,
                    marks=[*marks, (now, received)],
                )
            elif not marks or now - marks[-1][0] >= MARK:
                marks.append((now, received))

        connection.on_frames = count

    key = SigningKey.generate(os.urandom)
    node = Host(shell=shell)
    node.on_connection = greet
    await node.start(host)
    node.listen(key)
    say(key=key.public.hex(), port=node.address[1])
    await _input_ends()
    await node.stop()


async def source(host: str, total: int, key: bytes, address: str, shell: ShellName) -> None:
    to, port = address.rsplit(":", 1)
    node = Host(shell=shell)
    await node.start(host)
    connection = await node.connect(key, [(to, int(port))])
    piece = os.urandom(PIECE)
    spent = time.process_time()
    for _ in range(-(-total // PIECE)):
        if not connection.send(piece):
            await connection.drain()
    while connection.queued:
        await asyncio.sleep(0.001)
    used = time.process_time() - spent
    stream = node.core.stream(connection.id)
    if stream is not None:
        say(
            cpu=used, mtu=stream.mtu, retransmits=stream.flight.retransmitted, timeouts=stream.timeouts,
            packets=stream.packets_sent,
        )  # fmt: skip
    await _input_ends()
    await node.stop()


async def _input_ends() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main(words: list[str]) -> None:
    role, host, total, *rest = words
    if role == "sink":
        asyncio.run(sink(host, int(total), cast(ShellName, rest[0])))
    else:
        asyncio.run(source(host, int(total), bytes.fromhex(rest[0]), rest[1], cast(ShellName, rest[2])))


if __name__ == "__main__":
    main(sys.argv[1:])
