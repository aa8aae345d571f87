"""One chat: a window of at most 300 messages on its timeline, what is being written, and what may be done.

The window is kept whole from one end to the other: `older` and `newer` say that the timeline goes on there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apps.viewmodels.bubbles import Bubble, Quote, bubbles_of, quote_of
from apps.viewmodels.later import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_TITLE, clean, initials, one_line, shade
from sync.service import models
from sync.service.api import KithkinError, Service

WINDOW = 300
STEP = 60
MAX_QUOTES = 500
GONE = Quote("", "A message that is not here")


@dataclass(frozen=True, slots=True)
class ChatState:
    """`target`: the message that a search led to.  `answering` and `editing` are message ids of the composer;
    `draft` is what it begins with whenever `round` rises.  `whole`: a long text shown in full."""

    title: str = ""
    subtitle: str = ""
    initials: str = ""
    shade: int = 0
    kind: models.ChatKind = "direct"
    state: models.ChatState = "active"
    bubbles: tuple[Bubble, ...] = ()
    older: bool = False
    newer: bool = False
    target: str = ""
    answering: str = ""
    answered: Quote | None = None
    editing: str = ""
    draft: str = ""
    round: int = 0
    whole: str = ""
    busy: bool = False
    problem: str = ""


class Chat(ViewModel[ChatState]):
    def __init__(self, service: Service, id_: str, now: Callable[[], datetime]) -> None:
        super().__init__(ChatState())
        self.id = id_
        self._service = service
        self._now = now
        self._me = ""
        self._messages: list[models.Message] = []
        self._quotes: dict[str, Quote] = {}
        self._wanted: set[str] = set()
        self._marked: str | None = None
        self._visible = False
        self._catching = Coalesced(self._catch_up)
        self._quoting = Coalesced(self._find_quotes)
        self._marking = Coalesced(self._mark)
        self._whole_again = False

    # ---- opening and moving

    async def open(self, message: str | None = None) -> None:
        """The newest messages, or those around one."""
        if not self._me:
            self._me = (await self._service.profile()).identity
        try:
            for chat in (await self._service.chats()).chats:
                if chat.id == self.id:
                    self.changed(chat)
            if self.state.state == "invited":
                return
            if message is not None:
                await self._around(message)
            elif not self._messages or self.state.newer:
                page = await self._service.read(self.id, limit=STEP)
                self._hold(page.messages, older=page.more, newer=False, target="", problem="")
            else:
                self._whole_again = True
                await self._catch_up()
        except KithkinError as error:
            self._become(problem=error.message)

    async def _around(self, message: str) -> None:
        """A page whose middle is that message.  `read` leaves out the message it counts from, hence the detour."""
        read, chat = self._service.read, self.id
        older = await read(chat, before=message, limit=STEP // 2)
        if older.messages:
            newer = await read(chat, after=older.messages[-1].id, limit=STEP // 2)
        else:
            after = await read(chat, after=message, limit=STEP)
            this = (
                await read(chat, before=after.messages[0].id, limit=1) if after.messages else await read(chat, limit=1)
            )
            newer = models.Messages(messages=[*this.messages, *after.messages], more=after.more)
        self._hold([*older.messages, *newer.messages], older=older.more, newer=newer.more, target=message, problem="")

    async def load_older(self) -> None:
        if not self.state.older or self.state.busy or not self._messages:
            return
        with self._working():
            page = await self._service.read(self.id, before=self._messages[0].id, limit=STEP)
            kept = [*page.messages, *self._messages]
            self._hold(kept[:WINDOW], older=page.more, newer=self.state.newer or len(kept) > WINDOW)

    async def load_newer(self) -> None:
        if not self.state.newer or self.state.busy or not self._messages:
            return
        with self._working():
            page = await self._service.read(self.id, after=self._messages[-1].id, limit=STEP)
            kept = [*self._messages, *page.messages]
            self._hold(kept[-WINDOW:], older=self.state.older or len(kept) > WINDOW, newer=page.more)

    async def newest(self) -> None:
        """Straight to the end."""
        if self.state.newer:
            page = await self._service.read(self.id, limit=STEP)
            self._hold(page.messages, older=page.more, newer=False, target="")

    def _hold(self, messages: list[models.Message], **changes: object) -> None:
        """Makes these the window.  What replies answer is looked for where it is not in here."""
        self._messages = messages
        for message in messages:
            self._quotes[message.id] = quote_of(message)
        while len(self._quotes) > MAX_QUOTES + WINDOW:
            del self._quotes[next(iter(self._quotes))]
        self._draw(**changes)
        missing = {m.reply_to for m in messages if m.reply_to is not None and m.reply_to not in self._quotes}
        if missing - self._wanted:
            self._wanted |= missing
            self._quoting.ask()
        self._seen()

    def _draw(self, **changes: object) -> None:
        named = self.state.kind == "group"
        find = self._quotes.get
        bubbles = bubbles_of(self._messages, named=named, me=self._me, find=find, now=self._now())
        self._become(bubbles=bubbles, **changes)

    async def _find_quotes(self) -> None:
        for wanted in [one for one in self._wanted if one not in self._quotes]:
            try:
                before = await self._service.read(self.id, before=wanted, limit=1)
                after = before.messages[-1].id if before.messages else None
                if after is not None:
                    found = (await self._service.read(self.id, after=after, limit=1)).messages
                else:
                    following = (await self._service.read(self.id, after=wanted, limit=1)).messages
                    found = (await self._service.read(self.id, before=following[0].id, limit=1)).messages
                self._quotes[wanted] = quote_of(found[0]) if found and found[0].id == wanted else GONE
            except (KithkinError, IndexError):
                self._quotes[wanted] = GONE
        self._draw()

    # ---- what happens meanwhile

    def changed(self, chat: models.Chat) -> None:
        """The list says something else about this chat."""
        title = one_line(chat.title, MAX_TITLE)
        # Whoever joined is in once a member's device has let the feed in.
        count = "Joining" if not chat.members else "1 member" if chat.members == 1 else f"{chat.members} members"
        self._become(
            title=title,
            initials=initials(title),
            shade=shade(title),
            kind=chat.kind,
            state=chat.state,
            subtitle={"self": "On all your devices", "direct": "", "group": count}[chat.kind],
        )
        if self._messages or chat.state == "active":
            self._whole_again = True
            self._catching.ask()

    def message(self, message: models.Message, new: bool) -> None:
        """A message came, or looks different now."""
        for at, held in enumerate(self._messages):
            if held.id == message.id:
                self._messages[at] = message
                self._hold(self._messages)
                return
        if new and not self.state.newer:
            self._catching.ask()

    def status(self, id_: str, state: models.MessageState) -> None:
        for at in range(len(self._messages) - 1, -1, -1):
            if self._messages[at].id == id_:
                self._messages[at] = self._messages[at].model_copy(update={"state": state})
                self._draw()
                return

    async def _catch_up(self) -> None:
        """Reads on from the end of the window; all of it again where something came in before its end."""
        if self.state.newer or self.state.state == "invited":
            return
        again, self._whole_again = self._whole_again, False
        try:
            if not again and self._messages:
                page = await self._service.read(self.id, after=self._messages[-1].id, limit=WINDOW)
                # More than what is new: a late one went to its place further up.
                if page.messages:
                    kept = [*self._messages, *page.messages]
                    older = self.state.older or len(kept) > WINDOW
                    self._hold(kept[-WINDOW:], older=older, newer=page.more)
                    return
            limit = min(WINDOW, max(STEP, len(self._messages) + 1))
            page = await self._service.read(self.id, limit=limit)
            self._hold(page.messages, older=page.more, newer=False)
        except KithkinError as error:
            self._become(problem=error.message)

    def visible(self, visible: bool) -> None:
        """Whether a person can see the end of the window now."""
        self._visible = visible
        self._seen()

    def _seen(self) -> None:
        if self._visible and self._messages and not self.state.newer and self._messages[-1].id != self._marked:
            self._marking.ask()

    async def _mark(self) -> None:
        if not self._messages:
            return
        last = self._messages[-1].id
        try:
            await self._service.mark(self.id, upto=last)
            self._marked = last
        except KithkinError as error:
            self._become(problem=error.message)

    async def settled(self) -> None:
        for work in (self._catching, self._quoting, self._marking):
            await work.settled()

    def close(self) -> None:
        for work in (self._catching, self._quoting, self._marking):
            work.close()

    # ---- writing

    def keep_draft(self, text: str) -> None:
        """What stands in the composer when it is left."""
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
                await self._service.send(self.id, text, reply=state.answering or None)
            self._compose("")
        if not self.state.problem:
            await self.newest()

    def _compose(self, draft: str, **changes: object) -> None:
        blank: dict[str, object] = {"answering": "", "answered": None, "editing": ""}
        self._become(draft=draft, round=self.state.round + 1, problem="", **{**blank, **changes})

    def answer(self, id_: str, draft: str) -> None:
        self._compose(draft, answering=id_, answered=self._quotes.get(id_))

    def begin_edit(self, id_: str) -> None:
        """Puts the text of a message of mine into the composer."""
        for message in self._messages:
            if message.id == id_ and message.mine and not message.deleted:
                self._compose(message.text, editing=id_, answered=self._quotes.get(id_))

    def drop(self) -> None:
        """Neither an answer nor an edit any more."""
        self._compose("" if self.state.editing else self.state.draft)

    def text_of(self, id_: str) -> str:
        return next((clean(message.text) for message in self._messages if message.id == id_), "")

    def show_whole(self, id_: str) -> None:
        self._become(whole=self.text_of(id_))

    # ---- acting on messages and on the chat

    async def react(self, id_: str, emoji: str) -> None:
        await self._act(self._service.react, id_, emoji)

    async def delete(self, id_: str, *, everyone: bool) -> None:
        with self._working():
            await self._service.delete(self.id, id_, everyone=everyone)
            if not everyone:
                self._hold([message for message in self._messages if message.id != id_])

    async def cancel(self, id_: str) -> None:
        with self._working():
            await self._service.cancel(self.id, id_)
            self._hold([message for message in self._messages if message.id != id_])

    async def _act(self, call: Callable[..., object], *args: str) -> None:
        with self._working():
            await call(self.id, *args)  # type: ignore[misc]

    async def join(self) -> None:
        if self.state.state != "invited" or self.state.busy:
            return
        with self._working():
            await self._service.chat_join(self.id)
        if not self.state.problem:
            await self.open()

    async def decline(self) -> bool:
        """Whether the invitation is gone."""
        if self.state.state != "invited" or self.state.busy:
            return False
        with self._working():
            await self._service.chat_decline(self.id)
        return not self.state.problem
