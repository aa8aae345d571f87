"""The list of chats: what each is called, its newest message, how many are unread.

Events of messages and chats are added to the list as it is known.  It is read again where events were lost, and where
an event changes which chats are listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apps.viewmodels.coalesced import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_SNIPPET, MAX_TITLE, brief, initials, one_line, shade
from sync.service import models
from sync.service.api import KithkinError, Service

PAUSE = 0.1  # seconds between two readings of the list
QUIET = 3.0  # seconds after which a progress without an end is over
MAX_BADGE = 99
MAX_LISTED = 300
PROGRESS = {
    "history": "Receiving past messages",
    "index": "Making messages searchable",
    "import": "Importing messages",
}
MAX_UNREAD = 1000  # as far as the service counts
PREVIEW = 200  # characters, as the service gives them


@dataclass(frozen=True, slots=True)
class ListedChat:
    """One row.  `badge` is "" where nothing is unread; `invited` marks an invitation that waits for an answer."""

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

    rows: tuple[ListedChat, ...] = ()
    loaded: bool = False
    progress: str = ""
    problem: str = ""


class Chats(ViewModel[ChatsState]):
    """`load` it once, `take` every event about messages and chats from then on.  now: the moment, for times."""

    def __init__(self, service: Service, now: Callable[[], datetime]) -> None:
        super().__init__(ChatsState())
        self._service = service
        self._now = now
        self._loading = Coalesced(self.load, PAUSE)
        self._drawing = Coalesced(self._draw)
        self._known: dict[str, models.Chat] = {}
        self._quiet: asyncio.TimerHandle | None = None

    async def load(self) -> None:
        """Reads the list."""
        try:
            chats = (await self._service.chats()).chats
        except KithkinError as error:
            self._become(problem=error.message)
            return
        self._known = {chat.id: chat for chat in chats}
        self._become(loaded=True, problem="")
        await self._draw()

    def reload(self) -> None:
        """Reads the list again soon: once for all that asked."""
        self._loading.ask()

    async def _draw(self) -> None:
        listed = sorted(self._known.values(), key=_listing_key)
        self._become(rows=tuple(listed_chat(chat, self._now()) for chat in listed[:MAX_LISTED]))

    async def settled(self) -> None:
        """Returns once nothing is being read or drawn any more."""
        await self._loading.settled()
        await self._drawing.settled()

    # ---- events

    def take(self, event: models.MessageEvent | models.GoneEvent | models.ChatEvent) -> None:
        """Adds what an event says to the list, or reads it again where the event does not say enough."""
        chat = event.chat if isinstance(event, models.ChatEvent) else self._known.get(event.chat)
        after = chat
        if chat is not None:
            match event:
                case models.MessageEvent(message=message, new=new):
                    after = with_message(chat, message, new)
                case models.GoneEvent():
                    after = None  # it may have been the newest, or unread
                case models.ChatEvent():
                    after = chat if stays_listed(self._known.get(chat.id), chat) else None
                    if any(one.old == chat.id for one in self._known.values()):
                        after = None  # a question about this chat may have been answered
        if after is None:
            self.reload()
        elif after != self._known.get(after.id):
            self._known[after.id] = after
            self._drawing.ask()

    def progress(self, what: str, done: int, total: int) -> None:
        """Shown until it is complete, or until nothing more was heard of it for a moment."""
        if self._quiet is not None:
            self._quiet.cancel()
        if total and done >= total:
            self._become(progress="")
            return
        name = PROGRESS.get(what, what.capitalize())
        self._become(progress=f"{name}: {done} of {total}" if total else f"{name}: {done} so far")
        self._quiet = asyncio.get_running_loop().call_later(QUIET, lambda: self._become(progress=""))

    # ---- asking for one chat

    def title_of(self, chat: str) -> str:
        """The title of a listed chat; "Chat" for any other id."""
        known = self._known.get(chat)
        return one_line(known.title, MAX_TITLE) if known is not None else "Chat"

    def get(self, chat: str) -> models.Chat | None:
        """A listed chat as it is known."""
        return self._known.get(chat)

    def close(self) -> None:
        """Ends what is under way."""
        self._loading.close()
        self._drawing.close()
        if self._quiet is not None:
            self._quiet.cancel()


def with_message(chat: models.Chat, message: models.Message, new: bool) -> models.Chat | None:
    """The chat after a message came (`new`) or changed; None where only the service can say what is unread then.

    A list that was just read may contain what events say after it, so a message counts as one more only if it is newer
    than the newest that is known.
    """
    newest, newer = message.order >= chat.last_order, message.order > chat.last_order
    unread = chat.unread
    if message.unread:
        if new and newer:
            unread = min(MAX_UNREAD, unread + (not message.deleted))
        elif (new and not newest) or (not new and (newer or message.deleted)):
            return None
    if not newest:
        return chat
    last = {"last": message.at, "last_order": message.order}
    author = {"preview_author": message.author_name, "preview_proved": message.proved}
    return chat.model_copy(update={"unread": unread, **last, **author, "preview": message.text[:PREVIEW]})


def stays_listed(before: models.Chat | None, after: models.Chat) -> bool:
    """Whether a change leaves a chat where it is known to be: neither new in the list, nor perhaps taken out of it."""
    return before is not None and before.state == after.state and (after.last is not None or before.last is None)


def _listing_key(chat: models.Chat) -> tuple[object, ...]:
    """As the service lists them, and invitations first, since they wait for an answer."""
    newest = -int(chat.last_order or "0", 16)
    return chat.state != "invited", newest, chat.title


def listed_chat(chat: models.Chat, now: datetime) -> ListedChat:
    """The row of a chat.  now: the moment, for the time beside it."""
    title = one_line(chat.title, MAX_TITLE)
    badge = "" if not chat.unread else f"{MAX_BADGE}+" if chat.unread > MAX_BADGE else str(chat.unread)
    return ListedChat(
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
    """The second line of a row: the newest message, or what there is to know of a chat without one."""
    if chat.state == "invited":
        return "You are invited to this group"
    if chat.state in ("left", "removed"):
        return "You left this group" if chat.state == "left" else "You were removed from this group"
    if chat.last is None:
        return {"self": "Synced to all your devices", "direct": "Say hello", "group": "No messages yet"}[chat.kind]
    if not chat.preview:
        return "Deleted message"
    text = one_line(chat.preview, MAX_SNIPPET)
    who = one_line(chat.preview_author, 24 if chat.preview_proved else MAX_TITLE)
    return f"{who}: {text}" if (chat.kind == "group" or not chat.preview_proved) and who else text
