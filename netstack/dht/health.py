"""Whether the network answers, judged by how many requests of the last ticks were answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

IDLE = 4  # fewer settled requests in a tick are not judged
OFFLINE_AFTER = 2  # ticks in a row without any answer
DEGRADED_RATE = 0.5  # of requests without an answer ...
DEGRADED_AFTER = 4  # ... for so many ticks in a row; as many good ones end it


class Health(Enum):
    """How the network answers."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"


@dataclass(slots=True)
class HealthMonitor:
    """The verdict of the last ticks."""

    state: Health = Health.ONLINE
    _answers: int = 0
    _timeouts: int = 0
    _silent: int = 0
    _bad: int = 0
    _good: int = 0

    def update(self, answers: int, timeouts: int) -> Health:
        """Takes the totals so far, once a tick."""
        answered, self._answers = answers - self._answers, answers
        lost, self._timeouts = timeouts - self._timeouts, timeouts
        if answered + lost < IDLE:
            if answered:
                self._silent = 0
                if self.state is Health.OFFLINE:
                    self.state = Health.ONLINE
            return self.state
        if not answered:
            self._silent += 1
            if self._silent >= OFFLINE_AFTER:
                self.state = Health.OFFLINE
            return self.state
        self._silent = 0
        degraded = lost > DEGRADED_RATE * (answered + lost)
        self._bad, self._good = (self._bad + 1, 0) if degraded else (0, self._good + 1)
        if self._bad >= DEGRADED_AFTER:
            self.state = Health.DEGRADED
        elif self.state is Health.OFFLINE or self._good >= DEGRADED_AFTER:
            self.state = Health.ONLINE
        return self.state

    def reset(self) -> None:
        """Forgets what it has counted: the machine slept."""
        self.state = Health.ONLINE
        self._silent = self._bad = self._good = 0
