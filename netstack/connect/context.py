"""The parts of one node that attempts to connect share, and what they may know of addresses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from identity.keys import Random
from netstack.connect.blind_relay import RelayClients
from netstack.connect.links import Links
from netstack.connect.puncher import PunchContext
from netstack.connect.rpc import BareNode, RpcNode
from netstack.connect.sockets import Sockets
from netstack.connect.tasks import Tasks
from netstack.dht.node import DhtNode
from netstack.limits import Limits
from netstack.udp.port import Address
from netstack.wire.address import encode_address6

KNOWN_RELAYS = 512  # peers whose relays are remembered
MAX_RELAYS = 8  # addresses a peer

PRIVATE = tuple(
    map(
        IPv4Network, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
    )
)


class RelayCache:
    """Through which DHT nodes a peer was reached last."""

    def __init__(self) -> None:
        self._relays: OrderedDict[bytes, tuple[Address, ...]] = OrderedDict()

    def get(self, key: bytes) -> tuple[Address, ...]:
        """The relays of that peer, none where none are remembered."""
        return self._relays.get(key, ())

    def put(self, key: bytes, relays: tuple[Address, ...]) -> None:
        """Remembers the first MAX_RELAYS; the peer not put for longest is forgotten."""
        self._relays.pop(key, None)
        self._relays[key] = relays[:MAX_RELAYS]
        if len(self._relays) > KNOWN_RELAYS:
            self._relays.popitem(last=False)


@dataclass(slots=True)
class ConnectContext:
    """The parts of one node that attempts to connect use."""

    rng: Random
    limits: Limits
    tasks: Tasks
    sockets: Sockets
    links: Links
    rpc: RpcNode
    punching: PunchContext
    local: Callable[[], tuple[Address, ...]]  # our addresses in our own networks
    rpc6: BareNode
    local6: Callable[[], tuple[Address, ...]]  # our IPv6 addresses, none where no port is bound there
    dht: DhtNode | None = None
    told: tuple[Address, ...] = ()  # our addresses as the owner of the node gives them
    relays: RelayClients | None = None
    relay_through: bytes | None = None  # the blind relay that we name
    cache: RelayCache = field(default_factory=RelayCache)

    def public(self) -> Address | None:
        """Where strangers reach us, as far as we know."""
        dht = self.dht
        return dht.address if dht is not None and dht.reachable else None

    def addresses(self, near: bool = True) -> tuple[Address, ...]:
        """What a peer is told of us: the public address first, then those of our own networks, which only peers that
        may be `near` have to know."""
        public = self.public()
        return tuple(dict.fromkeys(((public,) if public else ()) + self.told + (self.local() if near else ())))

    def addresses6(self) -> tuple[bytes, ...]:
        """Our IPv6 addresses as a handshake carries them, 18 bytes each."""
        return tuple(map(encode_address6, self.local6()))[:MAX_RELAYS]

    @property
    def open(self) -> bool:
        """Whether no hole is needed to reach us.  True without a DHT: then only peers that reach us directly ask."""
        return self.dht is None or self.public() is not None


@lru_cache(maxsize=1024)
def private(host: str) -> bool:
    """Whether a host means something in its own network only; what is not IPv4 is taken for public."""
    if ":" in host:
        return False
    address = IPv4Address(host)
    return any(address in network for network in PRIVATE)


def likeness(address: Address, ours: tuple[Address, ...]) -> int:
    """How many leading bytes an address shares with the one of ours that is most like it: 0 to 3."""
    best = 0
    for mine in ours:
        count = 0
        for a, b in zip(mine[0].split(".")[:3], address[0].split(".")[:3], strict=False):
            if a != b:
                break
            count += 1
        best = max(best, count)
    return best


def best_match(ours: tuple[Address, ...], theirs: tuple[Address, ...]) -> Address | None:
    """Their address that has most leading bytes in common with one of ours, at least one."""
    best = max(theirs, key=lambda address: likeness(address, ours), default=None)
    return best if best is not None and likeness(best, ours) else None
