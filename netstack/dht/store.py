"""What a persistent node keeps for others, all of it bounded in number, size and time.

Announcements of one topic are answered at most 20 at a time.  They are drawn network by network (/24): a network that
announces a thousand keys gets no more of an answer than one that announces a single key.

Where room is needed, the network that holds most loses its oldest value: an attacker that fills the store evicts its
own values, not those of others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from identity.keys import Random
from netstack.dht.limits import DhtLimits
from netstack.dht.records import MAX_PEERS, Mutable
from netstack.udp.port import Address

V = TypeVar("V")
OVERHEAD = 200  # bytes that keeping anything costs beside itself


class Item(NamedTuple, Generic[V]):
    """A value, when it dies (s), and what it takes (bytes)."""

    dies: float
    size: int
    network: str  # of whoever wrote it
    value: V


class Shares:
    """Who wrote what, oldest first, and which network wrote most: every step takes the same time at any size."""

    __slots__ = ("_most", "_networks", "_ranks")

    def __init__(self) -> None:
        self._networks: dict[str, dict[bytes, None]] = {}
        self._ranks: dict[int, dict[str, None]] = {}  # networks by how much they hold
        self._most = 0

    def add(self, network: str, key: bytes) -> None:
        """`network` wrote `key`."""
        held = self._networks.setdefault(network, {})
        self._rank(network, len(held), len(held) + 1)
        held[key] = None

    def remove(self, network: str, key: bytes) -> None:
        """`key` of `network` is gone."""
        held = self._networks[network]
        self._rank(network, len(held), len(held) - 1)
        del held[key]
        if not held:
            del self._networks[network]

    def count(self, network: str) -> int:
        """How many that network has."""
        return len(self._networks.get(network, ()))

    def oldest(self, network: str) -> bytes:
        """What that network wrote first."""
        return next(iter(self._networks[network]))

    def greediest(self) -> str:
        """Of several the one that came to that number first."""
        return next(iter(self._ranks[self._most]))

    def _rank(self, network: str, before: int, after: int) -> None:
        if before:
            rank = self._ranks[before]
            del rank[network]
            if not rank:
                del self._ranks[before]
        if after:
            self._ranks.setdefault(after, {})[network] = None
        if after > self._most or (before == self._most and before not in self._ranks):
            self._most = after  # it rose by one, or no network is left at the old count


class ExpiringCache(Generic[V]):
    """Values that all live equally long: the order of writing is the order of dying.

    Where one network fills its share of the cache, its own oldest value goes; where the cache is full, that of the
    network which holds most.
    """

    __slots__ = ("_bytes", "_items", "_life", "_most", "_most_bytes", "_share", "_shares", "on_remove")

    def __init__(
        self,
        most: int,
        life: float,
        *,
        share: int = 1,
        most_bytes: int = 0,
        on_remove: Callable[[bytes, V], None] = lambda key, value: None,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._share = max(most // share, 1)
        self._life = life
        self._bytes = 0
        self._items: dict[bytes, Item[V]] = {}
        self._shares = Shares()
        self.on_remove = on_remove

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: bytes, now: float) -> V | None:
        """The value, None where there is none or its time is over.  Does not prolong its life."""
        item = self._items.get(key)
        if item is None:
            return None
        if item.dies <= now:
            self.remove(key)
            return None
        return item.value

    def put(self, key: bytes, value: V, now: float, network: str, size: int = 0) -> None:
        """`size` in bytes counts against the bound, where there is one."""
        self.remove(key)
        size += OVERHEAD
        self._items[key] = Item(now + self._life, size, network, value)
        self._bytes += size
        self._shares.add(network, key)
        if self._shares.count(network) > self._share:
            self.remove(self._shares.oldest(network))
        while len(self._items) > self._most or (self._most_bytes and self._bytes > self._most_bytes):
            self.remove(self._shares.oldest(self._shares.greediest()))

    def remove(self, key: bytes) -> None:
        """Removes one value, if it is there."""
        item = self._items.pop(key, None)
        if item is None:
            return
        self._bytes -= item.size
        self._shares.remove(item.network, key)
        self.on_remove(key, item.value)

    def sweep(self, now: float) -> None:
        """Removes everything whose time is over."""
        dead = []
        for key, item in self._items.items():
            if item.dies > now:
                break
            dead.append(key)
        for key in dead:
            self.remove(key)


@dataclass(frozen=True, slots=True)
class Record:
    """An announcement: the encoded peer record, and the network that it came from."""

    topic: bytes
    key: bytes
    peer: bytes
    network: str


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
        self._cache: ExpiringCache[Record] = ExpiringCache(
            limits.records, limits.record_life, share=limits.share, on_remove=self._forget
        )

    def __len__(self) -> int:
        return len(self._cache)

    def add(self, topic: bytes, key: bytes, peer: bytes, network: str, now: float) -> None:
        """Keeps an announcement; its topic or the store may lose the oldest of whoever holds most."""
        record = Record(topic, key, peer, network)
        self._cache.put(topic + key, record, now, network)
        records = self._topics.setdefault(topic, {})
        records[key] = record
        if len(records) > self._limits.topic_records:
            greediest = Counter(record.network for record in records.values()).most_common(1)[0][0]
            self.remove(topic, next(key for key, record in records.items() if record.network == greediest))

    def remove(self, topic: bytes, key: bytes) -> None:
        """Removes one announcement, if it is there."""
        self._cache.remove(topic + key)

    def draw(self, topic: bytes, now: float, count: int = MAX_PEERS) -> list[bytes]:
        """At most `count` encoded records, drawn at random, network by network."""
        self._cache.sweep(now)
        records = self._topics.get(topic, {})
        if len(records) <= count:
            return [record.peer for record in records.values()]
        networks: dict[str, list[Record]] = {}
        for record in records.values():
            networks.setdefault(record.network, []).append(record)
        chosen: list[bytes] = []
        while len(chosen) < count:
            for network in self._shuffled(list(networks))[: count - len(chosen)]:
                chosen.append(self._take(networks[network]).peer)
                if not networks[network]:
                    del networks[network]
        return chosen

    def sweep(self, now: float) -> None:
        """Removes everything whose time is over."""
        self._cache.sweep(now)

    def _forget(self, name: bytes, record: Record) -> None:
        records = self._topics.get(record.topic, {})
        records.pop(record.key, None)
        if not records:
            self._topics.pop(record.topic, None)

    def _take(self, items: list[Record]) -> Record:
        at = int.from_bytes(self._rng(8), "little") % len(items)
        items[at], items[-1] = items[-1], items[at]
        return items.pop()

    def _shuffled(self, networks: list[str]) -> list[str]:
        return sorted(networks, key=lambda network: self._rng(8))


class Store:
    """Everything that one node keeps for others."""

    def __init__(self, limits: DhtLimits, rng: Random) -> None:
        life, values, share, size = limits.record_life, limits.values, limits.share, limits.value_bytes
        self.records = Records(limits, rng)
        self.forwards: ExpiringCache[Forward] = ExpiringCache(limits.forwards, life, share=share)
        self.renewals: ExpiringCache[Renewal] = ExpiringCache(limits.refreshes, life, share=share)
        self.bumps: ExpiringCache[int] = ExpiringCache(limits.bumps, life, share=share)
        self.mutables: ExpiringCache[Mutable] = ExpiringCache(values, limits.value_life, share=share, most_bytes=size)
        self.immutables: ExpiringCache[bytes] = ExpiringCache(values, limits.value_life, share=share, most_bytes=size)
        self.own: dict[bytes, bytes] = {}  # target -> encoded record of keys that we listen with ourselves

    def __len__(self) -> int:
        return len(self.records) + sum(map(len, self._caches()))

    def peer_at(self, target: bytes, now: float) -> bytes | None:
        """The encoded record of the peer whose key hashes to `target`, if it announced that here."""
        if (own := self.own.get(target)) is not None:
            return own
        forward = self.forwards.get(target, now)
        return forward.peer if forward else None

    def sweep(self, now: float) -> None:
        """Removes everything whose time is over."""
        self.records.sweep(now)
        for cache in self._caches():
            cache.sweep(now)

    def _caches(self) -> list[ExpiringCache[Any]]:
        return [self.forwards, self.renewals, self.bumps, self.mutables, self.immutables]
