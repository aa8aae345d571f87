"""The npm implementation connects in this network, so that the network is a fair test of ours."""

from __future__ import annotations

import asyncio

from tests.network.pairs import Pair, Stacks, every, way
from tests.network.parties import Stack, dht, party
from tests.network.router import Nat
from tests.network.topology import Internet

NPM = Stacks(Stack.JS, Stack.JS)
PUNCHED = Pair(Nat.MASQUERADE, Nat.CONE)
BIRTHDAY = Pair(Nat.RANDOM, Nat.MASQUERADE)
RELAYED = Pair(Nat.RANDOM, Nat.FULLY_RANDOM)


def test_npm_connects_by_punching_by_birthday_and_by_relay(net: Internet) -> None:
    async def story() -> dict[Pair, str]:
        async with dht(Stack.JS, net) as middle:
            seen = await every(net, middle, [PUNCHED, BIRTHDAY, RELAYED], [NPM], tries=1)
            return {pair: way(outcome, middle) for (pair, _), [outcome] in seen.items()}

    # A birthday fails once in a thousand tries; nothing else may.
    seen = asyncio.run(story())
    assert seen.pop(BIRTHDAY) in ("direct", "none")
    assert seen == {PUNCHED: "direct", RELAYED: "relay"}


def test_npm_connects_over_the_lan(net: Internet) -> None:
    async def story() -> str:
        router = net.router("home", Nat.MASQUERADE)
        desk, phone = net.host(router), net.host(router)
        async with (
            dht(Stack.JS, net, 6) as middle,
            party(Stack.JS, desk, middle) as server,
            party(Stack.JS, phone, middle) as client,
        ):
            return way(await client.connect((await server.serve()).key), middle)

    assert asyncio.run(story()) == "lan"
