"""An internet of network namespaces: a core that routes, open hosts, and hosts behind routers.

    with Internet() as net:
        router = net.router("ada", Nat.MASQUERADE)
        ada, desk = net.host(router), net.host(router)
        bob = net.open("bob")
        ada.space.command("python", ...)            # or ada.space.socket()

Every site is a /24 of 44.128.0.0/16 with the core at .1.  That block was set aside for tests, yet no list of bogus
addresses holds it, and implementations drop addresses on such lists.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import TracebackType

from tests.network.namespaces import Namespace, cable, together
from tests.network.router import CARRIER, LAN, NETWORK, WAN, Nat, Router
from tests.network.wire import Condition, Wire

PUBLIC = "44.128"
FAR = "44.129"  # second addresses of hosts are in this network

# The openers of hole punching (TTL 5) open their own router and die on the way, as between real providers.  Here two
# routers are three hops apart, so the core makes up for the hops that are not there.
CORE = """\
flush ruleset
table ip core {
    chain through {
        type filter hook forward priority filter; policy accept
        ip ttl < 5 drop
    }
}
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: its namespace, its own address, and the router it is behind, None where it is open.

    `addresses`: all that an open host has, the first of them being `address`.
    """

    space: Namespace
    address: str
    router: Router | None = None
    addresses: tuple[str, ...] = ()

    @property
    def public(self) -> str:
        """The address that other sites see."""
        return self.router.public if self.router else self.address


class Internet:
    """Makes namespaces when entered; removes them and ends what runs in them when left."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._sites = 0
        self._far = 0

    def __enter__(self) -> Internet:
        with contextlib.ExitStack() as stack:
            self._spaces = stack.enter_context(together())
            self.core = self._space("core")
            self.core.nft(CORE)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, name: str, addresses: int = 1, condition: Condition | None = None) -> Host:
        """A host on the public network; further addresses are in other networks, as those of several hosts are."""
        space = self._space(name)
        network = self._uplink(space, condition)
        space.ip(f"address add {network}.2/24 dev {WAN}", f"route add default via {network}.1")
        far = [f"{FAR}.{self._far + n}.2" for n in range(1, addresses)]
        self._far += addresses
        space.ip(*(f"address add {address}/32 dev {WAN}" for address in far))
        self.core.ip(*(f"route add {address}/32 via {network}.2" for address in far))
        return Host(space, f"{network}.2", addresses=(f"{network}.2", *far))

    def carrier(self, name: str) -> Router:
        """A carrier's router as RFC 6888 wants it, for homes behind it: endpoint-independent, with a hairpin."""
        return self._router(name, Nat.CONE, None, CARRIER, hairpin=True)

    def home(self, carrier: Router, name: str, nat: Nat) -> Host:
        """A host behind a router of its own behind a carrier's: two translations."""
        address, port = carrier.next_host()
        space = self._space(f"{name}-router")
        cable(space, WAN, carrier.space, port)
        carrier.space.ip(f"link set {port} master {LAN}")
        space.ip(f"address add {address}/24 dev {WAN}", f"route add default via {carrier.network}.1")
        router = Router(space, nat, address, above=carrier)
        router.start()
        return self.host(router, name)

    def router(self, name: str, nat: Nat, condition: Condition | None = None) -> Router:
        """A router and the empty LAN behind it."""
        return self._router(name, nat, condition, NETWORK)

    def _router(
        self, name: str, nat: Nat, condition: Condition | None, inside: str, *, hairpin: bool = False
    ) -> Router:
        space = self._space(f"{name}-router")
        network = self._uplink(space, condition)
        space.ip(f"address add {network}.2/24 dev {WAN}", f"route add default via {network}.1")
        router = Router(space, nat, f"{network}.2", inside, hairpin=hairpin)
        router.start()
        return router

    def host(self, router: Router, name: str | None = None) -> Host:
        """Adds a host behind a router."""
        address, port = router.next_host()
        space = self._space(name or f"{router.space.label}-{port}")
        cable(space, "eth", router.space, port)
        router.space.ip(f"link set {port} master {LAN}")
        space.ip(f"address add {address}/24 dev eth", f"route add default via {router.network}.1")
        return Host(space, address, router)

    def site(self, name: str, nat: Nat, condition: Condition | None = None) -> Host:
        """A host behind a router of its own, or an open one."""
        if nat is Nat.OPEN:
            return self.open(name, condition=condition)
        return self.host(self.router(name, nat, condition), name)

    def _space(self, label: str) -> Namespace:
        made = Namespace.make(label)
        self._spaces.append(made)
        return made

    def _uplink(self, space: Namespace, condition: Condition | None) -> str:
        self._sites += 1
        network, port = f"{PUBLIC}.{self._sites}", f"site{self._sites}"
        if condition is None:
            cable(space, WAN, self.core, port)
        else:
            self._stack.enter_context(Wire((space, WAN), (self.core, port), condition))
        self.core.ip(f"address add {network}.1/24 dev {port}")
        return network
