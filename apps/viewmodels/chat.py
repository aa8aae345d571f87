"""One chat: the loaded part of its timeline, what is being written, and what may be done.

Events bring whole messages, which are put at their place in the excerpt; pages are read when somebody opens the chat or
scrolls, and once where events were lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime

from apps.viewmodels.bubbles import Bubble, Quote, bubbles_of, quote_of
from apps.viewmodels.coalesced import Coalesced
from apps.viewmodels.excerpt import MAX_MESSAGES, Excerpt
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, clean, initials, one_line, shade
from sync.service import models
from sync.service.api import KithkinError, Service

PAGE = 60
MAX_QUOTES = 500
INVITED = "You are invited to this group. If you join, its members will see your name."
GO_ON = "If you join, you go on there; the messages so far stay."
RESTARTS = (
    "You become the creator of a new group. Everybody who is here comes along by themselves; no lost device does. "
    "The messages so far stay in this chat, but can't be edited any more."
)
UNAVAILABLE = Quote("", "This message is not available")
"""The quote of a message that was deleted here, or that never came."""


@dataclass(frozen=True, slots=True)
class ChatState:
    """`target`: the message that a search led to. `reply_to` and `editing` are message ids of the composer, `quoted`
    is the text of either; the composer's field takes `draft` whenever `round` rises. `full_text`: a long
    message in full. `notice`: a sentence about the chat that its members should know. `invitation`: what joining means.
    `may_restart`: the group should be restarted by me; `asks`: a question to be answered before that. `older` and
    `newer`: the timeline goes on beyond the bubbles."""

    title: str = ""
    subtitle: str = ""
    notice: str = ""
    invitation: str = ""
    may_restart: bool = False
    asks: str = ""
    initials: str = ""
    shade: int = 0
    kind: models.ChatKind = "direct"
    state: models.ChatState = "active"
    bubbles: tuple[Bubble, ...] = ()
    older: bool = False
    newer: bool = False
    target: str = ""
    reply_to: str = ""
    quoted: Quote | None = None
    editing: str = ""
    draft: str = ""
    round: int = 0
    full_text: str = ""
    busy: bool = False
    problem: str = ""


Event = models.MessageEvent | models.StatusEvent | models.GoneEvent


class Chat(ViewModel[ChatState]):
    """`open` it before anything else; `take` every event of this chat from then on, `close` at the end.

    now: the moment, for headings such as "Today".
    """

    def __init__(self, service: Service, id_: str, now: Callable[[], datetime]) -> None:
        super().__init__(ChatState())
        self.id = id_
        self._service = service
        self._now = now
        self._me = ""
        self._known: models.Chat | None = None
        self._excerpt = Excerpt()
        self._quotes: dict[str, Quote] = {}  # of messages outside the excerpt
        self._marked: str | None = None
        self._visible = False
        self._reading = asyncio.Lock()
        self._meanwhile: list[Event] = []
        self._drawing = Coalesced(self._draw_soon)
        self._refreshing = Coalesced(self._refresh)
        self._quoting = Coalesced(self._read_quotes)
        self._marking = Coalesced(self._mark)

    # ---- opening and moving

    async def open(self, message: str | None = None) -> None:
        """Shows the newest messages, or those around one."""
        try:
            if not self._me:
                self._me = (await self._service.profile()).identity
            for chat in (await self._service.chats()).chats:
                if chat.id == self.id:
                    self._describe(chat)
            if self.state.state == "invited":
                return
            self._become(problem="")
            if message is not None:
                await self._read_around(message)
            elif self._excerpt.newer:
                await self.newest()
            else:
                await self._refresh()
        except KithkinError as error:
            self._become(problem=error.message)

    async def _read_around(self, message: str) -> None:
        """Reads a page whose middle is that message.  `read` leaves out the message that it counts from."""
        async with self._read(target=message):
            middle = await self._service.message(message, chat=self.id)
            older = await self._service.read(self.id, before=message, limit=PAGE // 2)
            newer = await self._service.read(self.id, after=message, limit=PAGE // 2 - 1)
            found = [*older.messages, middle, *newer.messages]
            self._excerpt.replace(found, older=older.more, newer=newer.more)

    async def load_older(self) -> None:
        """Reads the page before the first message, where there is one."""
        if not self._excerpt.older or self.state.busy:
            return
        with self._working():
            async with self._read():
                if len(self._excerpt):
                    page = await self._service.read(self.id, before=self._excerpt.first.id, limit=PAGE)
                    self._excerpt.extend_older(page.messages, more=page.more)

    async def load_newer(self) -> None:
        """Reads the page after the last message, where there is one."""
        if not self._excerpt.newer or self.state.busy:
            return
        with self._working():
            async with self._read():
                if len(self._excerpt):
                    page = await self._service.read(self.id, after=self._excerpt.last.id, limit=PAGE)
                    self._excerpt.extend_newer(page.messages, more=page.more)

    async def newest(self) -> None:
        """Goes to the end of the timeline, if it is not loaded."""
        if self._excerpt.newer:
            async with self._read(target=""):
                await self._read_newest(PAGE)

    async def _refresh(self) -> None:
        """Reads again what is loaded, with one call: after a gap in the events, or where names and rights changed."""
        if self.state.state == "invited":
            return
        excerpt = self._excerpt
        try:
            async with self._read():
                if excerpt.newer and len(excerpt):
                    await self._read_in_place()
                else:
                    await self._read_newest(min(MAX_MESSAGES, max(PAGE, len(excerpt) + 1)))
        except KithkinError as error:
            self._become(problem=error.message)

    async def _read_newest(self, limit: int) -> None:
        page = await self._service.read(self.id, limit=limit)
        self._excerpt.replace(page.messages, older=page.more, newer=False)

    async def _read_in_place(self) -> None:
        """As many messages as are loaded, from behind the same first one on; the newest where that one has gone.  The
        first itself, and what came before it, are read when somebody scrolls there."""
        first = self._excerpt.first
        try:
            page = await self._service.read(self.id, after=first.id, limit=max(1, len(self._excerpt) - 1))
        except KithkinError as error:
            if error.code != "not_found":
                raise
            await self._read_newest(PAGE)
        else:
            self._excerpt.replace(page.messages, older=True, newer=page.more)

    @contextlib.asynccontextmanager
    async def _read(self, **changes: object) -> AsyncIterator[None]:
        """For a block that reads pages into the excerpt, one block at a time; `changes` of the state follow it.  Events
        that come while it waits may be newer than its pages, so they are taken again after it."""
        async with self._reading:
            self._meanwhile.clear()
            yield
            for event in self._meanwhile:
                self._put(event)
            self._draw(**changes)

    def _draw(self, **changes: object) -> None:
        """Makes the bubbles of the excerpt, and asks for what they quote and for a read mark."""
        excerpt, named = self._excerpt, self.state.kind == "group"
        bubbles = bubbles_of(excerpt.messages, named=named, me=self._me, find=self._quote, now=self._now())
        self._become(bubbles=bubbles, older=excerpt.older, newer=excerpt.newer, **changes)
        if self._unknown_quotes():
            self._quoting.ask()
        self._seen()

    async def _draw_soon(self) -> None:
        """Once for all events that came together."""
        self._draw()

    # ---- quotes of replies

    def _quote(self, id_: str) -> Quote | None:
        held = self._excerpt.get(id_)
        return quote_of(held) if held is not None else self._quotes.get(id_)

    def _unknown_quotes(self) -> list[str]:
        replies = (message.reply_to for message in self._excerpt if not message.deleted)
        return list(dict.fromkeys(id_ for id_ in replies if id_ is not None and self._quote(id_) is None))

    async def _read_quotes(self) -> None:
        """Reads what is quoted and not loaded, each message once."""
        for id_ in self._unknown_quotes():
            try:
                self._quotes[id_] = quote_of(await self._service.message(id_, chat=self.id))
            except KithkinError as error:
                if error.code != "not_found":
                    return
                self._quotes[id_] = UNAVAILABLE
        while len(self._quotes) > MAX_QUOTES:
            del self._quotes[next(iter(self._quotes))]
        self._draw()

    # ---- events

    def take(self, event: Event) -> None:
        """A message came, looks different now, or is no longer shown."""
        if self._reading.locked():
            self._meanwhile.append(event)
        if isinstance(event, models.MessageEvent) and event.message.unread:
            self._marked = None  # wherever it stands: what is seen is to be marked once more
        if self._put(event):
            self._drawing.ask()
            if self._excerpt.is_emptied:
                self._refreshing.ask()

    def _put(self, event: Event) -> bool:
        """Whether something that is drawn has changed."""
        match event:
            case models.MessageEvent(message=message):
                quoted = message.id in self._quotes
                if quoted:
                    self._quotes[message.id] = quote_of(message)
                return self._excerpt.put(message) or quoted
            case models.GoneEvent(id=id_):
                quoted = id_ in self._quotes
                if quoted:
                    self._quotes[id_] = UNAVAILABLE
                return self._excerpt.remove(id_) or quoted
            case models.StatusEvent(id=id_, state=state):
                return self._excerpt.set_state(id_, state)

    def forget_quotes(self) -> None:
        """Events were lost: a quoted message may be another, or gone."""
        self._quotes.clear()

    def gap(self) -> None:
        """Events were lost: what is loaded is read again."""
        if self._excerpt.loaded:
            self.forget_quotes()
            self._refreshing.ask()

    def changed(self, chat: models.Chat) -> None:
        """The list says something else about this chat."""
        before = self._known
        self._describe(chat)
        # With these, names of authors, what counts and who must have a message may change in every row.
        if (
            before is not None
            and shape_of(before) != shape_of(chat)
            and (self._excerpt.loaded or chat.state == "active")
        ):
            self._refreshing.ask()

    def _describe(self, chat: models.Chat) -> None:
        self._known = chat
        title = one_line(chat.title, MAX_TITLE)
        # Whoever joined can write once a device of a member has admitted the new feed.
        count = "Joining…" if not chat.members else "1 member" if chat.members == 1 else f"{chat.members} members"
        self._become(
            title=title,
            initials=initials(title),
            shade=shade(title),
            kind=chat.kind,
            state=chat.state,
            notice=" ".join(said for said in (chat.notice if chat.state != "invited" else "", chat.reason) if said),
            invitation=f"{chat.notice} {GO_ON}" if chat.notice and chat.state == "invited" else INVITED,
            may_restart=chat.may_restart,
            asks=self.state.asks if chat.may_restart else "",
            subtitle={"self": "Synced to all your devices", "direct": "", "group": count}[chat.kind],
        )

    # ---- reading

    def visible(self, visible: bool) -> None:
        """Whether a person can see the end of what is loaded now."""
        self._visible = visible
        self._seen()

    def _seen(self) -> None:
        excerpt = self._excerpt
        if self._visible and len(excerpt) and not excerpt.newer and excerpt.last.id != self._marked:
            self._marking.ask()

    async def _mark(self) -> None:
        if not len(self._excerpt):
            return
        last = self._excerpt.last.id
        try:
            await self._service.mark(self.id, upto=last)
            self._marked = last
        except KithkinError as error:
            self._become(problem=error.message)

    async def settled(self) -> None:
        """Returns once nothing is being read or drawn any more."""
        for work in (self._refreshing, self._drawing, self._quoting, self._marking):
            await work.settled()

    def close(self) -> None:
        """Ends what is under way."""
        for work in (self._refreshing, self._drawing, self._quoting, self._marking):
            work.close()

    # ---- writing

    def keep_draft(self, text: str) -> None:
        """Keeps what stands in the composer when it is left."""
        self._become(draft=text)

    async def send(self, text: str) -> None:
        """Sends, or ends an edit.  What cannot be sent stays in the composer."""
        if not text.strip() or self.state.busy:
            return
        state = self.state
        with self._working():
            if state.editing:
                await self._service.edit(self.id, state.editing, text)
            else:
                await self._service.send(self.id, text, reply=state.reply_to or None)
            self._compose("")
        if not self.state.problem:
            await self.newest()

    def _compose(self, draft: str, **changes: object) -> None:
        blank: dict[str, object] = {"reply_to": "", "quoted": None, "editing": ""}
        self._become(draft=draft, round=self.state.round + 1, problem="", **{**blank, **changes})

    def reply(self, id_: str, draft: str) -> None:
        """What is sent next is a reply to that message.  draft: what stands in the composer already."""
        self._compose(draft, reply_to=id_, quoted=self._quote(id_))

    def begin_edit(self, id_: str) -> None:
        """Puts the text of a message of mine into the composer."""
        message = self._excerpt.get(id_)
        if message is not None and message.mine and not message.deleted:
            self._compose(message.text, editing=id_, quoted=quote_of(message))

    def drop(self) -> None:
        """Ends a reply or an edit without sending it."""
        self._compose("" if self.state.editing else self.state.draft)

    def text_of(self, id_: str) -> str:
        """The text of a loaded message in full, fit to draw; "" for any other id."""
        message = self._excerpt.get(id_)
        return clean(message.text) if message is not None else ""

    def show_full_text(self, id_: str) -> None:
        """Puts the text of a loaded message into `full_text`."""
        self._become(full_text=self.text_of(id_))

    # ---- acting on messages and on the chat

    async def react(self, id_: str, emoji: str) -> None:
        """Puts my reaction on a message, or takes it back where it is there."""
        with self._working():
            await self._service.react(self.id, id_, emoji)

    async def delete(self, id_: str, *, everyone: bool) -> None:
        """Hides a message on my devices, or deletes it for all members."""
        with self._working():
            await self._service.delete(self.id, id_, everyone=everyone)
            if not everyone:
                self.take(models.GoneEvent(chat=self.id, id=id_))

    async def cancel(self, id_: str) -> None:
        """Withdraws a message that no other device has yet."""
        with self._working():
            await self._service.cancel(self.id, id_)
            self.take(models.GoneEvent(chat=self.id, id=id_))

    async def join(self) -> str:
        """Accepts the invitation to this group, and opens it.  The id under which it is shown then: another one where a
        chat of mine goes on in this group; "" where nothing was done."""
        if self.state.state != "invited" or self.state.busy:
            return ""
        joined = ""
        with self._working():
            joined = (await self._service.chat_join(self.id)).chat
        if not self.state.problem and joined == self.id:
            await self.open()
        return joined

    def ask_to_restart(self) -> None:
        """Says what a restart does, and asks."""
        if self.state.may_restart:
            self._become(asks=RESTARTS)

    def keep_as_it_is(self) -> None:
        """The question was answered by no."""
        self._become(asks="")

    async def restart(self) -> None:
        """The question was answered by yes."""
        if not self.state.asks or self.state.busy:
            return
        with self._working():
            said = (await self._service.chat_restart(self.id)).asks
            self._become(asks="", may_restart=False, notice=said)

    async def decline(self) -> bool:
        """Declines the invitation to this group.  Whether that was done."""
        if self.state.state != "invited" or self.state.busy:
            return False
        with self._working():
            await self._service.chat_decline(self.id)
        return not self.state.problem


def shape_of(chat: models.Chat) -> tuple[object, ...]:
    """What of a chat, apart from its messages, shows in their bubbles."""
    return chat.title, chat.state, chat.members
