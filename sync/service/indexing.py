"""The search index beside the timeline: fed from a queue that is written with the rows, asked in shown ids.

Each commit that changes a row leaves the message's id in the queue; a step marks a thousand as taken, hands them to the
index in another thread, and strikes off those that are still marked once the index has them durably.  What changes in
between is queued anew over its mark and stays.  So a crash feeds some twice and none never.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from crdt.docs.rows import at_moment
from identity.errors import KithkinError
from sync.engine.profile import Profile
from sync.engine.twins import listed_id, twin_ids
from sync.search.port import MAX_LIMIT, Document, Hit, Query, Search, Sort
from sync.service import models
from sync.service.ids import IDENTITY, chat_id, find_chat, identity_id, message_id, prefix_of
from sync.service.messages import time_of
from sync.service.names import author_of_row, person_name, plain_name
from sync.service.text import check_query
from sync.service.times import milliseconds, moment
from sync.space import timeline
from sync.store.port import Batch, Table

STEP = 1000
WHOLE = b"1"  # the index's cursor once everything stands in it or in the queue; empty: it is to be fed everything
TAKEN = b"\1"  # the value of a queued message that is on its way into the index
LOOKED_AT = 500  # hits between two rests of the loop
T = TypeVar("T")


class Indexing:
    """One index of one profile.  `now_ms` is the clock of lifetimes."""

    def __init__(self, profile: Profile, search: Search, now_ms: Callable[[], int]) -> None:
        self._profile = profile
        self._search = search
        self._now_ms = now_ms
        self._lock = asyncio.Lock()

    async def catch_up(self, *, patient: bool = False) -> None:
        """Feeds the index until the queue is empty.

        patient: stops once what is left is less than a step; a message fed alone costs both processes far more.
        """
        async with self._lock:
            if await self._ask(self._search.cursor) != WHOLE:
                await self._queue_all()
                await self._ask(lambda: self._search.remove([], cursor=WHOLE))
            while (took := await self._step()) and not (patient and took < STEP and self.waiting()):
                pass

    def waiting(self) -> int:
        """Messages in the queue, counted up to a step."""
        return len(self._profile.store.scan(Table.INDEX, limit=STEP))

    async def count(self) -> int:
        """Messages in the index.  Raises `index_failed`, as every call that asks the index."""
        return await self._ask(self._search.count)

    @property
    def backend(self) -> str:
        """What keeps the index: "duckdb" or "fts5"."""
        return self._search.backend

    async def _ask(self, call: Callable[[], T]) -> T:
        """The index's answer, in a thread.  Its own refusals say which backend it is and that it alone has failed."""
        try:
            return await asyncio.to_thread(call)
        except KithkinError as error:
            if error.code not in ("profile_unreadable", "profile_in_use"):
                raise
            message = f"The search index, kept by {self.backend}, cannot be used: {error.message}."
            raise KithkinError("index_failed", message) from error

    async def scrub(self) -> None:
        """Leaves no word of a removed message in the index's files."""
        async with self._lock:
            await self._ask(self._search.scrub)

    async def rebuild(self) -> None:
        """Throws the index away; the next `catch_up` feeds it everything."""
        async with self._lock:
            await self._ask(self._search.reset)

    async def _queue_all(self) -> None:
        """A new or lost index: everything again.  Durable, because the index's cursor will rely on it."""
        store = self._profile.store
        for chat in [space.id for space in self._profile.spaces.values() if not space.personal]:
            for messages in timeline.messages_by(store, chat, STEP):
                self._queue([chat + message for message in messages], durable=True)
                await asyncio.sleep(0)

    def _queue(self, keys: Iterable[bytes], *, durable: bool = False) -> None:
        batch = Batch()
        for key in keys:
            batch.put(Table.INDEX, key, b"")
        if len(batch):
            self._profile.store.write(batch, durable=durable)

    async def _step(self) -> int:
        """How many it took out of the queue."""
        profile = self._profile
        queued = [key for key, _ in profile.store.scan(Table.INDEX, limit=STEP)]
        if not queued:
            return 0
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
            documents.append(
                Document(row.id, space.id, author, row.source or "", time_of(row), row.key()[:-33], row.text)
            )
        taken, done = Batch(), Batch()
        for key in queued:
            taken.put(Table.INDEX, key, TAKEN)
        profile.store.write(taken, durable=False)
        await self._ask(lambda: self._search.add(documents, removed=removed))
        for key, value in zip(queued, profile.store.get_many(Table.INDEX, queued), strict=True):
            if value == TAKEN:  # else it changed while the index was at work, and what the index has is old
                done.delete(Table.INDEX, key)
        profile.store.write(done, durable=False)
        return len(queued)

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
        """Hits in shown ids, as far as they stand in the timeline at this moment: what was deleted, what has had its
        lifetime and what is hidden for me alone is left out, and out of the total as far as it was looked at."""
        check_query(query)
        started = time.perf_counter()
        profile = self._profile
        chats = tuple(twin_ids(profile, find_chat(profile, chat))) if chat is not None else ()
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
        wanted, reach = asked.limit, asked.limit
        while True:
            further = replace(asked, limit=reach)
            result = await self._ask(partial(self._search.query, further))
            standing = await self._standing(result.hits)
            if len(standing) >= wanted or len(result.hits) < reach or reach >= MAX_LIMIT:
                break
            reach = min(4 * reach, MAX_LIMIT)  # some of the page do not stand: those after them move up
        total = result.total - (len(result.hits) - len(standing))
        hits = [self._shown(hit) for hit in standing[:wanted]]
        took = (time.perf_counter() - started) * 1000
        return models.Hits(hits=hits, total=total, took_ms=round(took, 2))

    async def _standing(self, hits: Sequence[Hit]) -> list[Hit]:
        """Those of the hits that the timeline shows.  The dead ones are queued, so that the index forgets them."""
        profile, now_ms = self._profile, self._now_ms()
        found: list[Hit] = []
        dead: list[bytes] = []
        for start in range(0, len(hits), LOOKED_AT):
            for hit in hits[start : start + LOOKED_AT]:
                row = timeline.find_row(profile.store, hit.chat, hit.id)
                if row is None or at_moment(row, now_ms).deleted:
                    dead.append(hit.chat + hit.id)
                elif not profile.hides(hit.chat, hit.id, row.core, row.seq):
                    found.append(hit)
            await asyncio.sleep(0)
        self._queue(dead)
        return found

    def _shown(self, hit: Hit) -> models.Hit:
        profile, space = self._profile, self._profile.spaces.get(hit.chat)
        row = timeline.find_row(profile.store, hit.chat, hit.id)
        author = author_of_row(profile, space, row) if space is not None and row is not None else None
        return models.Hit(
            id=message_id(hit.id),
            chat=chat_id(listed_id(profile, hit.chat)),
            author=identity_id(hit.author),
            text=hit.text,
            snippet=hit.snippet,
            at=moment(hit.at_ms),
            score=hit.score,
            author_name=author.name if author is not None else person_name(profile, hit.author),
            source=hit.source or None,
            proved=author is None or author.proved,
        )

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
        named = tuple(identity for identity in known if wanted in _called(profile, identity))
        return named, (author,)


def _called(profile: Profile, identity: bytes) -> set[str]:
    """What somebody is called here, with and without the mark that tells it from another."""
    return {plain_name(profile, identity).casefold(), person_name(profile, identity).casefold()}


def _ms(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)
