"""An opened profile on the screen: hears the service's events and hands them to the pages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from apps.viewmodels.chat import Chat
from apps.viewmodels.chats import Chats
from apps.viewmodels.devices import Devices
from apps.viewmodels.groups import NewGroup
from apps.viewmodels.members import Members
from apps.viewmodels.pages import Kind, Page, Pages
from apps.viewmodels.people import Accept, Invite
from apps.viewmodels.search import Search
from apps.viewmodels.sharing import Approve
from sync.service import models
from sync.service.api import KithkinError, Service


def wall_clock() -> datetime:
    return datetime.now(UTC)


class Session:
    """`start`, use the parts, `stop`.  `lost(sentence)` is called if the service ends by itself."""

    def __init__(
        self, service: Service, lost: Callable[[str], None], *, now: Callable[[], datetime] = wall_clock
    ) -> None:
        self.service = service
        self.now = now
        self._lost = lost
        self._pump: asyncio.Task[None] | None = None
        self._chats: dict[str, Chat] = {}
        self.pages = Pages()
        self.chats = Chats(service, now)
        self.invite = Invite(service, now)
        self.accept = Accept(service, self.show_chat)
        self.approve = Approve(service)
        self.group = NewGroup(service, self.show_chat)
        self.search = Search(service, self.chats, now)
        self.devices = Devices(service, now)
        self.members = Members(service)

    async def start(self) -> None:
        # Heard from before anything is read, so that nothing is missed in between.
        events = self.service.events()
        self._pump = asyncio.create_task(self._hear(events))
        await asyncio.sleep(0)
        await self.chats.load()
        await self.devices.load()

    async def stop(self) -> None:
        if self._pump is not None and self._pump is not asyncio.current_task():
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        for chat in self._chats.values():
            chat.close()
        for part in (self.chats, self.search, self.accept, self.approve, self.devices):
            part.close()

    async def _hear(self, events: AsyncIterator[models.Event]) -> None:
        problem = ""
        try:
            async for event in events:
                self.take(event)
        except KithkinError as error:
            problem = error.message
        self._lost(problem)

    def take(self, event: models.Event) -> None:
        match event:
            case models.MessageEvent(chat=chat, message=message, new=new):
                self.chats.touched()
                if chat in self._chats:
                    self._chats[chat].message(message, new)
            case models.StatusEvent(chat=chat, id=id_, state=state):
                if chat in self._chats:
                    self._chats[chat].status(id_, state)
            case models.ChatEvent(chat=chat_model):
                self.chats.touched()
                if chat_model.id in self._chats:
                    self._chats[chat_model.id].changed(chat_model)
                self.members.touched(chat_model.id)
            case models.ContactEvent():
                self.chats.touched()
                self.group.touched()
            case models.PeerEvent(peer=peer, connected=connected):
                self.devices.peer(peer, connected)
            case models.DeviceEvent(notice=notice):
                self.devices.changed(notice)
            case models.ProgressEvent(what=what, done=done, total=total):
                self.chats.progress(what, done, total)

    # ---- where to go

    def chat(self, id_: str) -> Chat:
        """The view-model of a chat, kept while the session lasts: its draft and its place stay."""
        found = self._chats.get(id_)
        if found is None:
            found = self._chats[id_] = Chat(self.service, id_, self.now)
        return found

    async def show_chat(self, id_: str, message: str | None = None) -> None:
        """Opens a chat straight above the list; at a message, if one is named."""
        chat = self.chat(id_)
        await chat.open(message)
        top = self.pages.state.top
        if message is not None and top.kind is Kind.SEARCH:
            self.pages.open(Page(Kind.CHAT, id_))  # so that back leads to what was found
        else:
            self.pages.show(Page(Kind.CHAT, id_))

    async def show(self, kind: Kind, id_: str = "") -> None:
        """Opens another page, fresh."""
        match kind:
            case Kind.INVITE:
                self.invite.reset()
            case Kind.ACCEPT:
                self.accept.reset()
            case Kind.GROUP:
                await self.group.load()
            case Kind.DEVICE:
                self.approve.reset()
            case Kind.SETTINGS:
                await self.devices.load()
            case Kind.MEMBERS:
                await self.members.load(id_)
            case Kind.CHATS | Kind.CHAT | Kind.SEARCH | Kind.TEXT:
                pass
        self.pages.open(Page(kind, id_))

    def back(self) -> bool:
        top = self.pages.state.top
        if top.kind is Kind.ACCEPT:
            self.accept.close()
        elif top.kind is Kind.DEVICE:
            self.approve.close()
        return self.pages.back()
