"""Meeting somebody: an invite to show, an invite to accept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from apps.viewmodels.model import ViewModel
from apps.viewmodels.pictures import modules, read_picture
from apps.viewmodels.words import lasts
from sync.service.api import KithkinError, Service

ACCEPT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class InviteState:
    """`text` and `code` once there is one; `lasts` says how long it holds."""

    text: str = ""
    code: tuple[tuple[bool, ...], ...] = ()
    lasts: str = ""
    busy: bool = False
    problem: str = ""


class Invite(ViewModel[InviteState]):
    def __init__(self, service: Service, now: Callable[[], datetime]) -> None:
        super().__init__(InviteState())
        self._service = service
        self._now = now

    def reset(self) -> None:
        self._become(text="", code=(), lasts="", problem="")

    async def create(self) -> None:
        if self.state.busy:
            return
        with self._working():
            made = await self._service.contact_invite()
            self._become(text=made.invite, code=modules(made.invite), lasts=lasts(made.expires, self._now()))


@dataclass(frozen=True, slots=True)
class AcceptState:
    busy: bool = False
    problem: str = ""


class Accept(ViewModel[AcceptState]):
    """`met(chat)` follows once both sides list each other."""

    def __init__(self, service: Service, met: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(AcceptState())
        self._service = service
        self._met = met
        self._work: asyncio.Task[None] | None = None

    def reset(self) -> None:
        self.close()
        self._become(problem="", busy=False)

    def close(self) -> None:
        """Whoever leaves the page waits no longer."""
        if self._work is not None:
            self._work.cancel()

    async def accept(self, text: str) -> None:
        await self._accept(text, None)

    async def accept_picture(self, path: str) -> None:
        await self._accept("", Path(path).expanduser())

    async def _accept(self, text: str, picture: Path | None) -> None:
        if self.state.busy:
            return
        self._work = asyncio.current_task()
        chat = ""
        try:
            with self._working():
                if picture is not None:
                    text = await asyncio.to_thread(read_picture, picture)
                if not text.strip():
                    raise KithkinError("not_an_invite", "Paste an invite, or choose a picture of one.")
                chat = (await self._service.contact_accept(text.strip(), wait=ACCEPT_SECONDS)).chat
        finally:
            self._work = None
        if chat:
            await self._met(chat)
