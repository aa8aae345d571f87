"""The search index beside the timeline: fed from a queue that is written with the rows, asked in shown ids.

Each commit that changes a row leaves the message's id in the queue; a step takes a thousand, hands them to the index
in another thread, and strikes them off once the index has them durably.  So a crash feeds some twice and none never.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from identity.errors import KithkinError
from sync.pipeline import timeline
from sync.pipeline.profile import Profile
from sync.search.port import Document, Query, Search, Sort
from sync.service import models
from sync.service.ids import IDENTITY, chat_id, find_chat, identity_id, message_id, prefix_of
from sync.service.messages import moment
from sync.service.names import person_name
from sync.service.text import check_query
from sync.store.port import Batch, Table

STEP = 1000
WHOLE = b"1"  # the index's cursor once everything was put into the queue


class Indexing:
    """One index of one profile.  `now_ms` is the clock of lifetimes."""

    def __init__(self, profile: Profile, search: Search, now_ms: Callable[[], int]) -> None:
        self._profile = profile
        self._search = search
        self._now_ms = now_ms
        self._lock = asyncio.Lock()
        self._checked = False

    async def catch_up(self) -> None:
        """Feeds the index until the queue is empty."""
        async with self._lock:
            if not self._checked:
                if await asyncio.to_thread(self._search.cursor) != WHOLE:
                    self._queue_all()
                self._checked = True
            while await self._step():
                pass

    async def count(self) -> int:
        return await asyncio.to_thread(self._search.count)

    async def rebuild(self) -> None:
        """Throws the index away; the next `catch_up` feeds it everything."""
        async with self._lock:
            await asyncio.to_thread(self._search.reset)
            self._checked = False

    def _queue_all(self) -> None:
        """A new or lost index: everything again."""
        batch = Batch()
        for space in self._profile.spaces.values():
            if not space.personal:
                for message in timeline.all_messages(self._profile.store, space.id):
                    batch.put(Table.INDEX, space.id + message, b"")
        self._profile.store.write(batch, durable=False)

    async def _step(self) -> bool:
        profile = self._profile
        queued = [key for key, _ in profile.store.scan(Table.INDEX, limit=STEP)]
        if not queued:
            await asyncio.to_thread(lambda: self._search.remove([], cursor=WHOLE))
            return False
        documents: list[Document] = []
        removed: list[bytes] = []
        now_ms = self._now_ms()
        for key in queued:
            space = profile.spaces.get(key[:32])
            row = timeline.find_row(profile.store, key[:32], key[32:]) if space is not None else None
            dead = row is None or row.deleted or not row.text or (row.expires is not None and row.expires <= now_ms)
            if space is None or row is None or dead:
                removed.append(key[32:])
                continue
            member = space.state.members.get(row.member)
            author = member.identity if member is not None else bytes(32)
            documents.append(Document(row.id, space.id, author, row.source or "", row.at, row.sort_key, row.text))
        # Struck off before the index is asked: what changes meanwhile is queued again.  A crash in between is found
        # by the cursor, which is empty until everything is in.
        batch = Batch()
        for key in queued:
            batch.delete(Table.INDEX, key)
        await asyncio.to_thread(lambda: self._search.add(documents, removed=removed, cursor=b""))
        profile.store.write(batch, durable=False)
        return True

    async def find(
        self,
        query: str,
        chat: str | None,
        author: str | None,
        since: datetime | None,
        until: datetime | None,
        sort: models.Sort,
        limit: int,
    ) -> models.Hits:
        """Hits in shown ids; messages hidden for me alone are left out."""
        check_query(query)
        started = time.perf_counter()
        profile = self._profile
        chats = (find_chat(profile, chat),) if chat is not None else ()
        authors, sources = self._people(author) if author is not None else ((), ())
        await self.catch_up()
        asked = Query(
            query,
            chats=chats,
            authors=authors,
            sources=sources,
            since_ms=_ms(since),
            until_ms=_ms(until),
            sort=Sort(sort),
            limit=max(1, min(limit, 1000)),
        )
        result = await asyncio.to_thread(lambda: self._search.query(asked))
        hits = []
        view = profile.view
        hidden = 0
        for hit in result.hits:
            if view.hides(hit.chat, hit.id, hit.order):
                hidden += 1
                continue
            hits.append(
                models.Hit(
                    id=message_id(hit.id),
                    chat=chat_id(hit.chat),
                    author=identity_id(hit.author),
                    text=hit.text,
                    snippet=hit.snippet,
                    at=moment(hit.at_ms),
                    score=hit.score,
                    author_name=hit.source or person_name(profile, hit.author, profile.spaces.get(hit.chat)),
                )
            )
        took = (time.perf_counter() - started) * 1000
        return models.Hits(hits=hits, total=result.total - hidden, took_ms=round(took, 2))

    def _people(self, author: str) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
        """Who is meant: an identity, the name of a contact, or the quoted source of imported lines."""
        profile = self._profile
        prefix = prefix_of(author, IDENTITY)
        known = {profile.account.identity, *profile.view.contacts}
        for space in profile.spaces.values():
            known.update(member.identity for member in space.state.members.values())
        if prefix is not None:
            found = tuple(identity for identity in known if identity.startswith(prefix))
            if not found:
                raise KithkinError("not_found", "There is no such person here.")
            return found, ()
        wanted = author.casefold()
        named = tuple(identity for identity in known if person_name(profile, identity).casefold() == wanted)
        return named, (author,)


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
