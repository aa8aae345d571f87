"""A service without an engine, whose messages a test sets and whose calls it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from apps.viewmodels.chat import Chat
from sync.service import models
from sync.service.api import KithkinError, Service

AT = datetime(2026, 3, 3, 12, tzinfo=UTC)
CHAT = "chat_a"
ME, BEN = "id_me", "id_ben"


def message(number: int, text: str = "", *, mine: bool = False, **changes: Any) -> models.Message:
    """The message that stands at the place `number` of the timeline."""
    fields: dict[str, Any] = {
        "id": f"msg_{number}",
        "author": ME if mine else BEN,
        "author_name": "Me" if mine else "Ben",
        "device": "dev",
        "text": text or f"line {number}",
        "at": AT,
        "state": "queued" if mine else "received",
        "mine": mine,
        "unread": not mine,
        "order": f"{number:06}",
    }
    return models.Message(**{**fields, **changes})


def came(told: models.Message, *, new: bool = True) -> models.MessageEvent:
    """The event that says that a message came, or (new=False) looks different now."""
    return models.MessageEvent(chat=CHAT, message=told, new=new)


class ScriptedService:
    """One chat.  `calls` are the names of all calls, in their order; `hold` makes pages wait after they were made."""

    def __init__(self, *messages: models.Message) -> None:
        self.messages = list(messages)
        self.members = 2
        self.calls: list[str] = []
        self.released = asyncio.Event()
        self.released.set()

    @property
    def face(self) -> Service:
        return cast(Service, self)

    def hold(self) -> None:
        self.released.clear()

    def release(self) -> None:
        self.released.set()

    def chat(self) -> models.Chat:
        newest = self.messages[-1] if self.messages else None
        return models.Chat(
            id=CHAT,
            title="Trip",
            kind="group",
            state="active",
            members=self.members,
            unread=sum(m.unread and not m.deleted for m in self.messages),
            last=newest.at if newest is not None else None,
            preview=newest.text if newest is not None else "",
            preview_author=newest.author_name if newest is not None else "",
            last_order=newest.order if newest is not None else "",
        )

    # ---- the calls

    async def profile(self) -> models.PublicProfile:
        self.calls.append("profile")
        return models.PublicProfile(identity=ME, name="Me", about="")

    async def chats(self) -> models.Chats:
        self.calls.append("chats")
        return models.Chats(chats=[self.chat()])

    async def read(
        self, chat: str, *, limit: int = 50, before: str | None = None, after: str | None = None
    ) -> models.Messages:
        self.calls.append("read")
        found = list(self.messages)
        if before is not None:
            found = found[: self._index(before)]
        if after is not None:
            found = found[self._index(after) + 1 :]
        page = found[:limit] if after is not None else found[-limit:]
        made = models.Messages(messages=page, more=len(found) > limit)
        await self.released.wait()
        return made

    async def message(self, id: str, *, chat: str | None = None) -> models.Message:
        self.calls.append("message")
        return self.messages[self._index(id)]

    async def mark(self, chat: str, *, upto: str | None = None) -> models.ReadUpto:
        self.calls.append("mark")
        return models.ReadUpto(read_upto=upto)

    def _index(self, id_: str) -> int:
        for at, held in enumerate(self.messages):
            if held.id == id_:
                return at
        raise KithkinError("not_found", "There is no such message here.")


async def opened(service: ScriptedService, now: Callable[[], datetime] = lambda: AT) -> Chat:
    """The chat as it is on the screen; the calls that opened it are not counted."""
    chat = Chat(service.face, CHAT, now)
    await chat.open()
    await chat.settled()
    service.calls.clear()
    return chat


def shown(chat: Chat) -> list[str]:
    """The texts of the bubbles."""
    return [bubble.text for bubble in chat.state.bubbles]
