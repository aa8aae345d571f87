"""An opened profile on the screen: follows the service's events and hands each to the parts that show it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from apps.viewmodels.approval import Approve
from apps.viewmodels.backup import BackUp
from apps.viewmodels.chat import Chat
from apps.viewmodels.chats import Chats
from apps.viewmodels.devices import Devices
from apps.viewmodels.groups import NewGroup
from apps.viewmodels.invites import Accept, Invite
from apps.viewmodels.members import Members
from apps.viewmodels.pages import Page, PageKind, Pages
from apps.viewmodels.search import Search
from sync.service import models
from sync.service.api import KithkinError, Service


def wall_clock() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


class Session:
    """`start`, use the parts, `stop`.

    lost: called with a sentence (or "") if the service ends by itself.  now: the moment, for all times that are shown.
    """

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
        self.backup = BackUp(service)

    async def start(self) -> None:
        """Follows the events and loads the list.  Raises what the service refuses with."""
        # Followed from before anything is read, so that nothing is missed in between.
        events = self.service.events()
        self._pump = asyncio.create_task(self._follow(events))
        await asyncio.sleep(0)
        await self.chats.load()
        await self.devices.load()

    async def stop(self) -> None:
        """Ends everything that is under way; the service stays open."""
        if self._pump is not None and self._pump is not asyncio.current_task():
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        for chat in self._chats.values():
            chat.close()
        for part in (self.chats, self.search, self.accept, self.approve, self.devices, self.members, self.group):
            part.close()

    async def _follow(self, events: AsyncIterator[models.Event]) -> None:
        problem = ""
        try:
            async for event in events:
                self.take(event)
        except KithkinError as error:
            problem = error.message
        self._lost(problem)

    def take(self, event: models.Event) -> None:
        """Hands an event to the parts that show something of it."""
        match event:
            case models.MessageEvent() | models.GoneEvent():
                self.chats.take(event)
                self._tell_chat(event)
            case models.StatusEvent():
                self._tell_chat(event)
            case models.ChatEvent(chat=chat):
                self.chats.take(event)
                if chat.id in self._chats:
                    self._chats[chat.id].changed(chat)
                self.members.touched(chat.id)
            case models.ContactEvent(contact=contact, notice=notice):
                if notice:
                    self.devices.told(notice)
                self.chats.reload()  # titles follow names
                self.group.contact(contact)
            case models.PeerEvent(peer=peer, connected=connected):
                self.devices.peer(peer, connected)
            case models.DeviceEvent(device=device, notice=notice):
                self.devices.changed(device, notice)
            case models.ProgressEvent(what=what, done=done, total=total):
                if what == "backup":
                    self.backup.progress(done)
                else:
                    self.chats.progress(what, done, total)
            case models.GapEvent(chat=of):
                self._gap(of)

    def _tell_chat(self, event: models.MessageEvent | models.GoneEvent | models.StatusEvent) -> None:
        if event.chat in self._chats:
            self._chats[event.chat].take(event)

    def _gap(self, of: str | None) -> None:
        """Events of that chat, or any, were lost: what is shown is read again, the rest when it is opened."""
        self.chats.reload()
        for id_, chat in self._chats.items():
            if of in (None, id_):
                chat.forget_quotes()
        for page in self.pages.state.pages:
            if page.kind is PageKind.CHAT and of in (None, page.id) and page.id in self._chats:
                self._chats[page.id].gap()
            elif page.kind is PageKind.MEMBERS and of in (None, page.id):
                self.members.touched(page.id)
        if of is None:
            self.devices.reload()
            self.group.reload()

    # ---- pages

    def chat(self, id_: str) -> Chat:
        """The view-model of a chat, kept until the session stops, and with it the draft and what is loaded."""
        found = self._chats.get(id_)
        if found is None:
            found = self._chats[id_] = Chat(self.service, id_, self.now)
        return found

    async def show_chat(self, id_: str, message: str | None = None) -> None:
        """Opens a chat directly above the list, at a message if one is named."""
        chat = self.chat(id_)
        await chat.open(message)
        top = self.pages.state.top
        if message is not None and top.kind is PageKind.SEARCH:
            self.pages.open(Page(PageKind.CHAT, id_))  # so that "back" leads to the results
        else:
            self.pages.show(Page(PageKind.CHAT, id_))

    async def show(self, kind: PageKind, id_: str = "") -> None:
        """Opens a page other than a chat, in its first state."""
        match kind:
            case PageKind.INVITE:
                self.invite.reset()
            case PageKind.ACCEPT:
                self.accept.reset()
            case PageKind.GROUP:
                await self.group.load()
            case PageKind.DEVICE:
                self.approve.reset()
            case PageKind.BACKUP:
                self.backup.reset()
            case PageKind.SETTINGS:
                await self.devices.load()
            case PageKind.MEMBERS:
                await self.members.load(id_)
            case PageKind.CHATS | PageKind.CHAT | PageKind.SEARCH | PageKind.TEXT:
                pass
        self.pages.open(Page(kind, id_))

    async def delete_chat(self) -> None:
        """Deletes the chat whose members are shown from my devices, once that was agreed to, and leads to the list."""
        id_ = self.members.state.chat
        if await self.members.delete_chat():
            gone = self._chats.pop(id_, None)  # with what was loaded and written there
            if gone is not None:
                gone.close()
            while self.pages.back():
                pass

    def back(self) -> bool:
        """Leaves the top page.  Whether there was one to go back to."""
        top = self.pages.state.top
        if top.kind is PageKind.ACCEPT:
            self.accept.close()
        elif top.kind is PageKind.DEVICE:
            self.approve.close()
        return self.pages.back()
