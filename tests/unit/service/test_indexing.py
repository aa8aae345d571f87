"""The index follows the timeline whatever happens while it is being fed, and hits are held against the timeline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from sync.search.memory import MemorySearch
from sync.search.port import Document
from sync.service.indexing import Indexing
from sync.store.port import Table
from tests.unit.service.offline import OfflineService, offline_service


class Slow(MemorySearch):
    """While `add` is at work, `meanwhile` happens in the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None

    def add(self, documents: Sequence[Document], *, removed: Sequence[bytes] = (), cursor: bytes | None = None) -> None:
        if documents and self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            act()
        super().add(documents, removed=removed, cursor=cursor)


def in_loop(act: Callable[[], object]) -> Callable[[], None]:
    """Called from the index's thread: has the loop do it, and waits for that."""
    loop, done = asyncio.get_running_loop(), Event()

    def called() -> None:
        def there() -> None:
            act()
            done.set()

        loop.call_soon_threadsafe(there)
        done.wait()

    return called


async def found(d: OfflineService, query: str, limit: int = 20) -> list[str]:
    return [hit.text for hit in (await d.service.search(query, limit=limit)).hits]


def test_what_is_deleted_or_edited_while_the_index_is_fed_does_not_stay_in_it(tmp_path: Path) -> None:
    async def story() -> None:
        search = Slow()
        async with offline_service(tmp_path, "meanwhile", search) as d:
            gone = await d.service.send(d.notes, "red kestrel")
            changed = await d.service.send(d.notes, "red sparrow")
            done: list[asyncio.Task[object]] = []

            def act() -> None:
                done.append(asyncio.create_task(d.service.delete(d.notes, gone.id, everyone=True)))
                done.append(asyncio.create_task(d.service.edit(d.notes, changed.id, "blue sparrow")))

            search.meanwhile = in_loop(act)
            await d.indexing.catch_up()
            await d.indexing.catch_up()
            assert [document.text for document in search._documents.values()] == ["blue sparrow"]
            assert not d.disk.scan(Table.INDEX, limit=1)

    asyncio.run(story())


def test_a_stop_while_the_index_is_fed_loses_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        class Stops(MemorySearch):
            stop = True

            def add(
                self, documents: Sequence[Document], *, removed: Sequence[bytes] = (), cursor: bytes | None = None
            ) -> None:
                if self.stop and documents:
                    raise EOFError
                super().add(documents, removed=removed, cursor=cursor)

        search = Stops()
        async with offline_service(tmp_path, "stop", search) as d:
            await d.service.send(d.notes, "red kestrel")
            try:
                await d.indexing.catch_up()
            except EOFError:
                search.stop = False
            again = Indexing(d.node.engine.profile, search, lambda: 0)
            await again.catch_up()
            assert search.count() == 1

    asyncio.run(story())


def test_a_lost_index_is_fed_everything(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "lost") as d:
            await d.service.send(d.notes, "red kestrel")
            assert await found(d, "kestrel") == ["red kestrel"]
            d.search.reset()
            assert await found(d, "kestrel") == ["red kestrel"]

    asyncio.run(story())


def test_hits_stand_in_the_timeline_at_that_moment(tmp_path: Path) -> None:
    """Past its lifetime a message is no hit, though no commit told the index so; nor is what is hidden for me."""

    async def story() -> None:
        async with offline_service(tmp_path, "lifetime") as d:
            await d.service.send(d.notes, "kestrel for ever")
            await d.service.chat_set(d.notes, "lifetime", "60")
            for n in range(30):
                await d.service.send(d.notes, f"kestrel {n}")
            hidden = await d.service.send(d.notes, "kestrel hidden")
            await d.service.delete(d.notes, hidden.id)
            hits = await d.service.search("kestrel", limit=40)
            assert (hits.total, len(hits.hits)) == (31, 31)
            d.clock[0] += 61
            hits = await d.service.search("kestrel", limit=5)
            assert [hit.text for hit in hits.hits] == ["kestrel for ever"] and hits.total == 1
            await d.indexing.catch_up()
            assert d.search.count() == 1

    asyncio.run(story())


def test_a_quoted_source_is_no_author(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "source") as d:
            path = tmp_path / "in"
            path.write_text(json.dumps({"at": "2020-01-01T00:00:00Z", "from": "trey", "text": "kestrel"}) + "\n")
            await d.service.import_messages(d.notes, path)
            await d.service.send(d.notes, "kestrel too")
            hits = (await d.service.search("kestrel")).hits
            assert [(hit.author_name, hit.source) for hit in hits] == [("Ada", None), ("Ada", "trey")]

    asyncio.run(story())
