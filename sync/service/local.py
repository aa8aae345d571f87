"""The service of a profile that this process has opened: all domains together, and the calls about the node itself.

A method that waits keeps ids, not spaces: after a refusal of the store the profile is read again, with new spaces.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

from identity.errors import KithkinError
from sync.service import doctor, models, status
from sync.service.backups import BackupCalls
from sync.service.chats import ChatCalls
from sync.service.contacts import ContactCalls, DeviceCalls
from sync.service.files import FileCalls
from sync.service.ids import chat_id, device_id, identity_id, space_of
from sync.service.indexing import STEP, Indexing
from sync.service.messages import MessageCalls, outbox
from sync.service.names import chat_title, person_name
from sync.service.node import Node
from sync.service.onboarding import OnboardingCalls
from sync.service.restarts import RestartCalls
from sync.service.text import check_query
from sync.service.times import moment
from sync.space import timeline
from sync.space.erasing import SCRUB
from sync.space.obligations import why_out
from sync.store.port import Batch, Table, prefix_end

Rewrap = Callable[[str | None, bool | None], None]  # (new passphrase, keyring on or off)
INDEX_PAUSE = 0.5  # seconds of quiet before new messages go into the index
INDEX_RETRY = 30.0  # seconds until an index that failed is tried again


class LocalService(
    OnboardingCalls, DeviceCalls, ContactCalls, ChatCalls, RestartCalls, MessageCalls, FileCalls, BackupCalls
):
    """Implements `api.Service` on a node.  `rewrap` changes how the database key is wrapped."""

    def __init__(self, node: Node, indexing: Indexing, rewrap: Rewrap, folder: Path) -> None:
        super().__init__(node)
        self._indexing = indexing
        self._rewrap = rewrap
        self._folder = folder
        self._background: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalService:
        if self._node.host is not None:
            self._background = asyncio.create_task(self._keep_indexed())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._background is not None:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._background
        with contextlib.suppress(KithkinError):
            await self._scrub()

    async def _scrub(self) -> None:
        """What was erased leaves the files: the index forgets it and is written anew, the store's log is emptied."""
        store = self._profile.store
        if store.get(Table.META, SCRUB) is None:
            return
        await self._indexing.catch_up()
        await self._indexing.scrub()
        done = Batch()
        done.delete(Table.META, SCRUB)
        store.write(done, durable=False)
        await asyncio.to_thread(store.scrub)

    async def _keep_indexed(self) -> None:
        """Feeds the index once the node has been quiet for a moment, or much has come; a search waits for neither.
        What fails is tried again after a pause: a refusal is for `doctor`, a defect is told once through the loop."""
        last, told = 0, False
        while True:
            await asyncio.sleep(INDEX_PAUSE)
            try:
                count = self._indexing.waiting()
                if count and (count == last or count >= STEP):
                    await self._indexing.catch_up(patient=True)
                    count = 0
                if not count:
                    await self._scrub()
                last = count
            except KithkinError:
                await asyncio.sleep(INDEX_RETRY)
            except Exception as defect:
                if not told:
                    context = {"message": "The search index is not being fed.", "exception": defect}
                    asyncio.get_running_loop().call_exception_handler(context)
                told = True
                await asyncio.sleep(INDEX_RETRY)

    @property
    def node(self) -> Node:
        return self._node

    async def ready(self) -> models.Ready:
        address = self._node.address
        if address is None:
            raise KithkinError("not_allowed", "This service runs without a network.")
        host = "127.0.0.1" if address[0] == "0.0.0.0" else address[0]
        account = self._profile.account
        return models.Ready(
            identity=identity_id(account.identity), device=device_id(account.device), address=f"{host}:{address[1]}"
        )

    def events(self) -> AsyncIterator[models.Event]:
        return self._node.events()

    async def status(self) -> models.Status:
        profile, account, node = self._profile, self._profile.account, self._node
        feeds = [feed for space in profile.spaces.values() for feed in space.feed_store.feeds.values()]
        address = node.address
        return models.Status(
            identity=identity_id(account.identity),
            device=device_id(account.device),
            online=node.host is not None,
            peers=status.peers(node),
            dht=status.dht(node),
            pending=len(outbox(profile, self._now_ms)),
            feeds=len(feeds),
            entries=sum(feed.length for feed in feeds),
            address=f"{address[0]}:{address[1]}" if address is not None else None,
            name=profile.view.profile.name or "",
            kept_by=len(node.engine.recovery.keepers()),
            not_kept=own.left if (own := node.engine.recovery.copies.own()) is not None else 0,
            uncovered=status.uncovered(profile),
            out=why_out(profile.personal),
        )

    async def stats(self) -> models.Stats:
        profile = self._profile
        counts: Counter[tuple[bytes, str]] = Counter()
        storage: list[models.ChatStorage] = []
        for id_ in list(profile.view.chats):
            if id_ not in profile.spaces:
                continue
            total = 0
            after: bytes | None = b""
            while True:
                rows = timeline.page(profile.store, id_, 1000, after=after)
                space = space_of(profile, id_)
                for row in rows:
                    if profile.hides(id_, row.id, row.core, row.seq):
                        continue
                    total += 1
                    member = space.state.members.get(row.member)
                    if member is not None:
                        counts[member.identity, moment(row.at).strftime("%Y-%m")] += 1
                if len(rows) < 1000:
                    break
                after = rows[-1].key()
                await asyncio.sleep(0)
            octets = 0
            for feed in space_of(profile, id_).feed_store.feeds.values():
                number = feed.number.to_bytes(4, "big")
                octets += profile.store.extent(Table.ENTRY, number, prefix_end(number)).octets
            storage.append(
                models.ChatStorage(
                    chat=chat_id(id_),
                    title=chat_title(profile, id_),
                    messages=total,
                    bytes=octets,
                    kept=space_of(profile, id_).forgetting.kept,
                )
            )
        people = [
            models.PersonMonth(
                identity=identity_id(identity), name=person_name(profile, identity), month=month, messages=count
            )
            for (identity, month), count in sorted(counts.items(), key=lambda item: (item[0][1], item[0][0]))
        ]
        return models.Stats(messages=people, storage=storage)

    async def doctor(self, *, repair: bool = False) -> models.Checks:
        return await doctor.examine(self._profile, self._indexing, self._folder, repair, self._now_ms)

    async def passphrase(self, new: str | None = None, *, keyring: bool | None = None) -> models.Changed:
        await asyncio.to_thread(self._rewrap, new, keyring)
        return models.Changed()

    async def search(
        self,
        query: str,
        *,
        chat: str | None = None,
        author: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: models.Sort = "time",
        limit: int = 20,
    ) -> models.Hits:
        check_query(query)
        return await self._indexing.find(query, chat, author, since, until, sort, limit)
