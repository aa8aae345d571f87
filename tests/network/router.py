"""A home router: one public address, a LAN behind it, and the translation that nftables does between them.

`test_router.py` measures what each kind does:

| kind         | a port outside is kept for          | who may answer to it          |
|--------------|-------------------------------------|-------------------------------|
| CONE         | a port inside, whatever it speaks to | every address                 |
| MASQUERADE   | a port inside (the same number)      | the address and port spoken to |
| RANDOM, FULLY_RANDOM | a port inside and one destination | the address and port spoken to |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tests.network.namespaces import Namespace

WAN = "wan"
LAN = "lan"
NETWORK = "192.168.1"  # the same behind every router, as it is behind half of the world's
CARRIER = "100.64.0"  # between a carrier's router and the homes behind it (RFC 6598)


class Nat(Enum):
    """Kinds of address translation; OPEN is none: a host on a public address."""

    OPEN = "open"
    CONE = "cone"
    MASQUERADE = "masquerade"
    RANDOM = "random"
    FULLY_RANDOM = "fully-random"

    @property
    def symmetric(self) -> bool:
        """Whether every destination sees another port."""
        return self in (Nat.RANDOM, Nat.FULLY_RANDOM)


# A hash of the inside's address and port: the same for every destination, and another after the seed has changed.
PORT = "jhash ip saddr . udp sport mod 60000 seed {seed:#x} offset 2000"
DRAWN = f"masquerade to :{PORT}"
OUTWARD = {
    Nat.CONE: DRAWN,
    Nat.MASQUERADE: "masquerade",
    Nat.RANDOM: "masquerade random",
    Nat.FULLY_RANDOM: "masquerade fully-random",
}

# Unasked packets for the router itself are dropped before conntrack confirms them, as routers do: an entry of theirs
# would take the very port that the inside is about to punch with.
RULES = """\
flush ruleset
table ip router {{
    map inward {{
        type inet_service : ipv4_addr . inet_service
        flags dynamic, timeout
        timeout 3m
        size 65535
    }}
    chain learn {{
        type filter hook postrouting priority 110
        oifname "{wan}" ip protocol udp {learn}
    }}
    chain inwards {{
        type nat hook prerouting priority dstnat
        ip daddr {public} ip protocol udp dnat ip to udp dport map @inward
    }}
    chain outwards {{
        type nat hook postrouting priority srcnat
        oifname "{wan}" ip protocol udp {outward}
        oifname "{wan}" masquerade
        {hairpin}
    }}
    chain through {{
        type filter hook forward priority filter; policy drop
        ct state established,related accept
        iifname "{lan}" accept
        ct status dnat accept
    }}
    chain own {{
        type filter hook input priority filter; policy accept
        ip protocol udp drop
    }}
}}
"""
HAIRPIN = f'oifname "{LAN}" ct status dnat ip protocol udp snat to {{public}}:{PORT}'
LEARN = "update @inward { udp sport : ct original ip saddr . ct original proto-src }"


def rules(nat: Nat, public: str, seed: int = 1, *, drawn: bool = False, hairpin: bool = False) -> str:
    """The nftables script of a kind.

    drawn: ports by hash of the seed even where the kind would keep them.  hairpin: who is inside reaches others inside
    by the address outside, and is seen there as from outside (with CONE alone).
    """
    outward = DRAWN if drawn and not nat.symmetric else OUTWARD[nat]
    return RULES.format(
        wan=WAN,
        lan=LAN,
        public=public,
        learn=LEARN if nat is Nat.CONE else "accept",
        outward=outward.format(seed=seed),
        hairpin=HAIRPIN.format(public=public, seed=seed) if hairpin else "",
    )


@dataclass
class Router:
    """A namespace with a `wan` port and a bridge `lan`, on which hosts are `network`.2 and on."""

    space: Namespace
    nat: Nat
    address: str
    network: str = NETWORK
    above: Router | None = None  # the carrier's, where that translates too
    hairpin: bool = False
    hosts: int = 0
    _seed: int = field(default=1, init=False)

    def start(self) -> None:
        self.space.ip(
            f"link add {LAN} type bridge",
            f"address add {self.network}.1/24 dev {LAN}",
            f"link set {LAN} up",
        )
        self._load()

    def next_host(self) -> tuple[str, str]:
        """The address of a further host, and the name of the bridge port that leads to it."""
        self.hosts += 1
        return f"{self.network}.{self.hosts + 1}", f"port{self.hosts}"

    @property
    def public(self) -> str:
        """The address that the public network sees."""
        return self.above.public if self.above else self.address

    def forget(self) -> None:
        """Forgets every mapping, as a restart does; later packets leave from other ports."""
        self._seed += 1
        self._load(drawn=True)
        self.space.run("conntrack", "--flush")

    def _load(self, drawn: bool = False) -> None:
        self.space.nft(rules(self.nat, self.address, self._seed, drawn=drawn, hairpin=self.hairpin))

    def mappings(self) -> int:
        """How many flows the router holds."""
        return int(self.space.run("conntrack", "--count") or 0)
