"""Scenarios beside the plain pairs: two hosts in one LAN, two LANs under one carrier NAT, a router that restarts."""

from __future__ import annotations

import asyncio
import time

from tests.network.pairs import Pair, Stacks, way_to
from tests.network.parties import Middle, Outcome, party
from tests.network.router import Nat
from tests.network.topology import Host, Internet

ATTEMPT = 5.0  # seconds until an application would try again


async def meet(server: Host, client: Host, middle: Middle, stacks: Stacks, relay: bool = False) -> Outcome:
    """One attempt between two hosts."""
    async with party(stacks.server, server, middle) as there, party(stacks.client, client, middle) as here:
        return await here.connect((await there.serve(middle.relay if relay else None)).key)


async def neighbours(net: Internet, middle: Middle, stacks: Stacks, nat: Nat) -> Outcome:
    """Two hosts behind one router."""
    router = net.router(f"home-{stacks}-{nat.value}".replace(" ", ""), nat)
    return await meet(net.host(router), net.host(router), middle, stacks)


async def under_a_carrier(net: Internet, middle: Middle, stacks: Stacks, pair: Pair) -> Outcome:
    """Two homes with the same private addresses, and one public address for both."""
    name = f"{stacks}-{pair}".replace(" ", "")
    carrier = net.carrier(f"carrier-{name}")
    server, client = net.home(carrier, f"s-{name}", pair.server), net.home(carrier, f"c-{name}", pair.client)
    return await meet(server, client, middle, stacks, pair.relayed)


async def upgrade(net: Internet, middle: Middle, stacks: Stacks, pair: Pair, limit: float) -> tuple[str, float | None]:
    """Both sides name a relay although punching can work: the first path, and seconds until the path is direct."""
    name = f"{stacks}-{pair}-relay".replace(" ", "")
    there, here = net.site(f"s-{name}", pair.server), net.site(f"c-{name}", pair.client)
    async with party(stacks.server, there, middle) as server, party(stacks.client, here, middle) as client:
        serving = await server.serve(middle.relay)
        began = time.monotonic()
        outcome = await client.connect(serving.key, middle.relay)
        assert outcome.ok and outcome.remote is not None, outcome
        first = now = way_to(outcome.remote, middle)
        while now == "relay" and time.monotonic() - began < limit:
            await asyncio.sleep(0.2)
            remote = await client.again(outcome.node, ATTEMPT)
            if remote is None:
                return first, None  # the connection broke
            now = way_to(remote, middle)
        return first, time.monotonic() - began if now == "direct" else None


async def survival(net: Internet, middle: Middle, stacks: Stacks, client: Nat, limit: float) -> float | None:
    """The server's router (masquerade) forgets its mappings: seconds until the open connection echoes again."""
    name = f"{stacks}-{client.value}-stands".replace(" ", "")
    desk, phone = net.site(f"desk-{name}", Nat.MASQUERADE), net.site(f"phone-{name}", client)
    assert desk.router is not None
    async with party(stacks.server, desk, middle) as there, party(stacks.client, phone, middle) as here:
        before = await here.connect((await there.serve()).key)
        assert before.ok, before
        desk.router.forget()
        began = time.monotonic()
        return time.monotonic() - began if await here.again(before.node, limit) else None


async def healing(net: Internet, middle: Middle, stacks: Stacks, nat: Nat, limit: float) -> float | None:
    """A server's router forgets its mappings: seconds until a client connects again, None for never."""
    name = f"{stacks}-{nat.value}".replace(" ", "")
    desk, phone = net.site(f"desk-{name}", nat), net.site(f"phone-{name}", Nat.MASQUERADE)
    assert desk.router is not None
    async with party(stacks.server, desk, middle) as there, party(stacks.client, phone, middle) as here:
        key = (await there.serve()).key
        before = await here.connect(key)
        assert before.ok, before
        desk.router.forget()
        began = time.monotonic()
        while time.monotonic() - began < limit:
            attempt = asyncio.create_task(here.connect(key, limit=ATTEMPT, node=before.node))
            tried = time.monotonic()
            if (await attempt).ok:
                return time.monotonic() - began
            await asyncio.sleep(max(0.5 - (time.monotonic() - tried), 0))  # not faster after an immediate refusal
    return None
