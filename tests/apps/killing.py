"""Kills a node at random moments while messages are sent and replicated: one round, for tests and soak runs.

A message is acknowledged when the node has answered `send` with its id.  After the kill the profile opens, and every
acknowledged message is there once, on the peer too.  A message that was interrupted is there once or not at all, and
the same on both sides.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from sync.service.api import KithkinError
from tests.support.processes import Profile, Trio


@dataclass
class Round:
    """What happened in one round."""

    kills: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)  # id -> text
    attempted: int = 0


async def kill_round(trio: Trio, count: int, kills: int, seed: int, tag: str) -> Round:
    """Sends `count` messages through the phone's node, which is killed `kills` times meanwhile; the contact receives.

    seed: for the moments of the kills.  tag: how the texts of this round begin.  Raises AssertionError where a message
    is lost or doubled.
    """
    rng = random.Random(seed)
    phone, friend, chat = trio.phone, trio.friend, trio.direct
    seen = Round()
    before = {message.id for message in await friend.messages(chat)}
    marks = sorted(
        rng.sample(range(1, count - 20), kills)
    )  # none in the last burst, after which no kill would be noticed
    while seen.attempted < count:
        if phone.process is None:
            await phone.run()
        target = marks[seen.kills] if seen.kills < len(marks) else None
        # The kill falls somewhere into the sending, the commit or the replication of the target and its successors.
        delay = rng.uniform(0, 0.05)
        killer: asyncio.Task[None] | None = None
        while seen.attempted < count:
            if target is not None and seen.attempted >= target and killer is None:
                killer = asyncio.create_task(kill_after(phone, delay))
            burst = min(8, count - seen.attempted)
            texts = [f"{tag} {seen.attempted + number}" for number in range(burst)]
            seen.attempted += burst
            answers = await asyncio.gather(*(send(phone, chat, text) for text in texts))
            seen.acknowledged |= {id_: text for id_, text in answers if id_ is not None}
            if any(id_ is None for id_, _ in answers):
                break
        if killer is not None:
            await killer
            seen.kills += 1
    if phone.process is None:
        await phone.run()
    await check(phone, friend, chat, before, seen, tag)
    return seen


async def send(phone: Profile, chat: str, text: str) -> tuple[str | None, str]:
    """(id, text); None where the node ended before it answered."""
    try:
        return (await phone.node.send(chat, text)).id, text
    except (KithkinError, ConnectionError, AssertionError):
        return None, text


async def kill_after(phone: Profile, delay: float) -> None:
    """Kills after some seconds: the moment is what is random, so this waits for time on purpose."""
    await asyncio.sleep(delay)
    assert phone.process is not None
    phone.process.kill()
    await phone.kill()


async def check(phone: Profile, friend: Profile, chat: str, before: set[str], seen: Round, tag: str) -> None:
    mine = await phone.messages(chat)
    ids = [message.id for message in mine]
    assert len(set(ids)) == len(ids)
    held = {message.id: message.text for message in mine}
    lost = seen.acknowledged.keys() - held.keys()
    assert not lost, f"{len(lost)} acknowledged messages are gone"
    assert all(held[id_] == text for id_, text in seen.acknowledged.items())
    texts = [message.text for message in mine if message.text.startswith(f"{tag} ")]
    assert len(set(texts)) == len(texts), "a message is there twice"
    # The peer converges to the same list.
    theirs = await friend.until(
        lambda: friend.messages(chat), lambda found: len(found) >= len(mine), f"{len(mine)} messages"
    )
    assert [message.id for message in theirs] == ids
    assert before <= set(ids)
    await phone.until(
        phone.node.outbox, lambda box: all(one.delivered for one in box.pending), "that the friend has opened all"
    )
    for one in (phone, friend):
        checks = (await one.node.doctor()).checks
        assert all(entry.ok for entry in checks), checks
