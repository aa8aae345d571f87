"""The list of chats: what each is called, how it ended, what is unread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apps.viewmodels.later import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_SNIPPET, MAX_TITLE, brief, initials, one_line, shade
from sync.service import models
from sync.service.api import KithkinError, Service

PAUSE = 0.1  # seconds between two readings of the list while much happens
QUIET = 3.0  # seconds after which a progress without an end is over
MAX_BADGE = 99
MAX_ROWS = 300


@dataclass(frozen=True, slots=True)
class Row:
    """`badge` is "" where nothing is unread; `invited` marks an invitation that waits for an answer."""

    id: str
    title: str
    initials: str
    shade: int
    preview: str
    time: str
    badge: str
    kind: models.ChatKind
    invited: bool = False


@dataclass(frozen=True, slots=True)
class ChatsState:
    """`progress` is a sentence while history or the index is coming in."""

    rows: tuple[Row, ...] = ()
    loaded: bool = False
    progress: str = ""
    problem: str = ""


class Chats(ViewModel[ChatsState]):
    def __init__(self, service: Service, now: Callable[[], datetime]) -> None:
        super().__init__(ChatsState())
        self._service = service
        self._now = now
        self._reading = Coalesced(self.load, PAUSE)
        self._known: dict[str, models.Chat] = {}
        self._quiet: asyncio.TimerHandle | None = None

    async def load(self) -> None:
        try:
            chats = (await self._service.chats()).chats
        except KithkinError as error:
            self._become(problem=error.message)
            return
        self._known = {chat.id: chat for chat in chats}
        # An invitation waits for me, so it stands before what only waits to be read.
        listed = [chat for chat in chats if chat.state == "invited"] + [c for c in chats if c.state != "invited"]
        self._become(rows=tuple(row_of(chat, self._now()) for chat in listed[:MAX_ROWS]), loaded=True, problem="")

    def touched(self) -> None:
        """Something happened that the list may show."""
        self._reading.ask()

    async def settled(self) -> None:
        await self._reading.settled()

    def progress(self, what: str, done: int, total: int) -> None:
        """Shown until it is complete, or until nothing more was heard of it for a moment."""
        if self._quiet is not None:
            self._quiet.cancel()
        if total and done >= total:
            self._become(progress="")
            return
        self._become(progress=f"{what.capitalize()}: {done} of {total}" if total else f"{what.capitalize()}: {done}")
        self._quiet = asyncio.get_running_loop().call_later(QUIET, lambda: self._become(progress=""))

    def title_of(self, chat: str) -> str:
        known = self._known.get(chat)
        return one_line(known.title, MAX_TITLE) if known is not None else "Chat"

    def get(self, chat: str) -> models.Chat | None:
        return self._known.get(chat)

    def close(self) -> None:
        self._reading.close()
        if self._quiet is not None:
            self._quiet.cancel()


def row_of(chat: models.Chat, now: datetime) -> Row:
    title = one_line(chat.title, MAX_TITLE)
    badge = "" if not chat.unread else f"{MAX_BADGE}+" if chat.unread > MAX_BADGE else str(chat.unread)
    return Row(
        id=chat.id,
        title=title,
        initials=initials(title),
        shade=shade(title),
        preview=preview_of(chat),
        time=brief(chat.last, now),
        badge=badge,
        kind=chat.kind,
        invited=chat.state == "invited",
    )


def preview_of(chat: models.Chat) -> str:
    if chat.state == "invited":
        return "Invites you to this group"
    if chat.state in ("left", "removed"):
        return "You left this group" if chat.state == "left" else "You are no longer in this group"
    if chat.last is None:
        return {"self": "Notes that all your devices have", "direct": "Say hello", "group": "No messages yet"}[
            chat.kind
        ]
    if not chat.preview:
        return "Deleted message"
    text = one_line(chat.preview, MAX_SNIPPET)
    who = one_line(chat.preview_author, 24)
    return f"{who}: {text}" if chat.kind == "group" and who else text
