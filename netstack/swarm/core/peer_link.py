"""The link to one peer at this moment: a dial under way, the connection in use, a spare connection.  Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from netstack.swarm.core.duplicate import OpenConnection
from netstack.udp.port import Address


@dataclass(slots=True)
class PeerLink:
    """At most one dial and two connections.  Times are seconds of the core's clock, math.inf for never."""

    dialling: bool = False
    dialled: tuple[tuple[Address, ...], tuple[Address, ...]] = ((), ())  # the relays and addresses of the dial
    slow: bool = False  # the dial no longer counts among the parallel ones
    slow_at: float = inf
    dial_until: float = inf  # when the dial yields to the peer's own dial, or to the connection in use
    active: OpenConnection | None = None  # in use by the application
    spare: OpenConnection | None = None  # lost against `active` or the dial; kept while either may still fail
    spare_until: float = inf

    @property
    def yields_at(self) -> float:
        """When the dial is abandoned in favour of the connection in use; math.inf: never."""
        return self.dial_until if self.dialling and self.active is not None else inf

    @property
    def idle(self) -> bool:
        """No dial and no connection: the link may be forgotten."""
        return not self.dialling and self.active is None and self.spare is None
