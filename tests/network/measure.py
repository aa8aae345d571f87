"""The tables of docs/evidence/nat.md: `python -m tests.network.measure --tries 20 > docs/evidence/nat.md`.

All pairs of NATs and the scenarios of `scenes.py`, with every implementation, around a DHT of npm nodes.  `--rounds`
splits the tries into rounds, between which the implementations alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.network.namespaces import missing
from tests.network.pairs import EVERY_PAIR, EVERY_STACKS, Pair, Results, Stacks, every, table, way
from tests.network.parties import Middle, Stack, dht
from tests.network.router import Nat
from tests.network.scenes import healing, neighbours, survival, under_a_carrier, upgrade
from tests.network.topology import Internet

PATIENCE = 60.0  # seconds that a router that forgot is watched, or a relayed connection
NODES = 12
AT_ONCE = 10  # they wait most of the time
HEAD = """\
# NATs

By `python -m tests.network.measure {arguments}` on {date}, Linux {kernel}, two cores.

Routers are network namespaces with nftables (decision 0130). The DHT are {nodes} {middle} nodes, each on a public
address of its own. Every try is made by fresh nodes on both sides, ten tries at once. The time is that from `connect`
to the secure connection, of a client that has joined the DHT; paths have no delay of their own. Two symmetric routers
meet through a blind relay, which both stacks are given in those pairs alone.

A cell: successes of tries, median time (lowest to highest), path; how it failed. Columns: server <- client.
"""


async def pairs(
    stacks: Sequence[Stacks], middle: Stack, tries: int, rounds: int, nats: Sequence[Nat]
) -> tuple[Results, Middle]:
    """All tries, in rounds between which the stacks alternate; `Middle` is the last DHT, whose relay all others had."""
    wanted = [pair for pair in EVERY_PAIR if pair.server in nats and pair.client in nats]
    gathered: Results = {}
    running: Middle | None = None
    for turn in range(rounds):
        count = tries * (turn + 1) // rounds - tries * turn // rounds
        for each in stacks if turn % 2 == 0 else reversed(stacks):
            with Internet() as net:
                async with dht(middle, net, NODES) as running:
                    for which, outcomes in (await every(net, running, wanted, [each], count, AT_ONCE)).items():
                        gathered.setdefault(which, []).extend(outcomes)
            print(f"round {turn + 1}: {each}", file=sys.stderr)
    assert running is not None
    return gathered, running


async def scenes(stacks: Sequence[Stacks], middle: Stack) -> str:
    """One line a scene, one column a stack."""
    lines = ["| scene | " + " | ".join(map(str, stacks)) + " |", "|---|" + "---|" * len(stacks)]

    with Internet() as net:
        async with dht(middle, net, NODES) as running:
            for nat in (Nat.MASQUERADE, Nat.FULLY_RANDOM):
                seen = [await neighbours(net, running, each, nat) for each in stacks]
                cells = [
                    f"{way(one, running)}, {one.ms:.0f} ms" if one.ok and one.ms else f"{one.error}" for one in seen
                ]
                lines.append(f"| two behind one {nat.value} router | " + " | ".join(cells) + " |")
            for pair in (Pair(Nat.MASQUERADE, Nat.MASQUERADE), Pair(Nat.FULLY_RANDOM, Nat.FULLY_RANDOM)):
                seen = [await under_a_carrier(net, running, each, pair) for each in stacks]
                cells = [
                    f"{way(one, running)}, {one.ms:.0f} ms" if one.ok and one.ms else f"{one.error}" for one in seen
                ]
                lines.append(f"| two homes of one carrier, {pair} | " + " | ".join(cells) + " |")
            for pair in (Pair(Nat.RANDOM, Nat.MASQUERADE), Pair(Nat.MASQUERADE, Nat.RANDOM)):
                moves = await asyncio.gather(*(upgrade(net, running, each, pair, PATIENCE) for each in stacks))
                cells = [f"{first}, {f'direct after {after:.1f} s' if after else 'stays'}" for first, after in moves]
                lines.append(f"| {pair} with a relay | " + " | ".join(cells) + " |")
            for nat in (Nat.CONE, Nat.MASQUERADE):
                times = await asyncio.gather(*(healing(net, running, each, nat, PATIENCE) for each in stacks))
                cells = [f"{time:.1f} s" if time is not None else f"not within {PATIENCE:.0f} s" for time in times]
                lines.append(f"| a {nat.value} router forgets: reached again after | " + " | ".join(cells) + " |")
            for nat in (Nat.OPEN, Nat.CONE):
                times = await asyncio.gather(*(survival(net, running, each, nat, PATIENCE) for each in stacks))
                cells = [f"goes on after {time:.1f} s" if time is not None else "lost" for time in times]
                lines.append(f"| a router forgets, a client ({nat.value}) was connected | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def head(middle: Stack, arguments: str) -> str:
    return HEAD.format(
        arguments=arguments,
        date=datetime.now(UTC).date(),
        kernel=platform.release().partition("-")[0],
        nodes=NODES,
        middle={Stack.JS: "npm", Stack.OURS: "of our"}[middle],
    )


async def report(options: argparse.Namespace, arguments: str) -> str:
    stacks = [Stacks(*map(Stack, each.split("-"))) for each in options.stacks] if options.stacks else EVERY_STACKS
    parts = [head(options.middle, arguments)]
    if options.tries:
        measured = await pairs(stacks, options.middle, options.tries, options.rounds, options.nats)
        parts.append(table(*measured) + "\n")
    if not options.plain:
        parts.append(await scenes(stacks, options.middle) + "\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--middle", type=Stack, default=Stack.JS)
    parser.add_argument("--stacks", nargs="+", help="server-client, each js or ours; all where left out")
    parser.add_argument("--nats", nargs="+", type=Nat, default=list(Nat))
    parser.add_argument("--plain", action="store_true", help="pairs alone, no scenes")
    options = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    print(asyncio.run(report(options, " ".join(sys.argv[1:]))), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
