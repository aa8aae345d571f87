"""Connections between a server behind one kind of router and a client behind another, and the table of all pairs."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median

from tests.network.parties import Middle, Outcome, Party, Stack, party
from tests.network.router import Nat
from tests.network.topology import Internet

AT_ONCE = 12  # concurrent tries, which mostly wait


@dataclass(frozen=True, slots=True)
class Pair:
    """Kinds of router: the server's, the client's."""

    server: Nat
    client: Nat

    @property
    def relayed(self) -> bool:
        """Whether punching cannot work: neither side can know the other's port."""
        return self.server.symmetric and self.client.symmetric

    @property
    def by_chance(self) -> bool:
        """Whether it depends on chance: one side's port is unknown, and the other guesses it."""
        return self.server.symmetric != self.client.symmetric

    def __str__(self) -> str:
        return f"{self.server.value} <- {self.client.value}"


@dataclass(frozen=True, slots=True)
class Stacks:
    """The implementation that serves, and the one that connects."""

    server: Stack
    client: Stack

    def __str__(self) -> str:
        return f"{self.server.value} <- {self.client.value}"


EVERY_PAIR = [Pair(server, client) for server in Nat for client in Nat]
EVERY_STACKS = [Stacks(server, client) for server in Stack for client in Stack]


def way(outcome: Outcome, middle: Middle) -> str:
    """The path of a connection, by the address of its peer: direct, lan, relay or none."""
    return way_to(outcome.remote, middle) if outcome.ok and outcome.remote else "none"


def way_to(remote: str, middle: Middle) -> str:
    host = remote.rpartition(":")[0]
    if host == middle.relay_host:
        return "relay"
    return "lan" if ipaddress.ip_address(host).is_private else "direct"


def wrong(pair: Pair, stacks: Stacks, outcomes: Sequence[Outcome], middle: Middle, luck: float = 1 / 3) -> str:
    """What is wrong with the results of a pair, "" if nothing.

    Guessing a port out of 64,000 fails once in a thousand tries by design of the protocol: the share `luck` may.
    """
    wanted = "relay" if pair.relayed else "direct"
    ways = [way(outcome, middle) for outcome in outcomes]
    missed = sum(each != wanted for each in ways)
    if missed <= (int(luck * len(ways)) if pair.by_chance else 0):
        return ""
    return f"{pair}, {stacks}: {ways}, {[outcome.error for outcome in outcomes if outcome.error]}"


async def attempt(server: Party, client: Party, relay: str | None) -> Outcome:
    """One try with new nodes on both sides."""
    serving = await server.serve(relay)
    outcome = await client.connect(serving.key)
    await asyncio.gather(client.close(outcome.node), server.close(serving.node))
    return outcome


Results = dict[tuple[Pair, Stacks], list[Outcome]]


async def every(
    net: Internet,
    middle: Middle,
    pairs: Iterable[Pair],
    stacks: Iterable[Stacks],
    tries: int,
    at_once: int = AT_ONCE,
) -> Results:
    """All pairs of all stacks, some tries at once; the slow ones begin first."""
    wanted = sorted(
        ((pair, each) for pair in pairs for each in stacks), key=lambda one: (not one[0].by_chance, str(one[0]))
    )
    servers = list(dict.fromkeys((pair.server, each.server) for pair, each in wanted))
    clients = list(dict.fromkeys((pair.client, each.client) for pair, each in wanted))
    places = asyncio.Semaphore(at_once)
    async with AsyncExitStack() as stack:

        async def start(role: str, nat: Nat, whose: Stack) -> Party:
            host = net.site(f"{role}-{whose.value}-{nat.value}", nat)
            return await stack.enter_async_context(party(whose, host, middle))

        there = dict(zip(servers, await asyncio.gather(*(start("server", *one) for one in servers)), strict=True))
        here = dict(zip(clients, await asyncio.gather(*(start("client", *one) for one in clients)), strict=True))

        async def one(pair: Pair, each: Stacks) -> Outcome:
            async with places:
                server, client = there[pair.server, each.server], here[pair.client, each.client]
                return await attempt(server, client, middle.relay if pair.relayed else None)

        begun = [(which, [asyncio.create_task(one(*which)) for _ in range(tries)]) for which in wanted]
        return {which: [await task for task in tasks] for which, tasks in begun}
    raise AssertionError  # a stack of contexts that swallows nothing


def table(results: Results, middle: Middle) -> str:
    """Markdown: a row a pair, a column whose code it was; successes of tries, median ms (lowest to highest), path."""
    columns: Sequence[Stacks] = [each for each in EVERY_STACKS if any(stacks == each for _, stacks in results)]
    lines = [
        "| server <- client | " + " | ".join(f"{each}" for each in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for pair in EVERY_PAIR:
        cells = [cell(results.get((pair, each), []), middle) for each in columns]
        if any(cells):
            lines.append(f"| {pair} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(outcomes: Sequence[Outcome], middle: Middle) -> str:
    if not outcomes:
        return ""
    good = [outcome.ms for outcome in outcomes if outcome.ok and outcome.ms is not None]
    ways = sorted({way(outcome, middle) for outcome in outcomes if outcome.ok})
    errors = sorted({outcome.error or "?" for outcome in outcomes if not outcome.ok})
    said = f"{len(good)} of {len(outcomes)}"
    if good:
        said += f", {median(good):.0f} ms ({min(good):.0f} to {max(good):.0f}), {' and '.join(ways)}"
    return said + "".join(f"; {error}" for error in errors)
