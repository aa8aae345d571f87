"""A node is killed at random moments while messages are sent: no acknowledged message is lost, none is there twice."""

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


def test_killing_the_sending_node_loses_and_doubles_no_acknowledged_message(three: Three) -> None:
    async def story() -> None:
        first = int(os.environ.get("KITHKIN_KILL_SEED") or secrets.randbelow(1 << 32))
        async with three() as trio:
            await asyncio.gather(trio.phone.run(), trio.friend.run())
            for number in range(ROUNDS):
                seed = first + number
                print(f"KITHKIN_KILL_SEED={seed} KITHKIN_KILL_ROUNDS=1 repeats this round but for timing")
                seen = await kill_round(trio, COUNT, KILLS, seed, f"round {number}:")
                assert seen.kills == KILLS and len(seen.acknowledged) > COUNT * 3 // 4

    asyncio.run(story())


def test_killing_the_receiving_node_loses_and_doubles_no_message(three: Three) -> None:
    """The receiver is killed while messages arrive; the sender's outbox is empty once it runs again, and not before."""

    async def story() -> None:
        async with three() as trio:
            phone, friend, chat = trio.phone, trio.friend, trio.direct
            await asyncio.gather(phone.run(), friend.run())
            for kill in range(3):
                for number in range(60):
                    await phone.node.send(chat, f"kill {kill} message {number}")
                    if number == 20 + 15 * kill:
                        await friend.kill()
                await friend.run()
            assert len(await friend.holds(chat, 3 + 180)) == 183
            assert [m.id for m in await friend.messages(chat)] == [m.id for m in await phone.messages(chat)]
            await phone.until(
                phone.node.outbox, lambda box: all(p.delivered == 1 for p in box.pending), "the friend's receipts"
            )

    asyncio.run(story())
