"""Search: results with a snippet, the newest first; a result opens its chat at that message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apps.viewmodels.chats import Chats
from apps.viewmodels.coalesced import Coalesced
from apps.viewmodels.model import ViewModel
from apps.viewmodels.words import MAX_SNIPPET, brief, initials, one_line, shade, shown_author
from sync.service import models
from sync.service.api import KithkinError, Service

LIMIT = 100
PAUSE = 0.15  # seconds between two searches while somebody types


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One row: the chat it is in, who wrote it, and the text around the words."""

    id: str
    chat: str
    title: str
    initials: str
    shade: int
    kind: models.ChatKind
    snippet: str
    time: str


@dataclass(frozen=True, slots=True)
class SearchState:
    """`summary` says how many there are, or that there is none."""

    query: str = ""
    found: tuple[SearchResult, ...] = ()
    summary: str = ""
    busy: bool = False
    problem: str = ""


class Search(ViewModel[SearchState]):
    """`look_for` what is in the field after every key; the last query wins.  now: the moment, for times."""

    def __init__(self, service: Service, chats: Chats, now: Callable[[], datetime]) -> None:
        super().__init__(SearchState())
        self._service = service
        self._chats = chats
        self._now = now
        self._looking = Coalesced(self._look, PAUSE)

    def look_for(self, query: str) -> None:
        """Searches for a query whose last word may be unfinished."""
        if query != self.state.query:
            self._become(query=query)
            self._looking.ask()

    async def _look(self) -> None:
        query = self.state.query
        if not any(char.isalnum() for char in query):
            self._become(found=(), summary="", problem="")
            return
        with self._working():
            try:
                hits = await self._service.search(prefixed(query), limit=LIMIT)
            except KithkinError as error:
                self._become(found=(), summary="")
                raise error
            if query == self.state.query:
                found = tuple(self._found(hit) for hit in hits.hits)
                self._become(found=found, summary=summary_of(hits.total, len(found)))

    def _found(self, hit: models.Hit) -> SearchResult:
        title, known = self._chats.title_of(hit.chat), self._chats.get(hit.chat)
        who = shown_author(hit.author_name, hit.source, proved=hit.proved)
        return SearchResult(
            id=hit.id,
            chat=hit.chat,
            title=title if who in ("", title) else f"{who} in {title}",
            initials=initials(title),
            shade=shade(title),
            kind=known.kind if known is not None else "direct",
            snippet=one_line(hit.snippet, MAX_SNIPPET),
            time=brief(hit.at, self._now()),
        )

    async def settled(self) -> None:
        """Returns once no search is under way."""
        await self._looking.settled()

    def close(self) -> None:
        """Ends the search under way."""
        self._looking.close()


def prefixed(query: str) -> str:
    """The query with its last word as a prefix, unless a space ended that word."""
    return query + "*" if query[-1:].isalnum() else query


def summary_of(total: int, shown: int) -> str:
    """How many messages were found, and how many of them are shown."""
    if not total:
        return "No messages found"
    count = "1 message" if total == 1 else f"{total} messages"
    return count if shown == total else f"{count}, showing the newest {shown}"
