"""The DHT nodes of one topic in virtual time: walks take a while, lose answers, and store at their end.

Only what a schedule can notice is simulated: an announcement reads every node first and then writes to those that
answered, so that two peers that begin together both read before either is written.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

from netstack.swarm.core.discovery import Discovery, Start, Stop, Walk

NODES = 20


class DiscoveryWorld:
    """Twenty nodes and the walks over them.  `loss`: the chance of no answer; `hop`: seconds of one message."""

    def __init__(self, seed: int, *, loss: float = 0.0, hop: tuple[float, float] = (0.005, 0.08)) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.loss = loss
        self.hop = hop
        self.stored: list[set[str]] = [set() for _ in range(NODES)]
        self.walks: list[tuple[float, str, str]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._queue, (max(when, self.now), self._count, call))

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, call = heappop(self._queue)
            call()
        self.now = until

    def step(self) -> float:
        return self.random.uniform(*self.hop)


class DiscoveryPeer:
    """A named peer with a production `Discovery`; `found`: the names it found and when."""

    def __init__(self, world: DiscoveryWorld, name: str, *, server: bool = True, client: bool = True) -> None:
        self.world = world
        self.name = name
        self.found: dict[str, float] = {}
        self._stopped: set[int] = set()
        self._armed = 0
        self.discovery = Discovery(world.random.randbytes, server=server, client=client)
        self.serve()

    def serve(self) -> None:
        for effect in self.discovery.take_effects():
            match effect:
                case Start(number, walk):
                    self.world.walks.append((round(self.world.now, 3), self.name, walk.name))
                    self._walk(number, walk)
                case Stop(number):
                    self._stopped.add(number)
        self._armed += 1
        armed = self._armed
        at = self.discovery.next_wake()
        if at < float("inf"):
            self.world.at(at, lambda: self._wake(armed))

    def _wake(self, armed: int) -> None:
        if armed == self._armed:
            self.discovery.wake(self.world.now)
            self.serve()

    def _walk(self, number: int, walk: Walk) -> None:
        world = self.world
        answering = [node for node in world.stored if world.random.random() >= world.loss]
        reads = [(world.now + world.step() + world.step(), node) for node in answering]
        end = max((at for at, _ in reads), default=world.now + 1.0)
        for at, node in reads:
            world.at(at, lambda node=node: self._read(number, node))  # type: ignore[misc]
        if walk is not Walk.LOOK_UP:
            writes = [(end + world.step(), node) for node in answering if world.random.random() >= world.loss]
            end = max((at for at, _ in writes), default=end + 1.0)
            for at, node in writes:
                world.at(at, lambda node=node: self._write(number, node, walk))  # type: ignore[misc]
            answering = [node for _, node in writes]
        world.at(end, lambda: self._over(number, bool(answering)))

    def _read(self, number: int, node: set[str]) -> None:
        if number not in self._stopped and self.discovery.client:
            for name in sorted(node - {self.name}):
                self.found.setdefault(name, self.world.now)

    def _write(self, number: int, node: set[str], walk: Walk) -> None:
        if number in self._stopped:
            return
        if walk is Walk.ANNOUNCE:
            node.add(self.name)
        else:
            node.discard(self.name)

    def _over(self, number: int, ok: bool) -> None:
        if number not in self._stopped:
            self.discovery.done(number, ok, self.world.now)
            self.serve()
