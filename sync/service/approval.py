"""One approval of a new device: nothing happens before `confirm` (`api.Approval`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from identity.errors import KithkinError
from sync.engine.effects import CodeShown, DeviceLinked, OnboardingStep
from sync.service import models
from sync.service.ids import device_id
from sync.service.node import Node
from sync.service.steps import next_step, refusal


class PendingApproval:
    """start: begins the conversation with the new device and returns its number.  It ends with `stack`."""

    def __init__(
        self, node: Node, grant: models.AccessGrant, start: Callable[[], int], stack: AsyncExitStack, wait: float
    ) -> None:
        self._node = node
        self._grant = grant
        self._start = start
        self._stack = stack
        self._wait = wait
        self._steps: asyncio.Queue[OnboardingStep] | None = None
        self._deadline = 0.0

    @property
    def grant(self) -> models.AccessGrant:
        return self._grant

    async def confirm(self) -> models.Digits:
        self._deadline = asyncio.get_running_loop().time() + self._wait
        self._steps = self._stack.enter_context(self._node.steps(self._start()))
        self._node.tick()
        step = await next_step(self._steps, self._deadline)
        if isinstance(step, CodeShown):
            return models.Digits(code=step.code)
        raise refusal(step)

    async def done(self) -> models.Approved:
        if self._steps is None:
            raise KithkinError("not_allowed", "The approval was not confirmed.")
        step = await next_step(self._steps, self._deadline)
        if isinstance(step, DeviceLinked):
            return models.Approved(device=device_id(step.device))
        raise refusal(step)
