"""The steps of a pairing or an invite, as whoever waits for them sees them: the next one, or why there is none."""

from __future__ import annotations

import asyncio

from identity.errors import KithkinError
from sync.engine.effects import OnboardingFailed, OnboardingStep

TIMEOUT = KithkinError(
    "timeout", "Nobody answered in time; is the other side still waiting, and can the two reach each other?"
)


async def next_step(steps: asyncio.Queue[OnboardingStep], deadline: float) -> OnboardingStep:
    """deadline: by the loop's clock.  Raises `timeout`."""
    left = deadline - asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(max(left, 0.001)):
            return await steps.get()
    except TimeoutError:
        raise TIMEOUT from None


def refusal(step: OnboardingStep) -> KithkinError:
    """The error of a step that is not the one waited for."""
    return KithkinError(step.code, step.sentence) if isinstance(step, OnboardingFailed) else TIMEOUT
