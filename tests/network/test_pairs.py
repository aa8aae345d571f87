"""Our implementation behind every pair of routers, alone and with npm's: it connects whatever npm's connects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from tests.network.pairs import EVERY_PAIR, EVERY_STACKS, Pair, Stacks, every, way, wrong
from tests.network.parties import Middle, Outcome, Stack, dht
from tests.network.router import Nat
from tests.network.scenes import healing, meet, neighbours, survival, under_a_carrier, upgrade
from tests.network.topology import Internet
from tests.network.wire import Condition

T = TypeVar("T")
OURS = Stacks(Stack.OURS, Stack.OURS)
WITH_US = [stacks for stacks in EVERY_STACKS if Stack.OURS in (stacks.server, stacks.client)]
MIXED = [stacks for stacks in WITH_US if stacks != OURS]
PUNCHING = 50.0  # seconds that guessing the other side's port may take
HEALED = 15.0  # seconds until connections work again after a router forgot its mappings


def among(net: Internet, middle: Stack, story: Callable[[Middle], Awaitable[T]], nodes: int = 12) -> T:
    """Runs a scenario with a DHT."""

    async def whole() -> T:
        async with dht(middle, net, nodes) as running:
            return await story(running)

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("middle", "pairs", "stacks", "tries"),
    [
        pytest.param(Stack.JS, EVERY_PAIR, [OURS], 3, id="every pair, npm nodes in the middle"),
        pytest.param(
            Stack.OURS,
            [pair for pair in EVERY_PAIR if not pair.by_chance],
            [OURS],
            1,
            id="what takes no luck, our nodes in the middle",
        ),
        pytest.param(
            Stack.JS,
            [
                Pair(Nat.OPEN, Nat.MASQUERADE),
                Pair(Nat.CONE, Nat.MASQUERADE),
                Pair(Nat.MASQUERADE, Nat.MASQUERADE),
                Pair(Nat.RANDOM, Nat.FULLY_RANDOM),
            ],
            MIXED,
            1,
            id="beside npm",
        ),
        pytest.param(
            Stack.OURS, [Pair(Nat.MASQUERADE, Nat.CONE)], EVERY_STACKS, 1, id="npm around nodes of ours alone"
        ),
    ],
)
def test_pairs_of_routers_connect(
    net: Internet, middle: Stack, pairs: list[Pair], stacks: list[Stacks], tries: int
) -> None:
    async def story(running: Middle) -> list[str]:
        seen = await every(net, running, pairs, stacks, tries)
        return [told for (pair, each), outcomes in seen.items() if (told := wrong(pair, each, outcomes, running))]

    assert among(net, middle, story) == []


def test_peers_behind_one_router_connect_over_the_lan(net: Internet) -> None:
    async def story(running: Middle) -> list[Outcome]:
        kinds = (Nat.MASQUERADE, Nat.FULLY_RANDOM, Nat.CONE)
        return await asyncio.gather(
            *(neighbours(net, running, each, nat) for each, nat in zip(WITH_US, kinds, strict=True))
        )

    seen = among(net, Stack.JS, story)
    assert [outcome.remote.split(":")[0] if outcome.remote else outcome.error for outcome in seen] == [
        "192.168.1.2"
    ] * len(seen)


def test_peers_behind_one_carrier_nat_connect(net: Internet) -> None:
    """Both have the same private address: the host that answers there is not the peer, and npm fails."""
    punched, relayed = Pair(Nat.MASQUERADE, Nat.MASQUERADE), Pair(Nat.FULLY_RANDOM, Nat.FULLY_RANDOM)

    async def story(running: Middle) -> list[str]:
        seen = await asyncio.gather(*(under_a_carrier(net, running, OURS, pair) for pair in (punched, relayed)))
        return [way(outcome, running) for outcome in seen]

    assert among(net, Stack.JS, story) == ["direct", "relay"]


def test_relayed_connection_moves_to_a_direct_path(net: Internet) -> None:
    """Both name a relay, which carries the connection while one side guesses the other's port.  No data is lost."""
    pairs = Pair(Nat.RANDOM, Nat.MASQUERADE), Pair(Nat.MASQUERADE, Nat.RANDOM)

    async def story(running: Middle) -> list[tuple[str, float | None]]:
        return await asyncio.gather(*(upgrade(net, running, OURS, pair, PUNCHING) for pair in pairs))

    seen = among(net, Stack.JS, story)
    assert {first for first, _ in seen} <= {"relay", "direct"}
    assert any(after is not None for _, after in seen)  # depends on chance, as above


def test_peer_is_reachable_again_after_its_router_forgets_mappings(net: Internet) -> None:
    """The server's mappings change; it announces the new ones, and clients find them."""

    async def story(running: Middle) -> list[float | None]:
        kinds = (Nat.CONE, Nat.MASQUERADE)
        return await asyncio.gather(*(healing(net, running, OURS, nat, HEALED) for nat in kinds))

    assert None not in among(net, Stack.JS, story)


def test_connection_survives_a_router_that_forgets_mappings(net: Internet) -> None:
    """The other side's router has to accept packets from the new port."""

    async def story(running: Middle) -> list[float | None]:
        return await asyncio.gather(*(survival(net, running, OURS, nat, HEALED) for nat in (Nat.OPEN, Nat.CONE)))

    assert None not in among(net, Stack.JS, story)


def test_peers_connect_over_lossy_lines(net: Internet) -> None:
    """A twentieth of the packets lost, 80 ms there and back, on both sides."""
    line = Condition(loss=0.05, delay=0.020, jitter=0.005)
    desk, phone = net.site("desk", Nat.MASQUERADE, line), net.site("phone", Nat.CONE, line)

    async def story(running: Middle) -> str:
        return way(await meet(desk, phone, running, OURS), running)

    assert among(net, Stack.JS, story) == "direct"
