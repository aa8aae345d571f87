"""How much work one host may cause: so many handshakes at once, so many a second after that."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address


@lru_cache(maxsize=4096)
def account(host: str) -> str:
    """On whose account a host is: whoever has one IPv6 address has the 2^64 of its network."""
    return IPv6Address(host).packed[:8].hex() if ":" in host else host


def loopback(account: str) -> bool:
    """Whether that account is our own machine's."""
    return account.startswith("127.") or account == "0" * 16


class Allowance:
    """A token bucket for each of the `hosts` hosts heard last: `burst` at once, `rate` a second after that."""

    def __init__(self, burst: int, rate: float, hosts: int) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._hosts = hosts
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # host -> (left, as of)

    def __len__(self) -> int:
        return len(self._left)

    def spend(self, host: str, now: float) -> bool:
        """Takes one; False where none is left."""
        host = account(host)
        left, since = self._left.pop(host, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        self._left[host] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > self._hosts:
            self._left.popitem(last=False)
        return left >= 1
