"""How many steps a look-up takes in a network of ten thousand nodes, and how many requests, in virtual time.

    python -m benchmarks.hops [--nodes 10000] [--walks 400] [--joined] [--killed 0.3] [--seed 1] [--out FILE]

Real: every node is a `DhtNode`, every datagram is encoded, sent through the simulated network and decoded; guests join
through one bootstrap node as usual, and every walk is the production `Query`.

Shortcut, unless `--joined`: the nodes do not join.  Each gets, when the first datagram reaches it, the table that a
long-lived node has: per bucket 20 of the nodes that belong there, drawn at random, or all of them.  Nodes that no
datagram reaches are never made, and made nodes do no upkeep.  With `--joined` there is no shortcut: all nodes join one
after another through the first; their tables are thinner, since all nodes are young.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.spread import quantile
from netstack import Address, Mode
from netstack.dht.ask import Ask
from netstack.dht.contact import contact_at
from netstack.dht.datagram import FIND_NODE
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome
from netstack.dht.table import Entry
from netstack.ports import SERVER
from tests.support.dht_census import Census
from tests.support.dht_network import EPOCH, PORT, Member, Nat, Network, public_host

WALKS_OF_A_GUEST = 20


class BuiltNetwork(Network):
    """A network whose nodes are made when a datagram first reaches them."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__(seed)
        self.hosts = [public_host(number + 1) for number in range(count)]
        self.census = Census([contact_at((host, PORT)) for host in self.hosts])
        self._asleep = {(host, PORT) for host in self.hosts}
        self.dead: set[Address] = set()

    def place(self, to: Address) -> tuple[Member, int] | None:
        if to in self.dead:
            return None
        if to in self._asleep:
            self._asleep.discard(to)
            self._make(to[0])
        return super().place(to)

    def _make(self, host: str) -> None:
        draw = random.Random(self.random.getrandbits(64))
        node = DhtNode(draw.randbytes, self.now, mode=Mode.PERSISTENT, host=host, epoch=EPOCH)
        node.bound(SERVER, ("0.0.0.0", PORT))
        for contact in self.census.drawn(int.from_bytes(node.table.own, "big"), draw):
            node.table.add(Entry(contact, 0))
        member = Member(self, node, host, Nat.OPEN)
        member.scheduled = 0.0  # is never woken: it answers, and does nothing else
        self.members.append(member)
        self.places[host, PORT] = member, SERVER


@dataclass(frozen=True, slots=True)
class Walk:
    """One look-up.  `hops` led to the nearest node; `found` of the k truly nearest are in its answer."""

    hops: int
    requests: int
    seconds: float
    found: int
    nearest: bool


def walk(net: Network, census: Census, guest: Member, target: bytes) -> Walk:
    """A production query for `target`, from its start to its end."""
    node = guest.node
    began, sent = net.now, node.rpc.sent
    ended: list[Outcome] = []
    node.now = net.now
    node.query(Ask(FIND_NODE, internal=True, target=target), on_done=ended.append)
    net.flush(guest)
    net.until(lambda: bool(ended))
    closest = ended[0].closest
    wanted = {contact.address for contact in census.nearest(int.from_bytes(target, "big"))}
    nearest = next(iter(census.nearest(int.from_bytes(target, "big"), 1))).address
    return Walk(
        closest[0].hops if closest else 0,
        node.rpc.sent - sent,
        net.now - began,
        len(wanted & {reply.address for reply in closest}),
        any(reply.address == nearest for reply in closest),
    )


def joined(count: int, seed: int) -> tuple[Network, Census]:
    net = Network(seed)
    net.grow(count)
    return net, Census([contact_at(member.address) for member in net.members])


def survey(nodes: int, walks: int, *, seed: int = 1, all_join: bool = False, killed: float = 0.0) -> dict[str, object]:
    """Walks from fresh guests, each to targets drawn at random.  Raises AssertionError where one does not end."""
    cpu = time.process_time()
    net: Network
    if all_join:
        net, census = joined(nodes, seed)
    else:
        net = BuiltNetwork(nodes, seed)
        census = net.census
    made = time.process_time() - cpu
    draw = random.Random(seed)
    bootstrap = (public_host(1), PORT)
    if killed:
        census = kill(net, nodes, killed, draw)
    done: list[Walk] = []
    while len(done) < walks:
        guest = net.join(bootstrap=[bootstrap], mode=Mode.EPHEMERAL, host=public_host(1 << 22 | len(done)))
        net.until(lambda guest=guest: guest.ready)  # type: ignore[misc]
        done += [walk(net, census, guest, draw.randbytes(32)) for _ in range(min(WALKS_OF_A_GUEST, walks - len(done)))]
    made_nodes = [member for member in net.members if member.node.id is not None]
    return {
        "nodes": nodes,
        "tables": "joined" if all_join else "built",
        "killed": killed,
        "walks": walks,
        "table_size": round(statistics.mean(len(member.node.table) for member in made_nodes)),
        "hops": {str(hops): count for hops, count in sorted(Counter(walk.hops for walk in done).items())},
        "hops_mean": round(statistics.mean(walk.hops for walk in done), 2),
        "hops_p99": quantile([walk.hops for walk in done], 0.99),
        "requests_p50": quantile([walk.requests for walk in done], 0.5),
        "requests_p99": quantile([walk.requests for walk in done], 0.99),
        "virtual_p50_s": round(quantile([walk.seconds for walk in done], 0.5), 3),
        "virtual_p99_s": round(quantile([walk.seconds for walk in done], 0.99), 3),
        "nearest_found": round(statistics.mean(walk.nearest for walk in done), 4),
        "of_20_nearest": round(statistics.mean(walk.found for walk in done), 2),
        "cpu_s": {"network": round(made, 1), "walks": round(time.process_time() - cpu - made, 1)},
    }


def kill(net: Network, nodes: int, share: float, draw: random.Random) -> Census:
    """Ends that share of all nodes at once, never the bootstrap node; the census of those that are left."""
    hosts = [public_host(number + 1) for number in range(nodes)]
    dead = {(host, PORT) for host in draw.sample(hosts[1:], int(share * nodes))}
    if isinstance(net, BuiltNetwork):
        net.dead = dead
    for member in net.members:
        member.alive = member.address not in dead
    return Census([contact_at((host, PORT)) for host in hosts if (host, PORT) not in dead])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hops")
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000])
    parser.add_argument("--walks", type=int, default=400)
    parser.add_argument("--joined", action="store_true", help="every node joins, no table is built")
    parser.add_argument("--killed", type=float, default=0.0, help="this share of the nodes at once, before the walks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a file that the lines are added to")
    options = parser.parse_args()
    for nodes in options.nodes:
        found = survey(nodes, options.walks, seed=options.seed, all_join=options.joined, killed=options.killed)
        line = json.dumps(found)
        print(line, flush=True)
        if options.out is not None:
            with options.out.open("a") as out:
                out.write(line + "\n")


if __name__ == "__main__":
    main()
