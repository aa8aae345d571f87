"""What the NAT before one socket does, judged by where other nodes see the socket.

`docs/protocol.md`, "Hole punching".  Samples are (who said it, the address it saw).  Three equal ones say consistent,
all different ones say random; between those the rules below decide.  `freeze` stops the verdict from changing once the
peer has been told.
"""

from __future__ import annotations

from collections import Counter

from netstack.udp.port import Address
from netstack.wire.messages import Firewall

ENOUGH = 4  # samples until the verdict stands for now
LEAST = 3  # samples before there is any
MAX_SAMPLES = 16
MAX_TOLD = 4  # addresses that we tell a peer


class NatSamples:
    """The samples of one socket."""

    def __init__(self, open: bool = False) -> None:
        self.open = open  # the node knows that it is reachable: nothing is to be found out
        self.firewall = Firewall.UNKNOWN
        self.addresses: tuple[Address, ...] | None = None
        self._seen: dict[Address, Address] = {}  # who -> what it saw
        self._frozen = False
        self._update()

    @property
    def sampled(self) -> int:
        """How many nodes have answered."""
        return len(self._seen)

    @property
    def settled(self) -> bool:
        """Whether more samples would not change what is done next."""
        return self.firewall in (Firewall.OPEN, Firewall.CONSISTENT) or self.sampled >= ENOUGH

    def asked(self, node: Address) -> bool:
        """Whether that node has answered."""
        return node in self._seen

    def add(self, seen: Address, by: Address) -> None:
        """`by` answered and said that it sees us at `seen`.  One sample a node."""
        if by in self._seen or len(self._seen) >= MAX_SAMPLES:
            return
        self._seen[by] = seen
        if not self._frozen:
            self._update()

    def freeze(self) -> None:
        """The verdict stays as it is: the peer has been told."""
        self._frozen = True

    def _update(self) -> None:
        self.firewall = self._verdict()
        full = Counter(self._seen.values()).most_common(MAX_TOLD)
        match self.firewall:
            case Firewall.UNKNOWN:
                self.addresses = None
            case Firewall.RANDOM:
                host = Counter(host for host, _ in self._seen.values()).most_common(1)[0][0]
                self.addresses = ((host, 0),)
            case _:
                self.addresses = tuple(address for at, (address, hits) in enumerate(full) if hits >= 2 or at < 2)

    def _verdict(self) -> Firewall:
        if self.open:
            return Firewall.OPEN
        count = len(self._seen)
        if count < LEAST:
            return Firewall.UNKNOWN
        hits = [hits for _, hits in Counter(self._seen.values()).most_common()]
        hosts = len({host for host, _ in self._seen.values()})
        if hits[0] >= 3:
            return Firewall.CONSISTENT
        if hits[0] == 1:
            return Firewall.RANDOM
        if hosts == 1 and count > LEAST:
            return Firewall.RANDOM
        if hosts > 1 and len(hits) > 1 and hits[1] > 1:
            return Firewall.CONSISTENT  # two addresses, each confirmed: a line with two ways out
        return Firewall.RANDOM if count > ENOUGH else Firewall.UNKNOWN


def coerced(firewall: int) -> int:
    """Open punches as consistent does."""
    return Firewall.CONSISTENT if firewall == Firewall.OPEN else firewall
