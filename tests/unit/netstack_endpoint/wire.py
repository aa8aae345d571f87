"""A wire between endpoint cores: virtual time, a delay, and whatever a test does to the datagrams."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush

from netstack.endpoint import EndpointCore, datagrams
from netstack.events import Event
from netstack.limits import Limits
from netstack.udp import Address

Filter = Callable[[Address, Address, bytes], list[bytes]]  # (from, to, data) -> what arrives


def seeded(name: str) -> Callable[[int], bytes]:
    """A stream of bytes that the name alone decides."""
    count = 0

    def rng(size: int) -> bytes:
        nonlocal count
        count += 1
        return blake2b(f"{name} {count}".encode(), digest_size=size).digest()

    return rng


class Wire:
    """Cores by address; `run` lets `seconds` pass.  `seen[address]` has what each was told."""

    def __init__(self, delay: float = 0.01) -> None:
        self.now = 100.0
        self.delay = delay
        self.cores: dict[Address, EndpointCore] = {}
        self.seen: dict[Address, list[Event]] = {}
        self.filter: Filter = lambda source, target, data: [data]
        self.trace = blake2b()
        self.sent = 0
        self.hook: Callable[[Address, Event], None] = lambda address, event: None
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []

    def core(self, port: int, *, limits: Limits | None = None, accept: Callable[[bytes, bytes], bool] | None = None) -> EndpointCore:
        address = ("10.0.0.1", port)
        core = EndpointCore(seeded(f"core {port}"), limits=limits, accept=accept or (lambda local, remote: True))
        self.cores[address], self.seen[address] = core, []
        return core

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._pump()
            due = [core.next_wake() for core in self.cores.values()]
            at = min([wake for wake in due if wake is not None] + [self._flying[0][0] if self._flying else end, end])
            if at >= end:
                self.now = end
                return
            self.now = max(self.now, at)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, source, target, data = heappop(self._flying)
                if target in self.cores:
                    self.cores[target].receive(data, source, self.now)
            for core in self.cores.values():
                core.wake(self.now)

    def _pump(self) -> None:
        busy = True
        while busy:
            busy = False
            for address, core in self.cores.items():
                for event in core.events():
                    busy = True
                    self.seen[address].append(event)
                    self.hook(address, event)
                for target, data in datagrams(core.outgoing()):
                    busy = True
                    for arrived in self.filter(address, target, data):
                        self.sent += 1
                        self.trace.update(repr((round(self.now, 6), address, target, len(arrived))).encode() + arrived)
                        heappush(self._flying, (self.now + self.delay, self.sent, address, target, arrived))
                busy = busy or core.restless
