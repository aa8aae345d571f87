"""The steps of a pairing or an invite, as whoever waits for them sees them: the next one, or why there is none."""

from __future__ import annotations

import asyncio

from identity.errors import KithkinError
from identity.inner import Failed

TIMEOUT = KithkinError(
    "timeout", "Nobody answered in time; is the other side still waiting, and can the two reach each other?"
)


async def next_step(steps: asyncio.Queue[object], deadline: float) -> object:
    """deadline: by the loop's clock.  Raises `timeout`."""
    left = deadline - asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(max(left, 0.001)):
            return await steps.get()
    except TimeoutError:
        raise TIMEOUT from None


def failure_of(step: object) -> object:
    """What a step says of how it ended; steps that come with what they are about are pairs."""
    return step[0] if isinstance(step, tuple) else step


def refusal(step: object) -> KithkinError:
    """The error of a step that is not the one waited for."""
    failure = failure_of(step)
    return KithkinError(failure.code, failure.sentence) if isinstance(failure, Failed) else TIMEOUT
