"""Backups through the service: what a damaged file loses, and what is saved of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from identity.errors import KithkinError
from identity.keystore import Cost
from sync.backup import format as formats
from sync.backup import sweep as sweeps
from sync.backup import target as targets
from sync.backup.format import Contents, Part
from sync.backup.target import open_backup
from sync.service import profiles
from sync.store.port import Table

SECRET, OWN = "correct horse", "another secret"
TEXTS = [f"message {number}" for number in range(30)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a few rows, and a cheap passphrase."""
    monkeypatch.setattr(sweeps, "SMALLEST", 2_000)
    monkeypatch.setattr(sweeps, "LARGEST", 4_000)
    monkeypatch.setattr(targets, "new_header", lambda secret, rng: formats.new_header(secret, rng, Cost(1, 8)))


async def made(folder: Path, file: Path) -> Contents:
    """A profile with notes, and a backup of it."""
    await profiles.create_profile(folder, SECRET, name="Ada")
    async with profiles.open_service(folder, SECRET) as service:
        for text in TEXTS:
            await service.send("self", text)
        said = await service.backup(file, OWN)
        assert said.ok and said.messages == len(TEXTS) and said.bytes == file.stat().st_size
    opened = open_backup(file, OWN)
    with opened.file:
        contents = opened.newest()
    assert contents is not None
    return contents


async def texts(folder: Path) -> list[str]:
    async with profiles.open_service(folder, SECRET) as service:
        return [message.text for message in (await service.read("self", limit=100)).messages]


def spoil(file: Path, part: Part) -> None:
    data = bytearray(file.read_bytes())
    data[part.offset + formats.FRAME] ^= 1
    file.write_bytes(data)


def test_a_restored_profile_writes_and_finds_as_before(tmp_path: Path) -> None:
    async def story() -> None:
        await made(tmp_path / "a", tmp_path / "file")
        progress: list[tuple[int, int]] = []
        restored = await profiles.restore_backup(
            tmp_path / "b", SECRET, tmp_path / "file", OWN, progress=lambda done, total: progress.append((done, total))
        )
        assert restored.lost == "" and progress
        assert await texts(tmp_path / "b") == TEXTS
        async with profiles.open_service(tmp_path / "b", SECRET) as service:
            await service.send("self", "and on")
            assert (await service.search("message")).total == len(TEXTS)
            assert [device.id for device in (await service.devices()).devices if device.this] == [restored.device]

    asyncio.run(story())


def test_a_damaged_part_is_refused_by_name_and_the_rest_is_saved(tmp_path: Path) -> None:
    async def story() -> None:
        contents = await made(tmp_path / "a", tmp_path / "file")
        good = (tmp_path / "file").read_bytes()
        parts = [part for part in contents.parts if part.table == Table.ENTRY]
        assert len(parts) > 4
        kept = {}
        for number, part in enumerate(parts):
            (tmp_path / "file").write_bytes(good)
            spoil(tmp_path / "file", part)
            folder = tmp_path / f"saved {number}"
            with pytest.raises(KithkinError) as refused:
                await profiles.restore_backup(folder, SECRET, tmp_path / "file", OWN)
            assert refused.value.code == "backup_damaged" and "1 part of" in refused.value.message
            assert not folder.exists()
            try:
                restored = await profiles.restore_backup(folder, SECRET, tmp_path / "file", OWN, salvage=True)
            except KithkinError as none:
                assert none.code == "backup_damaged" and not folder.exists()
                continue
            assert restored.lost
            kept[number] = await texts(folder)
            assert kept[number] == TEXTS[: len(kept[number])], "a feed is saved up to its first gap"
            assert sorted(child.name for child in folder.iterdir() if "salvage" in child.name) == []
        assert len(kept) >= len(parts) - 1
        assert any(0 < len(found) < len(TEXTS) for found in kept.values()), "some messages are saved, some are not"

    asyncio.run(story())


@pytest.mark.parametrize("table", [Table.ROW, Table.FACT, Table.MESSAGE, Table.CONTROL, Table.FEED, Table.META])
def test_what_follows_from_entries_needs_not_be_whole(table: Table, tmp_path: Path) -> None:
    async def story() -> None:
        contents = await made(tmp_path / "a", tmp_path / "file")
        part = next(part for part in contents.parts if part.table == table)
        spoil(tmp_path / "file", part)
        folder = tmp_path / "saved"
        if table in (Table.FEED, Table.META):
            with pytest.raises(KithkinError) as refused:
                await profiles.restore_backup(folder, SECRET, tmp_path / "file", OWN, salvage=True)
            assert refused.value.code == "backup_damaged" and not folder.exists()
            return
        restored = await profiles.restore_backup(folder, SECRET, tmp_path / "file", OWN, salvage=True)
        assert restored.lost
        assert await texts(folder) == TEXTS

    asyncio.run(story())


