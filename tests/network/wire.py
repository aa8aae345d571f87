"""A wire in user space with loss, delay and rate, for kernels without netem: two TUN devices and a process between.

    with Path(Condition(loss=0.01, delay=0.025, rate=10e6)) as path:
        path.left.space.command("python", ...), path.right.address

IP packets are carried whole and in order, never looked into.  TUN devices are without offloads: what the kernel sends
in segments is cut before it gets here, so a lost packet is one packet.  `Lane` is the wire itself, one direction,
free of clock and system; the process is `python -m tests.network.wire`, which ends with its parent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath
from random import Random
from types import TracebackType
from typing import Any

from tests.network.namespaces import Namespace, together

ROOT = FilePath(__file__).resolve().parents[2]
MTU = 1500
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
BURST = 64  # packets read from one side before the other is read


@dataclass(frozen=True, slots=True)
class Condition:
    """One direction of a wire.

    loss: chance of a packet (0 to 1).  delay, jitter: seconds one way, and how much is added at most; order is kept.
    rate: bytes of IP a second, 0 for no cap.  queue: bytes that wait at the capped end before the next is dropped.
    """

    loss: float = 0.0
    delay: float = 0.0
    rate: float = 0.0
    queue: int = 256 << 10
    jitter: float = 0.0


@dataclass
class Tally:
    """Packets of one direction: carried to the end, lost by chance, dropped because the queue was full."""

    carried: int = 0
    carried_bytes: int = 0
    lost: int = 0
    dropped: int = 0


class Lane:
    """One direction: packets are offered with the time, and are due later, in order."""

    def __init__(self, condition: Condition, luck: Callable[[], float]) -> None:
        self.condition = condition
        self.tally = Tally()
        self._luck = luck
        self._free = 0.0  # when the last bit of what was taken has left
        self._last = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()

    def offer(self, packet: bytes, now: float) -> None:
        how = self.condition
        if how.loss and self._luck() < how.loss:
            self.tally.lost += 1
            return
        leaves = now
        if how.rate:
            waiting = max(self._free - now, 0.0)
            if waiting * how.rate > how.queue:
                self.tally.dropped += 1
                return
            self._free = leaves = now + waiting + len(packet) / how.rate
        arrives = leaves + how.delay + (how.jitter and how.jitter * self._luck())
        self._last = max(self._last, arrives)
        self._under_way.append((self._last, packet))

    def next_due(self) -> float | None:
        return self._under_way[0][0] if self._under_way else None

    def due(self, now: float) -> list[bytes]:
        """Takes what has arrived by now."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= now:
            arrived.append(self._under_way.popleft()[1])
        self.tally.carried += len(arrived)
        self.tally.carried_bytes += sum(map(len, arrived))
        return arrived


class Wire:
    """Two TUN devices, named (namespace, device), and the process that carries between them while entered.

    condition: both directions, or that of left to right where `back` is given.  The devices are up, without addresses.
    """

    def __init__(
        self,
        left: tuple[Namespace, str],
        right: tuple[Namespace, str],
        condition: Condition,
        back: Condition | None = None,
        seed: str = "wire",
    ) -> None:
        self._ends = left, right
        self._conditions = condition, back or condition
        self._seed = seed

    def __enter__(self) -> Wire:
        devices = [_tun(space, name) for space, name in self._ends]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, devices), self._seed],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=devices,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                text=True,
            )
        finally:
            for device in devices:
                os.close(device)
        self.set(*self._conditions)
        return self

    def set(self, condition: Condition, back: Condition | None = None) -> None:
        """Changes the conditions; packets under way keep the old ones."""
        self._ask({"conditions": [dataclasses.asdict(condition), dataclasses.asdict(back or condition)]})

    def tally(self) -> tuple[Tally, Tally]:
        """The counts of packets so far: left to right, right to left."""
        right, left = self._ask({})["tally"]
        return Tally(**right), Tally(**left)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def _ask(self, words: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@dataclass(frozen=True, slots=True)
class End:
    space: Namespace
    address: str


class Path:
    """Two hosts, `left` and `right`, with one wire between them and nothing else: the benchmarks' setting."""

    def __init__(self, condition: Condition, back: Condition | None = None, seed: str = "wire") -> None:
        self._make: Callable[[Namespace, Namespace], Wire] = lambda left, right: Wire(
            (left, "wire"), (right, "wire"), condition, back, seed
        )

    def __enter__(self) -> Path:
        with contextlib.ExitStack() as stack:
            spaces = stack.enter_context(together())
            for label in ("left", "right"):
                spaces.append(Namespace.make(label))
            left, right = spaces
            self.wire = stack.enter_context(self._make(left, right))
            left.ip("address add 44.128.1.1 peer 44.128.1.2 dev wire")
            right.ip("address add 44.128.1.2 peer 44.128.1.1 dev wire")
            self.left, self.right = End(left, "44.128.1.1"), End(right, "44.128.1.2")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _tun(space: Namespace, name: str) -> int:
    """Makes a TUN device in a namespace; it lives as long as the descriptor returned."""
    with space.entered():
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    # A long queue, so that a carrier process that was not scheduled loses nothing: only lanes lose packets.
    space.ip(f"link set {name} mtu {MTU} txqueuelen 10000 up")
    return device


def carry(devices: tuple[int, int], seed: str) -> None:
    """Carries until standard input ends; a line there sets conditions, each is answered with the tally."""
    luck = Random(seed)
    lanes = Lane(Condition(), luck.random), Lane(Condition(), luck.random)
    ways = [(devices[0], lanes[0], devices[1]), (devices[1], lanes[1], devices[0])]
    stdin = sys.stdin.fileno()
    while True:
        times = [due for lane in lanes if (due := lane.next_due()) is not None]
        pause = max(min(times) - time.monotonic(), 0.0) if times else None
        ready, _, _ = select.select((*devices, stdin), (), (), pause)
        for source, lane, target in ways:
            if source in ready:
                for packet in _read(source):
                    lane.offer(packet, time.monotonic())
            for packet in lane.due(time.monotonic()):
                with contextlib.suppress(BlockingIOError, OSError):  # the other end is down
                    os.write(target, packet)
        if stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            for lane, condition in zip(lanes, json.loads(line).get("conditions", ()), strict=False):
                lane.condition = Condition(**condition)
            print(json.dumps({"tally": [dataclasses.asdict(lane.tally) for lane in lanes]}), flush=True)


def _read(device: int) -> list[bytes]:
    packets = []
    for _ in range(BURST):
        try:
            packets.append(os.read(device, 65536))
        except (BlockingIOError, OSError):
            break
    return packets


if __name__ == "__main__":
    carry((int(sys.argv[1]), int(sys.argv[2])), sys.argv[3])
