"""How many requests one host may ask: so many at once, so many a second after that.

No honest node asks another more often than its congestion window allows.  A host that does floods us, or somebody
forges its address to have our answers flood it.  Loopback has no quota: test networks run there.
"""

from __future__ import annotations

from netstack.dht.limits import DhtLimits


class Quota:
    """A bucket of requests a host, refilled steadily; the host not heard for longest is forgotten first."""

    __slots__ = ("_hosts", "_limits")

    def __init__(self, limits: DhtLimits) -> None:
        self._limits = limits
        self._hosts: dict[str, tuple[float, float]] = {}  # host -> (requests left, as of)

    def take(self, host: str, now: float) -> bool:
        """Counts one request of `host`; False where it has used up its share."""
        limits = self._limits
        left, before = self._hosts.pop(host, (float(limits.host_burst), now))
        left = min(left + (now - before) * limits.host_rate, float(limits.host_burst))
        allowed = left >= 1.0
        self._hosts[host] = (left - 1.0 if allowed else left), now
        if len(self._hosts) > limits.hosts:
            del self._hosts[next(iter(self._hosts))]
        return allowed

    def __len__(self) -> int:
        return len(self._hosts)
