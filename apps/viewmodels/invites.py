"""Invites: making one for somebody to accept, and accepting one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from apps.viewmodels.model import ViewModel
from apps.viewmodels.pictures import modules, read_picture
from apps.viewmodels.words import time_left
from sync.service.api import KithkinError, Service

ACCEPT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class InviteState:
    """`text` and `code` (the modules of its QR) once there is one; `valid_for` says how long."""

    text: str = ""
    code: tuple[tuple[bool, ...], ...] = ()
    valid_for: str = ""
    busy: bool = False
    problem: str = ""


class Invite(ViewModel[InviteState]):
    """`create` makes an invite; `reset` forgets it.  now: the moment, for `valid_for`."""

    def __init__(self, service: Service, now: Callable[[], datetime]) -> None:
        super().__init__(InviteState())
        self._service = service
        self._now = now

    def reset(self) -> None:
        """Forgets the invite that was made; it stays valid."""
        self._become(text="", code=(), valid_for="", problem="")

    async def create(self) -> None:
        """Makes an invite for one person."""
        if self.state.busy:
            return
        with self._working():
            made = await self._service.contact_invite()
            self._become(text=made.invite, code=modules(made.invite), valid_for=time_left(made.expires, self._now()))


@dataclass(frozen=True, slots=True)
class AcceptState:
    """`busy` while the other person's device is awaited."""

    busy: bool = False
    problem: str = ""


class Accept(ViewModel[AcceptState]):
    """`accepted(chat)` is called once both sides list each other."""

    def __init__(self, service: Service, accepted: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(AcceptState())
        self._service = service
        self._accepted = accepted
        self._work: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """For another invite."""
        self.close()
        self._become(problem="", busy=False)

    def close(self) -> None:
        """Withdraws what is under way."""
        if self._work is not None:
            self._work.cancel()

    async def accept(self, text: str) -> None:
        """Accepts the invite of a text, and waits for its maker."""
        await self._accept(text, None)

    async def accept_picture(self, path: str) -> None:
        """As `accept`, with the text of the QR code in a picture file."""
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
            await self._accepted(chat)
