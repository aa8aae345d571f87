"""A wire between endpoint cores: virtual time, a delay, and whatever a test does to the datagrams."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush

from identity.keys import SigningKey
from netstack.endpoint import EndpointCore, datagrams
from netstack.events import EVENTS, Event, Frame, Opened
from netstack.limits import Limits
from netstack.udp.port import Address
from tests.support.streams import stream

ADA, BOB, EVE = (SigningKey.from_seed(letter * 32) for letter in (b"a", b"b", b"e"))
A, B, C = (("10.0.0.1", port) for port in (1, 2, 3))
Filter = Callable[[Address, Address, bytes], list[bytes]]  # (from, to, data) -> what arrives


class Wire:
    """Cores by address; `run` lets `seconds` pass.  `seen[address]` has what each was told."""

    def __init__(self, delay: float = 0.01, seed: int = 0) -> None:
        self.seed = seed
        self.now = 100.0
        self.delay = delay
        self.cores: dict[Address, EndpointCore] = {}
        self.seen: dict[Address, list[Event]] = {}
        self.filter: Filter = lambda source, target, data: [data]
        self.trace = blake2b()
        self.sent = 0
        self.hook: Callable[[Address, Event], None] = lambda address, event: None
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []

    def core(
        self, port: int, *, limits: Limits | None = None, accept: Callable[[bytes, bytes], bool] | None = None
    ) -> EndpointCore:
        address = ("10.0.0.1", port)
        core = EndpointCore(stream(f"{self.seed} {port}"), limits=limits, accept=accept or (lambda local, remote: True))
        self.cores[address], self.seen[address] = core, []
        return core

    def inject(self, source: Address, target: Address, data: bytes) -> None:
        """A datagram out of nowhere."""
        self.sent += 1
        heappush(self._flying, (self.now + self.delay, self.sent, source, target, data))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._pump()
            due = [core.next_wake() for core in self.cores.values()]
            at = min([*due, self._flying[0][0] if self._flying else end, end])
            if at >= end:
                self.now = end
                return
            self.now = max(self.now, at)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, source, target, data = heappop(self._flying)
                core = self.cores.get(target)
                if core is not None:
                    core.receive(data, source, self.now)
            for core in self.cores.values():
                core.wake(self.now)

    def _pump(self) -> None:
        busy = True
        while busy:
            busy = False
            for address, core in self.cores.items():
                for event in core.take_effects():
                    assert isinstance(event, EVENTS)
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


class Story(Wire):
    """Ada at A and Bob, who listens, at B."""

    def __init__(self, *, ada: Limits | None = None, bob: Limits | None = None, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.ada, self.bob = self.core(1, limits=ada), self.core(2, limits=bob)
        self.bob.listen(BOB)

    def dial(self, *addresses: Address, to: SigningKey = BOB) -> int:
        return self.ada.connect(to.public, addresses or (B,), ADA, self.now)

    def opened(self) -> tuple[int, int]:
        """(Ada's number, Bob's number) of a fresh connection; what was seen so far is forgotten."""
        conn = self.dial()
        self.run(1)
        [at_ada, at_bob] = self.seen[A][-1:] + self.seen[B][-1:]
        assert isinstance(at_ada, Opened) and isinstance(at_bob, Opened)
        assert at_ada.conn == conn
        self.seen[A].clear()
        self.seen[B].clear()
        return conn, at_bob.conn

    def frames(self, address: Address) -> list[bytes]:
        return [event.data for event in self.seen[address] if isinstance(event, Frame)]
