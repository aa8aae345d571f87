"""A service whose store refuses in the middle of things: what waits goes on with the profile as it was read again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from identity.errors import KithkinError
from sync.search.memory import MemorySearch
from sync.service import importing, local
from sync.store.port import Table
from tests.unit.service.offline import OfflineService, offline_service


def lines(path: Path, count: int) -> Path:
    path.write_text(
        "".join(json.dumps({"at": "2020-01-01T00:00:00Z", "from": "trey", "text": f"{n}"}) + "\n" for n in range(count))
    )
    return path


async def stored(d: OfflineService) -> int:
    return (await d.service.stats()).storage[0].messages


def test_import_continues_after_the_profile_is_reloaded_from_its_store(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "import") as d:
            work = asyncio.create_task(d.service.import_messages(d.notes, lines(tmp_path / "in", 1000)))
            while await stored(d) < importing.BATCH:
                await asyncio.sleep(0)
            d.disk_fails_once()
            result = await work
            assert (result.imported, result.skipped, await stored(d)) == (1000, 0, 1000)

    asyncio.run(story())


def test_read_that_waits_gets_the_message_after_the_profile_is_reloaded(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "wait") as d:
            reading = asyncio.create_task(d.service.read(d.notes, wait=60))
            await asyncio.sleep(0)
            d.disk_fails_once()
            sent = await d.service.send(d.notes, "hello")
            assert [message.id for message in (await reading).messages] == [sent.id]

    asyncio.run(story())


def test_bad_line_ends_an_import_after_the_lines_before_it_are_stored(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "bad") as d:
            path = lines(tmp_path / "in", 300)
            with path.open("a") as file:
                file.write("no JSON\n")
            with pytest.raises(KithkinError, match="Line 301") as refused:
                await d.service.import_messages(d.notes, path)
            assert refused.value.code == "bad_line" and await stored(d) == 300

    asyncio.run(story())


@pytest.mark.parametrize("format", ["jsonl", "yjs"])
def test_export_yields_to_other_calls_and_continues_after_a_reload(tmp_path: Path, format: Any) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, f"export {format}") as d:
            await d.service.import_messages(d.notes, lines(tmp_path / "in", 1000))
            work = asyncio.create_task(d.service.export(d.notes, tmp_path / "out", format=format))
            rounds = 0
            while not work.done():
                rounds += 1
                await asyncio.sleep(0)
                if rounds == 3:
                    d.disk_fails_once()
            assert (await work).exported == 1000 and rounds >= 10

    asyncio.run(story())


def test_doctor_yields_to_other_calls_and_continues_after_a_reload(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "doctor") as d:
            await d.service.import_messages(d.notes, lines(tmp_path / "in", 1000))
            work = asyncio.create_task(d.service.doctor())
            rounds = 0
            while not work.done():
                rounds += 1
                await asyncio.sleep(0)
                if rounds == 3:
                    await d.service.send(d.notes, "meanwhile")
                    d.disk_fails_once()
            checks = (await work).checks
            assert all(check.ok for check in checks) and len(checks) == 6 and rounds >= 10

    asyncio.run(story())


def test_failing_index_is_reported_once_and_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "INDEX_PAUSE", 0.0)
    monkeypatch.setattr(local, "INDEX_RETRY", 0.0)

    async def story() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        async with offline_service(tmp_path, "defect") as d:
            defects = [RuntimeError("one"), KithkinError("profile_unreadable", "gone"), RuntimeError("two")]
            held = d.indexing.catch_up

            async def catch_up(*, patient: bool = False) -> None:
                if defects:
                    raise defects.pop(0)
                await held(patient=patient)

            monkeypatch.setattr(d.indexing, "catch_up", catch_up)
            await d.service.send(d.notes, "hello")
            feeding = asyncio.create_task(d.service._keep_indexed())
            while not d.search.count():
                await asyncio.sleep(0)
            feeding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await feeding
            assert [str(one) for one in told] == ["one"]

    asyncio.run(story())


def test_text_whose_escapes_exceed_one_update_is_refused_as_too_long(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "controls") as d:
            await d.service.send(d.notes, "\x01" * 30_000)
            sent = await d.service.send(d.notes, '"\\' * 32_768)
            for act in (d.service.send(d.notes, "\x01" * 65_536), d.service.edit(d.notes, sent.id, "\x01" * 40_000)):
                with pytest.raises(KithkinError) as refused:
                    await act
                assert refused.value.code == "text_too_long"
            assert await stored(d) == 2

    asyncio.run(story())


def test_a_deleted_text_leaves_the_index_and_both_files_are_scrubbed(tmp_path: Path) -> None:
    async def story() -> None:
        scrubbed: list[str] = []

        class Index(MemorySearch):
            def scrub(self) -> None:
                scrubbed.append("index")
                super().scrub()

        async with offline_service(tmp_path, "scrub", Index()) as d:
            d.disk.scrub = lambda: scrubbed.append("store")  # type: ignore[method-assign]
            sent = await d.service.send(d.notes, "a canary")
            assert (await d.service.search("canary")).total == 1
            await d.service.delete(d.notes, sent.id, everyone=True)
            assert (await d.service.search("canary")).total == 0
            message = (await d.service.read(d.notes)).messages[0]
            assert message.deleted and message.erased is not None and message.erased.devices == 1
            assert scrubbed == []
        assert scrubbed == ["index", "store"]
        assert d.search.count() == 0
        assert not any(b"canary" in value for table in Table for _, value in d.disk.scan(table))

    asyncio.run(story())
