"""The weekly transport keys of this device: when they change, which are listened for, which are announced.

`docs/protocol.md`, "Finding peers".  A key is accepted for weeks after its own, and announced in its own week alone.
"""

from __future__ import annotations

from identity.device import week_of, week_start
from sync.engine.effects import Listen, Unlisten
from sync.engine.profile import Profile

LONGEST = 6 * 3600.0  # seconds after which the keys are looked at again
WEEK_EDGE = 3 * 3600.0  # seconds before a UTC week ends from which the next week's key is announced too


class TransportKeys:
    """Says `Listen` and `Unlisten` so that the shell always listens for what the account holds."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._listening: dict[bytes, bool] = {}  # public key -> whether it is announced
        self._next = 0.0

    def start_over(self) -> None:
        """The port is a new one: everything is said again at the next call of `wake`."""
        self._listening.clear()
        self._next = 0.0

    def look_at(self, now: float) -> None:
        """The clock was set back: what was due by the old one is due now."""
        self._next = now

    def due(self, now: float) -> bool:
        return now >= self._next

    def wake(self, now: float) -> bool:
        """Makes new keys where they are due and tells the shell.  Whether the account has new keys."""
        week_ends = week_start(week_of(now) + 1)
        edges = [at for at in (week_ends - WEEK_EDGE, week_ends) if at > now]
        self._next = min(now + LONGEST, *edges)
        rotated = self._profile.rotate(now)
        account, effects = self._profile.account, self._profile.effects
        announced = {account.transport(now).public}
        if now >= week_ends - WEEK_EDGE:
            announced.add(account.next_transport(now).public)
        for gone in self._listening.keys() - {key.public for _, key in account.transports}:
            del self._listening[gone]
            effects.append(Unlisten(gone))
        for _, key in account.transports:
            announce = key.public in announced
            if self._listening.get(key.public) != announce:
                self._listening[key.public] = announce
                effects.append(Listen(key, announce))
        return rotated

    def next_wake(self) -> float:
        """Unix seconds at which `wake` is due."""
        return self._next
