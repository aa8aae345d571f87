"""What a persistent node keeps for others, all of it bounded in number, size and time.

Announcements of one topic are answered at most 20 at a time.  They are drawn host by host: whoever announces a thousand
keys from one host gets no more of an answer than whoever announces one, so a topic cannot be occupied cheaply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from identity.keys import Random
from netstack.dht.limits import DhtLimits
from netstack.dht.records import MAX_PEERS, Mutable
from netstack.udp import Address

V = TypeVar("V")
OVERHEAD = 200  # bytes that keeping anything costs beside itself


class Shelf(Generic[V]):
    """Values that all live equally long: the order of writing is the order of dying.  The oldest makes room."""

    __slots__ = ("_bytes", "_items", "_life", "_most", "_most_bytes")

    def __init__(self, most: int, life: float, most_bytes: int = 0) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._life = life
        self._bytes = 0
        self._items: dict[bytes, tuple[float, int, V]] = {}  # key -> (dies at, size, value)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: bytes, now: float) -> V | None:
        item = self._items.get(key)
        if item is None:
            return None
        if item[0] <= now:
            self.remove(key)
            return None
        return item[2]

    def put(self, key: bytes, value: V, now: float, size: int = 0) -> None:
        """`size` in bytes counts against the bound, where there is one."""
        self.remove(key)
        self._items[key] = (now + self._life, size + OVERHEAD, value)
        self._bytes += size + OVERHEAD
        while len(self._items) > self._most or (self._most_bytes and self._bytes > self._most_bytes):
            self.remove(next(iter(self._items)))

    def remove(self, key: bytes) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self._bytes -= item[1]

    def sweep(self, now: float) -> None:
        dead = []
        for key, item in self._items.items():
            if item[0] > now:
                break
            dead.append(key)
        for key in dead:
            self.remove(key)


@dataclass(frozen=True, slots=True)
class Record:
    """An announcement: the encoded peer record, and the host that it came from."""

    peer: bytes
    host: str
    dies: float


@dataclass(frozen=True, slots=True)
class Forward:
    """A peer that announced its own key here: handshakes for it go to `relay`, its address as we see it."""

    relay: Address
    peer: bytes


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a refresh token renews."""

    target: bytes
    key: bytes
    peer: bytes
    forward: bool


class Records:
    """Announcements by topic and key."""

    def __init__(self, limits: DhtLimits, rng: Random) -> None:
        self._limits = limits
        self._rng = rng
        self._topics: dict[bytes, dict[bytes, Record]] = {}
        self._order: dict[tuple[bytes, bytes], None] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._order)

    def add(self, topic: bytes, key: bytes, peer: bytes, host: str, now: float) -> None:
        self.remove(topic, key)
        records = self._topics.setdefault(topic, {})
        records[key] = Record(peer, host, now + self._limits.record_life)
        self._order[topic, key] = None
        if len(records) > self._limits.topic_records:
            self.remove(topic, next(iter(records)))
        elif len(self._order) > self._limits.records:
            self.remove(*next(iter(self._order)))

    def remove(self, topic: bytes, key: bytes) -> None:
        records = self._topics.get(topic)
        if records is not None and records.pop(key, None) is not None:
            del self._order[topic, key]
            if not records:
                del self._topics[topic]

    def draw(self, topic: bytes, now: float, count: int = MAX_PEERS) -> list[bytes]:
        """At most `count` encoded records, drawn at random, host by host."""
        alive = [record for record in self._topics.get(topic, {}).values() if record.dies > now]
        if len(alive) <= count:
            return [record.peer for record in alive]
        hosts: dict[str, list[Record]] = {}
        for record in alive:
            hosts.setdefault(record.host, []).append(record)
        chosen: list[bytes] = []
        while len(chosen) < count:
            for host in self._shuffled(list(hosts))[: count - len(chosen)]:
                chosen.append(self._take(hosts[host]).peer)
                if not hosts[host]:
                    del hosts[host]
        return chosen

    def sweep(self, now: float) -> None:
        dead = []
        for topic, key in self._order:
            if self._topics[topic][key].dies > now:
                break
            dead.append((topic, key))
        for topic, key in dead:
            self.remove(topic, key)

    def _take(self, items: list[Record]) -> Record:
        at = int.from_bytes(self._rng(8), "little") % len(items)
        items[at], items[-1] = items[-1], items[at]
        return items.pop()

    def _shuffled(self, hosts: list[str]) -> list[str]:
        return sorted(hosts, key=lambda host: self._rng(8))


class Store:
    def __init__(self, limits: DhtLimits, rng: Random) -> None:
        life, values, size = limits.record_life, limits.values, limits.value_bytes
        self.records = Records(limits, rng)
        self.forwards: Shelf[Forward] = Shelf(limits.forwards, life)
        self.renewals: Shelf[Renewal] = Shelf(limits.refreshes, life)
        self.bumps: Shelf[int] = Shelf(limits.bumps, life)
        self.mutables: Shelf[Mutable] = Shelf(values, limits.value_life, size)
        self.immutables: Shelf[bytes] = Shelf(values, limits.value_life, size)
        self.own: dict[bytes, bytes] = {}  # target -> encoded record of keys that we listen with ourselves

    def __len__(self) -> int:
        return len(self.records) + sum(map(len, self._shelves()))

    def peer_at(self, target: bytes, now: float) -> bytes | None:
        """The encoded record of the peer whose key hashes to `target`, if it announced that here."""
        if (own := self.own.get(target)) is not None:
            return own
        forward = self.forwards.get(target, now)
        return forward.peer if forward else None

    def sweep(self, now: float) -> None:
        self.records.sweep(now)
        for shelf in self._shelves():
            shelf.sweep(now)

    def _shelves(self) -> list[Shelf[Forward] | Shelf[Renewal] | Shelf[int] | Shelf[Mutable] | Shelf[bytes]]:
        return [self.forwards, self.renewals, self.bumps, self.mutables, self.immutables]
