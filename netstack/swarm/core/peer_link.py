"""What there is between us and one peer right now: a dial under way, the application's connection, a spare one."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from netstack.swarm.core.duplicate import Held
from netstack.udp.port import Address


@dataclass(slots=True)
class Bond:
    """At most one dial and two connections."""

    dialling: bool = False
    dialled: tuple[tuple[Address, ...], tuple[Address, ...]] = ((), ())  # the relays and addresses of the dial
    slow: bool = False  # the dial no longer counts among the parallel ones
    slow_at: float = inf
    dial_until: float = inf  # the dial yields: to theirs that is on its way, or to the one that we have
    active: Held | None = None  # the application's
    spare: Held | None = None  # lost against `active` or against the dial, which may both still fail
    spare_until: float = inf

    @property
    def yields_at(self) -> float:
        return self.dial_until if self.dialling and self.active is not None else inf

    @property
    def idle(self) -> bool:
        return not self.dialling and self.active is None and self.spare is None