def test_a_file_that_was_cut_gives_back_the_state_before(tmp_path: Path) -> None:
    async def story() -> None:
        await made(tmp_path / "a", tmp_path / "file")
        finished = (tmp_path / "file").stat().st_size
        async with profiles.open_service(tmp_path / "a", SECRET) as service:
            await service.send("self", "later")
            await service.backup(tmp_path / "file", OWN)
        data = (tmp_path / "file").read_bytes()
        (tmp_path / "file").write_bytes(data[: finished + (len(data) - finished) // 2])
        with pytest.raises(KithkinError) as refused:
            await profiles.verify_backup(tmp_path / "file", OWN)
        assert refused.value.code == "backup_damaged" and "before it is whole" in refused.value.message
        await profiles.restore_backup(tmp_path / "b", SECRET, tmp_path / "file", OWN, salvage=True)
        assert await texts(tmp_path / "b") == TEXTS

    asyncio.run(story())


def test_a_restore_into_a_profile_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        await made(tmp_path / "a", tmp_path / "file")
        with pytest.raises(KithkinError) as refused:
            await profiles.restore_backup(tmp_path / "a", SECRET, tmp_path / "file", OWN)
        assert refused.value.code == "profile_exists"
        with pytest.raises(KithkinError) as wrong:
            await profiles.restore_backup(tmp_path / "b", SECRET, tmp_path / "file", "wrong")
        assert wrong.value.code == "wrong_passphrase" and not (tmp_path / "b").exists()

    asyncio.run(story())


def test_a_backup_of_somebody_else_is_neither_added_to_nor_lost(tmp_path: Path) -> None:
    async def story() -> None:
        await made(tmp_path / "a", tmp_path / "file")
        before = (tmp_path / "file").read_bytes()
        await profiles.create_profile(tmp_path / "b", SECRET, name="Bob")
        async with profiles.open_service(tmp_path / "b", SECRET) as service:
            for secret, code in ((OWN, "file_exists"), ("wrong", "wrong_passphrase")):
                with pytest.raises(KithkinError) as refused:
                    await service.backup(tmp_path / "file", secret)
                assert refused.value.code == code
        with pytest.raises(KithkinError) as taken:
            await profiles.restore_backup(tmp_path / "b", SECRET, tmp_path / "file", OWN)
        assert taken.value.code == "profile_exists"
        assert (tmp_path / "file").read_bytes() == before and await texts(tmp_path / "a") == TEXTS

    asyncio.run(story())


def test_messages_that_come_while_a_backup_is_written_are_in_it(tmp_path: Path) -> None:
    async def story() -> None:
        await profiles.create_profile(tmp_path / "a", SECRET, name="Ada")
        async with profiles.open_service(tmp_path / "a", SECRET) as service:
            for text in TEXTS:
                await service.send("self", text)
            writing = asyncio.create_task(service.backup(tmp_path / "file", OWN))
            sent: list[str] = []
            while not writing.done():
                sent.append(f"meanwhile {len(sent)}")
                await service.send("self", sent[-1])
                await asyncio.sleep(0)
            await writing
        await profiles.restore_backup(tmp_path / "b", SECRET, tmp_path / "file", OWN)
        found = await texts(tmp_path / "b")
        everything = [*TEXTS, *sent]
        end = everything.index(found[-1]) + 1
        assert len(sent) > 3 and end > len(TEXTS), "the moment of a backup is its end"
        assert found == everything[max(0, end - 100) : end], "nothing before that moment is missing"

    asyncio.run(story())


def test_nothing_is_written_onto_the_profile_itself_nor_its_store_read_as_a_file(tmp_path: Path) -> None:
    """Opening the store's file a second time, and closing it, would let go of its lock: another process could take
    the profile while this one writes."""

    async def story() -> None:
        folder = tmp_path / "a"
        await made(folder, tmp_path / "file")
        link = tmp_path / "another name"
        link.hardlink_to(folder / "store.db")
        aside = tmp_path / "lines"
        aside.write_text('{"at":"2026-01-01T00:00:00Z","from":"Ada","text":"hello"}\n')
        keystore = (folder / "keystore").read_bytes()
        opened: list[object] = []
        async with profiles.open_service(folder, SECRET) as service:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "open", lambda path, *rest: opened.append(path))
                for own in (folder / "store.db", folder / "store.db-wal", folder / "keystore", folder / "new", link):
                    for call in (
                        service.backup(own, OWN),
                        service.export("self", own, force=True),
                        service.export("self", own, format="yjs", force=True),
                        service.forge_transcript("self", aside, own, force=True),
                        service.forge_transcript("self", own, aside, force=True),
                        service.import_messages("self", own),
                        profiles.verify_backup(own, OWN),
                        profiles.restore_backup(tmp_path / "b", SECRET, own, OWN),
                    ):
                        with pytest.raises(KithkinError) as refused:
                            await call
                        assert refused.value.code == "not_allowed" and "profile itself" in refused.value.message
            assert opened == []
        assert (folder / "keystore").read_bytes() == keystore and not (folder / "new").exists()
        assert await texts(folder) == TEXTS

    asyncio.run(story())
