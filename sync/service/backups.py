"""Backups of a profile: written while its node runs, checked without any profile, read back into a new one.

What is lost in a damaged file, and what can still be saved, is said by chat.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from identity.codec import Reader
from identity.errors import KithkinError
from sync.backup.file import DAMAGED, BackupFile, Progress, Spoiled, Survey
from sync.backup.format import Contents, Part
from sync.backup.sweep import Sweep
from sync.backup.target import Target, begin, open_backup
from sync.engine.effects import Progress as Told
from sync.service import models
from sync.service.domain import Domain, OpenedProfile
from sync.service.folder import refuse_own_files
from sync.service.names import chat_title
from sync.service.plural import counted
from sync.service.times import show_time
from sync.store.port import Batch, Table
from sync.store.sqlite import SqliteStore

FEW = 8  # records that are read in one piece with the end
TELL = 8 << 20  # bytes between two words of progress
LOAD = 2 << 20  # bytes of rows that are restored in one commit
MAX_NAMED = 8  # chats that a sentence names
BY_SPACE = {Table.FEED, Table.CONTROL, Table.EPOCH, Table.RECORD, Table.FACT, Table.ROW, Table.ITEM, Table.MESSAGE}
BY_FEED = {Table.ENTRY, Table.NODE}


class BackupCalls(Domain):
    """One backup at a time; the node goes on meanwhile."""

    def __init__(self, opened: OpenedProfile) -> None:
        super().__init__(opened)
        self._backing_up = asyncio.Lock()

    async def backup(self, path: Path, passphrase: str) -> models.BackedUp:
        refuse_own_files(path)
        account, former = self._profile.account, self._profile.former
        own = {account.device, *((former.device,) if former is not None else ())}
        target_of = partial(begin, path, passphrase, os.urandom, identity=account.identity, own=own)
        async with self._backing_up:
            try:
                return await self._write(await asyncio.to_thread(target_of))
            except Spoiled:
                # What the file holds is damaged: nothing of it is used again.
                return await self._write(await asyncio.to_thread(partial(target_of, anew=True)))

    async def _write(self, target: Target) -> models.BackedUp:
        try:
            contents = await self._fill(target)
            size = await asyncio.to_thread(target.finish)
            return models.BackedUp(ok=True, messages=contents.messages, bytes=size, written=target.writer.written)
        finally:
            await asyncio.to_thread(target.close)

    async def _fill(self, target: Target) -> Contents:
        """Reads the store into the file.  The last records are read in one piece: that is the moment it is of."""
        profile, account = self._profile, self._profile.account
        store = profile.store
        sweep, read, told = Sweep(store), 0, 0
        store.listeners.append(sweep.written)
        try:
            writing: asyncio.Task[None] | None = None
            while sweep.left > FEW and not sweep.restless and (record := sweep.step()) is not None:
                if writing is not None:
                    await writing  # the next record was read meanwhile
                writing = asyncio.create_task(asyncio.to_thread(target.add, record))
                read += record.octets
                if read - told >= TELL:
                    told = read
                    profile.effects.append(Told("backup", read, 0))
                    self._opened.tick()
                await asyncio.sleep(0)
            if writing is not None:
                await writing
            while (record := sweep.step()) is not None:
                target.add(record)
        finally:
            store.listeners.remove(sweep.written)
        messages = store.extent(Table.MESSAGE).rows
        chats = tuple((id_, chat_title(profile, id_)) for id_ in sorted(profile.view.chats))
        finish = partial(target.writer.finish, self._now_ms, account.identity, account.device, messages, chats)
        return await asyncio.to_thread(finish)


def verify_file(path: Path, passphrase: str, progress: Progress) -> models.BackedUp:
    """Opens every byte of a backup.  Raises `backup_damaged` with what is lost and what is not."""
    refuse_own_files(path)
    opened = open_backup(path, passphrase)
    with opened.file:
        survey = opened.survey(progress)
        contents = whole(opened, survey)
        return models.BackedUp(ok=True, messages=contents.messages, bytes=survey.size, written=0)


def whole(opened: BackupFile, survey: Survey) -> Contents:
    """The state that a file holds.  Raises `backup_damaged` where a byte of it is not as it was written."""
    if survey.contents is not None and survey.whole:
        return survey.contents
    raise KithkinError(DAMAGED, what_is_lost(opened, survey))


def what_is_lost(opened: BackupFile, survey: Survey) -> str:
    """A sentence or two."""
    contents = survey.contents
    if contents is None:
        return "That file holds no finished backup: nothing in it can be saved."
    at = show_time(contents.created)
    if not survey.lost and survey.end < survey.size:
        return (
            f"The end of that file was changed, or never finished; the backup of {at} before it is whole: "
            "restore it with --salvage, or make a new one."
        )
    if not survey.lost:
        return f"That file was changed where nothing of the backup of {at} stands: restore it with --salvage."
    parts = f"{counted(len(survey.lost), 'part')} of {len(contents.parts)}"
    lost = lost_chats(opened, contents, survey.lost)
    return f"That file was changed: {parts} of the backup of {at} cannot be read ({lost}). --salvage restores the rest."


def lost_chats(opened: BackupFile, contents: Contents, lost: list[Part]) -> str:
    """What the lost parts hold, by the titles of chats."""
    titles, gone, feeds = dict(contents.chats), {part.offset for part in lost}, {}
    for part in contents.parts:
        if part.table == Table.FEED and part.offset not in gone:
            for key, value in opened.rows(part):
                feeds[Reader(value).uint()] = key[:32]
    named: Counter[str] = Counter()
    for part in lost:
        if part.table in BY_SPACE:
            space = part.first[:32]
        elif part.table in BY_FEED:
            space = feeds.get(int.from_bytes(part.first[:4], "big"), b"")
        else:
            space = b""
        named[f'from "{titles[space]}" on' if space in titles else "of lists and keys"] += part.rows
    some = [f"{counted(rows, 'row')} {what}" for what, rows in named.most_common(MAX_NAMED)]
    return ", ".join([*some, "and others"] if len(named) > MAX_NAMED else some)


async def load(opened: BackupFile, parts: Sequence[Part], store: SqliteStore, progress: Progress) -> None:
    """Puts the rows of parts into an empty store: the next are read and opened while some are written.

    Raises `backup_damaged`, `profile_newer`, `disk_full`.
    """
    total, done, at = sum(part.length for part in parts), 0, 0
    with store.unlogged():
        reading = asyncio.create_task(asyncio.to_thread(_read, opened, parts, at))
        while True:
            batch, at, size = await reading
            more = at < len(parts)
            if more:
                reading = asyncio.create_task(asyncio.to_thread(_read, opened, parts, at))
            try:
                await asyncio.to_thread(store.write, batch, durable=False)
            except BaseException:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                raise
            done += size
            progress(done, total)
            if not more:
                return


def _read(opened: BackupFile, parts: Sequence[Part], at: int) -> tuple[Batch, int, int]:
    """(rows of some parts from one on, the part after them, how many bytes)."""
    batch, size = Batch(), 0
    while at < len(parts) and size < LOAD:
        part = parts[at]
        try:
            table = Table(part.table)
        except ValueError:
            raise KithkinError("profile_newer", "That backup was made by a newer version: update Kithkin.") from None
        batch.put_many(table, opened.rows(part))
        size, at = size + part.length, at + 1
    return batch, at, size
