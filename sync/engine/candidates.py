"""Keys that were found at our topics and belong to nobody we know yet: friends under a new key, or anybody at all.

Whoever knows a topic can fill it with keys, so everything here is bounded: keys remembered, dials at a time, dials a
minute, and none where nobody is missing.  Among those that are due chance decides, so that who comes first in great
numbers does not come first.
`docs/protocol.md`, "Finding peers".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from identity.hints import Address
from identity.keys import Random
from sync.engine.inputs import FoundKey

MAX_KEYS = 256  # remembered of one topic,
MAX_TOPICS = 64  # of so many topics; further ones wait until one is left
MAX_DIALS = 4  # at a time
BURST = 16  # dials that may come at once,
REFILL = 1.0  # and seconds until each further one
FIRST, GROWTH, LONGEST = 20.0, 4.0, 3600.0  # seconds until a key that came to nothing is tried again
LATER = 60.0  # seconds until it is asked again whether anybody is missing
MAX_RELAYS = 3


@dataclass(slots=True)
class Candidate:
    """One key at one topic.  addresses: its own, where the local network told of it."""

    topic: bytes
    key: bytes
    relays: tuple[Address, ...]
    addresses: tuple[Address, ...]
    next: float
    failures: int = 0
    running: bool = False


class Candidates:
    """A table of found keys, and which of them to dial next."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._topics: dict[bytes, dict[bytes, Candidate]] = {}
        self._left, self._as_of = float(BURST), 0.0

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._topics.values())

    def found(self, found: FoundKey, now: float) -> None:
        """A key at a topic; relays and addresses are the newest said of it."""
        topic, key = found.topic, found.key
        relays, addresses = found.relays[:MAX_RELAYS], found.addresses[:MAX_RELAYS]
        keys = self._topics.get(topic)
        if keys is None:
            if len(self._topics) >= MAX_TOPICS:
                return
            keys = self._topics[topic] = {}
        entry = keys.get(key)
        if entry is not None:
            entry.relays = relays or entry.relays
            entry.addresses = addresses or entry.addresses
            return
        if len(keys) >= MAX_KEYS and not self._make_room(keys):
            return
        keys[key] = Candidate(topic, key, relays, addresses, now)

    def _make_room(self, keys: dict[bytes, Candidate]) -> bool:
        """Of a full topic some key that came to nothing makes room; where none did, any of them, every other time."""
        idle = [entry for entry in keys.values() if not entry.running]
        tried = [entry for entry in idle if entry.failures]
        if not idle or (not tried and self._draw(2)):
            return False
        among = tried or idle
        del keys[among[self._draw(len(among))].key]
        return True

    def due(self, now: float, worth: Callable[[bytes], bool]) -> list[Candidate]:
        """Keys to dial now.  Each must end in `over` or `forget`.  worth: whether somebody is missing at a topic; where
        nobody is, its keys wait for a minute."""
        self._refill(now)
        running = sum(entry.running for keys in self._topics.values() for entry in keys.values())
        waiting = [e for keys in self._topics.values() for e in keys.values() if not e.running and e.next <= now]
        chosen: list[Candidate] = []
        while waiting and running + len(chosen) < MAX_DIALS and self._left >= 1:
            entry = waiting.pop(self._draw(len(waiting)))
            if not worth(entry.topic):
                entry.next = now + LATER
                continue
            self._left -= 1
            entry.running = True
            chosen.append(entry)
        return chosen

    def over(self, topic: bytes, key: bytes, now: float, *, refused: bool) -> None:
        """The dial of a key came to nothing; refused: somebody answered who is nobody of ours, so the next try waits
        longest (it may be a newcomer of whom we do not know yet)."""
        entry = self._topics.get(topic, {}).get(key)
        if entry is None:
            return
        wait = LONGEST if refused else min(FIRST * GROWTH**entry.failures, LONGEST)
        entry.running, entry.failures = False, min(entry.failures + 1, 8)
        entry.next = now + wait * (0.75 + self._draw(512) / 1024)

    def forget(self, topic: bytes, key: bytes) -> None:
        """It is somebody of ours: from now on that device is dialled as any other."""
        self._topics.get(topic, {}).pop(key, None)

    def leave(self, topic: bytes) -> None:
        self._topics.pop(topic, None)

    def clear(self) -> None:
        self._topics.clear()

    def next_wake(self) -> float:
        """When the next key may be dialled; infinity where nothing waits, or only for a dial under way."""
        if sum(entry.running for keys in self._topics.values() for entry in keys.values()) >= MAX_DIALS:
            return inf
        waiting = [entry.next for keys in self._topics.values() for entry in keys.values() if not entry.running]
        if not waiting:
            return inf
        return max(min(waiting), self._as_of + max(0.0, 1 - self._left) * REFILL)

    def _refill(self, now: float) -> None:
        self._left = min(float(BURST), self._left + max(0.0, now - self._as_of) / REFILL)
        self._as_of = now

    def _draw(self, below: int) -> int:
        return int.from_bytes(self._rng(4), "little") % below
