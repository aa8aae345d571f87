"""Our public address, as the majority of nodes see it.

The last 16 samples count.  An address is known when nearly all samples agree: all but 0, 1, 2 or 3 of fewer than 4, 8,
12 and from 12 on.  Where only the host agrees, the port is 0: the NAT before us gives every destination another one.
Same behaviour as npm `nat-sampler` (compared in `tests/interop/hyperdht`): a sample joins one of the last four like it
and otherwise starts a new count, so that single late samples do not bring an old address back.
"""

from __future__ import annotations

from collections import deque

from netstack.udp.port import Address

RING = 16
NEAR = 4


class Count:
    """One value and how many of the last samples were it."""

    __slots__ = ("hits", "value")

    def __init__(self, value: Address) -> None:
        self.value = value
        self.hits = 0


class Ballot:
    """Samples of one kind: whole addresses, or hosts alone."""

    __slots__ = ("_leader", "_ring")

    def __init__(self) -> None:
        self._ring: deque[Count] = deque()
        self._leader: Count | None = None

    def add(self, value: Address) -> None:
        """Counts one sample; the oldest goes."""
        ring = self._ring
        near = [ring[-1 - back] for back in range(min(NEAR, len(ring)))]
        count = next((count for count in near if count.value == value), None) or Count(value)
        count.hits += 1
        ring.append(count)
        if len(ring) > RING:
            ring.popleft().hits -= 1
        if self._leader is None or count.hits > self._leader.hits:
            self._leader = count

    def winner(self, quorum: int) -> Address | None:
        """The value with most samples, None below `quorum` of them."""
        leader = self._leader
        return leader.value if leader is not None and leader.hits >= quorum else None

    def __len__(self) -> int:
        return len(self._ring)


class NatSampler:
    """`address` is None while unknown; its port is 0 where it differs from node to node."""

    __slots__ = ("_addresses", "_hosts", "address")

    def __init__(self) -> None:
        self._addresses = Ballot()
        self._hosts = Ballot()
        self.address: Address | None = None

    def add(self, address: Address) -> None:
        """A node sees us at `address`."""
        self._addresses.add(address)
        self._hosts.add((address[0], 0))
        size = len(self._addresses)
        quorum = size - min(3, size // 4)
        self.address = self._addresses.winner(quorum) or self._hosts.winner(quorum)

    @property
    def host(self) -> str | None:
        """Our host as others see it, None while unknown."""
        return self.address[0] if self.address else None

    @property
    def port(self) -> int:
        """Our port as others see it, 0 while unknown or where it differs from node to node."""
        return self.address[1] if self.address else 0

    def __len__(self) -> int:
        return len(self._addresses)
