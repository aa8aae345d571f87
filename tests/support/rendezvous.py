"""The DHT as a simulated world has it: a table of who stands where, with delays, loss and lies; no packets.

It does what `Host` and `TopicDiscovery` promise the engine: keys are found by address, topics by a few look-ups
after the announcement and one every ten minutes, records outlive whoever announced them for a while.  What it says is
not to be believed: `lies` are keys that nobody has, `occupied` are true keys of strangers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from identity.keys import SigningKey
from netstack.udp.port import Address

if TYPE_CHECKING:
    from tests.support.device import Device
    from tests.support.world import World

LOOKS = (0.0, 0.4, 2.0, 10.0)  # seconds after the announcement
REFRESH = (600.0, 720.0)  # and between two refreshes
EXPIRY = 1200.0  # seconds that a record outlives its last refresh
VALUE_LIFE = 48 * 3600.0  # of mutable values
RELAYS = (("10.9.9.9", 49737),)


@dataclass(slots=True)
class Record:
    address: Address
    until: float


class Rendezvous:
    """`alive` False: nobody answers.  loss: chance that one question goes unanswered.  lies: made-up keys an answer."""

    def __init__(self, world: World, *, delay: tuple[float, float] = (0.02, 0.3)) -> None:
        self._world = world
        self._luck = Random(f"{world.seed}/rendezvous")
        self._delay = delay
        self.alive = True
        self.loss = 0.0
        self.lies = 0
        self.asked: list[tuple[Device, bytes]] = []  # keys that were looked for, and by whom
        self._keys: dict[bytes, Record] = {}
        self._topics: dict[bytes, dict[bytes, Record]] = {}
        self._values: dict[bytes, tuple[int, bytes, float]] = {}  # public key -> seq, value, until
        self._at: dict[tuple[str, bytes], object] = {}  # (device, topic) -> its membership, new each time

    # -- what the engine's effects come to ------------------------------------------------------------------------

    def listen(self, device: Device, key: SigningKey, announce: bool) -> None:
        if not announce:
            self._keys.pop(key.public, None)
        elif self.alive:
            self._keys[key.public] = Record(device.address, float("inf"))

    def unlisten(self, public: bytes) -> None:
        self._keys.pop(public, None)

    def find(self, device: Device, key: bytes, then: Callable[[Address | None], None]) -> None:
        """Where a key is announced; None after a while where nobody knows."""
        self.asked.append((device, key))
        record = self._keys.get(key)
        lost = not self.alive or self._luck.random() < self.loss
        found = record.address if record is not None and record.until > self._world.now and not lost else None
        self._world.at(self._luck.uniform(*self._delay) * (1 if found else 5), lambda: then(found))

    def put_record(self, public: bytes, seq: int, value: bytes) -> None:
        """Keeps a mutable value for 48 hours; a lower number replaces nothing."""
        held = self._values.get(public)
        if self.alive and (held is None or held[0] <= seq or held[2] <= self._world.now):
            self._values[public] = seq, value, self._world.now + VALUE_LIFE

    def seek_record(self, public: bytes, then: Callable[[bytes], None]) -> None:
        """The value under a key, after a while; nothing where there is none."""
        held = self._values.get(public)
        if self.alive and held is not None and held[2] > self._world.now and self._luck.random() >= self.loss:
            self._world.at(self._luck.uniform(*self._delay), lambda: then(held[1]))

    def join(self, device: Device, topic: bytes, key: SigningKey, announce: bool) -> None:
        self.leave(device, topic, key)
        stay = self._at[(device.name, topic)] = object()
        self._round(device, topic, key, announce, stay)

    def leave(self, device: Device, topic: bytes, key: SigningKey | None = None) -> None:
        self._at.pop((device.name, topic), None)
        for public, record in list(self._topics.get(topic, {}).items()):
            if record.address == device.address and (key is None or public != key.public):
                del self._topics[topic][public]

    def gone(self, device: Device) -> None:
        """The process ended.  What it announced stands until it expires."""
        for name, topic in [at for at in self._at if at[0] == device.name]:
            del self._at[(name, topic)]
        for record in [*self._keys.values(), *(r for keys in self._topics.values() for r in keys.values())]:
            if record.address == device.address:
                record.until = min(record.until, self._world.now + EXPIRY)

    # -- what a test does to it -----------------------------------------------------------------------------------

    def topics_of(self, device: Device) -> set[bytes]:
        """Topics at which the device is now."""
        return {topic for name, topic in self._at if name == device.name}

    def keys_of(self, device: Device) -> set[bytes]:
        """Keys by which the device itself is found now."""
        at, now = device.address, self._world.now
        return {key for key, record in self._keys.items() if record.address == at and record.until > now + EXPIRY}

    def announced(self, topic: bytes) -> set[bytes]:
        """Keys that stand at a topic."""
        return {key for key, record in self._topics.get(topic, {}).items() if record.until > self._world.now}

    def occupy(self, topic: bytes, keys: Iterable[SigningKey], address: Address) -> None:
        """A stranger stands at somebody's topic under all of these keys."""
        for key in keys:
            self._keys[key.public] = Record(address, float("inf"))
            self._topics.setdefault(topic, {})[key.public] = Record(address, float("inf"))

    # -- look-ups -------------------------------------------------------------------------------------------------

    def _round(self, device: Device, topic: bytes, key: SigningKey, announce: bool, stay: object) -> None:
        """Announces, looks a few times, and comes again."""
        if self._at.get((device.name, topic)) is not stay:
            return
        if announce and self.alive:
            self._topics.setdefault(topic, {})[key.public] = Record(device.address, self._world.now + EXPIRY)
        for after in LOOKS:
            wait = after + self._luck.uniform(*self._delay)
            self._world.at(wait, lambda: self._look(device, topic, key, stay))
        again = self._luck.uniform(*REFRESH)
        self._world.at(again, lambda: self._round(device, topic, key, announce, stay))

    def _look(self, device: Device, topic: bytes, key: SigningKey, stay: object) -> None:
        if self._at.get((device.name, topic)) is not stay or not self.alive:
            return
        found = [public for public in sorted(self.announced(topic)) if public != key.public]
        found += [self._luck.randbytes(32) for _ in range(self.lies)]
        self._luck.shuffle(found)
        device.found(topic, [public for public in found if self._luck.random() >= self.loss], RELAYS)
