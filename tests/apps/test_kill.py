"""A node killed at random moments while it is written to: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tests.apps.killing import kill_round
from tests.support.processes import Trio

Three = Callable[[], AbstractAsyncContextManager[Trio]]
ROUNDS = int(os.environ.get("KITHKIN_KILL_ROUNDS", "5"))
COUNT, KILLS = 500, 3


def test_kill_of_a_node_that_is_sent_to(three: Three) -> None:
    async def story() -> None:
        first = int(os.environ.get("KITHKIN_KILL_SEED") or secrets.randbelow(1 << 32))
        async with three() as trio:
            await asyncio.gather(trio.phone.run(), trio.friend.run())
            for number in range(ROUNDS):
                seed = first + number
                print(f"KITHKIN_KILL_SEED={seed} KITHKIN_KILL_ROUNDS=1 shows this round again as far as seeds can")
                seen = await kill_round(trio, COUNT, KILLS, seed, f"round {number}:")
                assert seen.kills == KILLS and len(seen.acknowledged) > COUNT * 3 // 4

    asyncio.run(story())


def test_kill_of_the_one_who_receives(three: Three) -> None:
    """The friend dies while it takes in; the sender's outbox empties all the same, and only then."""

    async def story() -> None:
        async with three() as trio:
            phone, friend, chat = trio.phone, trio.friend, trio.direct
            await asyncio.gather(phone.run(), friend.run())
            for death in range(3):
                for number in range(60):
                    await phone.node.send(chat, f"death {death} message {number}")
                    if number == 20 + 15 * death:
                        await friend.kill()
                await friend.run()
            assert len(await friend.holds(chat, 3 + 180)) == 183
            assert [m.id for m in await friend.messages(chat)] == [m.id for m in await phone.messages(chat)]
            await phone.until(
                phone.node.outbox, lambda box: all(p.delivered == 1 for p in box.pending), "the friend's receipts"
            )

    asyncio.run(story())
