"""The table of all pairs: `python -m tests.network.measure --tries 20 --stacks js ours > docs/evidence/nat.md`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.network.namespaces import missing
from tests.network.pairs import EVERY_PAIR, Stacks, every, table
from tests.network.parties import Stack, dht
from tests.network.router import Nat
from tests.network.topology import Internet


async def measure(tries: int, stacks: list[Stacks], middle: Stack, nats: list[Nat]) -> str:
    pairs = [pair for pair in EVERY_PAIR if pair.server in nats and pair.client in nats]
    with Internet() as net:
        async with dht(middle, net.open("dht", addresses=12), 12) as running:
            return table(await every(net, running, pairs, stacks, tries), running)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--middle", type=Stack, default=Stack.JS)
    parser.add_argument("--stacks", nargs="+", default=["js-js"], help="server-client, each js or ours")
    parser.add_argument("--nats", nargs="+", type=Nat, default=list(Nat))
    options = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    stacks = [Stacks(*map(Stack, each.split("-"))) for each in options.stacks]
    print(asyncio.run(measure(options.tries, stacks, options.middle, options.nats)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
