"""Approving another device of mine: read its code, say what it gets, show the six digits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from apps.viewmodels.model import ViewModel
from apps.viewmodels.pictures import read_picture
from sync.service import models
from sync.service.api import KithkinError, Service

APPROVE_SECONDS = 300.0


class ApprovalStep(StrEnum):
    """What is on the screen: a field for the code, what approving grants, and so on."""

    READ = "read"
    CONFIRM = "confirm"
    CONNECT = "connect"
    DIGITS = "digits"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ApproveState:
    """`grants`: what the new device would get, in sentences; `digits`: to be typed there."""

    step: ApprovalStep = ApprovalStep.READ
    grants: tuple[str, ...] = ()
    history: models.History = "all"
    digits: str = ""
    busy: bool = False
    problem: str = ""


class Approve(ViewModel[ApproveState]):
    """`read` a code, `confirm` what it grants, and wait until the digits were typed on the new device."""

    def __init__(self, service: Service) -> None:
        super().__init__(ApproveState())
        self._service = service
        self._text = ""
        self._work: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """For another device."""
        self.close()
        self._text = ""
        self._become(step=ApprovalStep.READ, grants=(), history="all", digits="", problem="", busy=False)

    def close(self) -> None:
        """Withdraws what is under way."""
        if self._work is not None:
            self._work.cancel()

    async def read(self, text: str) -> None:
        """Reads the code of the new device and says what it would get.  Nothing has happened yet."""
        if self._may_read():
            with self._working():
                await self._look(text.strip(), self.state.history)

    def _may_read(self) -> bool:
        # A picture may be dropped at any moment, also while the digits are shown.
        return not self.state.busy and self.state.step in (ApprovalStep.READ, ApprovalStep.CONFIRM)

    async def read_picture(self, path: str) -> None:
        """As `read`, with the text of the QR code in a picture file."""
        if not self._may_read():
            return
        with self._working():
            await self._look(await asyncio.to_thread(read_picture, Path(path).expanduser()), self.state.history)

    async def set_history(self, history: models.History) -> None:
        """Whether it gets past messages."""
        if self.state.step is ApprovalStep.CONFIRM and not self.state.busy:
            with self._working():
                await self._look(self._text, history)

    async def _look(self, text: str, history: models.History) -> None:
        if not text:
            raise KithkinError("not_a_pair_code", "Paste the code of the new device, or choose a picture of it.")
        async with self._service.device_approve(text, history=history) as approval:
            grant = approval.grant
        self._text = text
        self._become(step=ApprovalStep.CONFIRM, grants=tuple(grant.grants), history=grant.history)

    async def confirm(self) -> None:
        """Connects, shows the digits, and waits until they were typed."""
        if self.state.step is not ApprovalStep.CONFIRM or self.state.busy:
            return
        self._work = asyncio.current_task()
        done = False
        self._become(step=ApprovalStep.CONNECT)
        try:
            with self._working():
                async with self._service.device_approve(
                    self._text, history=self.state.history, wait=APPROVE_SECONDS
                ) as approval:
                    digits = (await approval.confirm()).code
                    self._become(step=ApprovalStep.DIGITS, digits=digits)
                    await approval.done()
                    done = True
        finally:
            self._work = None
            self._become(step=ApprovalStep.DONE if done else ApprovalStep.READ, digits="")
