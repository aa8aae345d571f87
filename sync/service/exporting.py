"""Exports one chat: as JSON lines that `import` takes back unchanged, as Yjs pages for any Yjs implementation, or as a
transcript of its feeds.

Both are written a piece at a time, and the loop runs other work in between.  The chat is kept by its id and looked up
for each piece: between two of them the profile may have been read again from its store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from crdt.docs.page import PageEntry, admitted_updates
from crdt.docs.rows import at_moment
from crdt.docs.timeline import unseen
from crdt.log.entry import GRANT_TAG, Kind, decode_plaintext, message_key, open_entry, read_block
from crdt.space.epoch import EpochKey
from identity.digest import base32
from identity.errors import KithkinError
from identity.kem import Kem
from identity.keys import Random
from identity.private_file import create, draft_of, private_file
from sync.engine.profile import Profile
from sync.engine.twins import Placed, stands_first, twins_of
from sync.engine.twins import rows as rows_of
from sync.pages.process import PageProcess, SetAside, TooMuch
from sync.pages.quarantine import aside_in
from sync.service.forging import Script, forge
from sync.service.ids import space_of
from sync.service.messages import shown
from sync.service.names import author_of_row
from sync.service.times import show_time
from sync.service.transcripts import write_feeds
from sync.space import timeline
from sync.space.feed import EntryState
from sync.store.sqlite import is_full

PIECE = 100  # rows or entries until the loop may run other work: a few milliseconds


async def export_lines(profile: Profile, chat: bytes, path: Path, force: bool, now_ms: int) -> int:
    """Writes every visible message as a JSON line that `import` takes; how many."""
    count = 0
    space_of(profile, chat)
    with _target(path, force) as file:
        async for rows in _pieces(profile, chat):
            for space, row in rows:
                row = at_moment(row, now_ms)
                if row.deleted or not row.text:
                    continue
                author = author_of_row(profile, space, row).name
                line = {"at": show_time(row.at), "from": row.source or author, "text": row.text}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                count += 1
    return count


def export_feeds(profile: Profile, chat: bytes, path: Path, force: bool) -> int:
    """Writes the feeds of a chat as a transcript; how many entries they hold."""
    with _target(path, force) as file:
        return write_feeds(space_of(profile, chat).feed_store, file)


async def export_forged(script: Script, path: Path, force: bool, rng: Random, kem: Kem | None) -> int:
    """Writes a transcript of what was never said; how many texts it holds."""
    with _target(path, force) as file:
        space = await asyncio.to_thread(forge, script, rng, kem)
        await asyncio.to_thread(write_feeds, space.feed_store, file)
    return len(script.lines)


@contextlib.contextmanager
def _target(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all: written beside its place, then put there.

    Raises `file_exists`, `not_allowed`, `disk_full`.
    """
    with _refusals("file"):
        if path.exists() and not force:
            raise KithkinError("file_exists", "That file exists; give another name or use --force.")
        if path.exists() and not path.is_file():
            # Renaming over a device or a pipe would take its place.
            raise KithkinError("not_allowed", "That is no file; give another name.")
        with private_file(path, os.urandom, replace=force) as file:
            yield file


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """What the system refuses with, in the service's words."""
    try:
        yield
    except FileExistsError:
        raise KithkinError("file_exists", f"That {what} exists; give another name or use --force.") from None
    except OSError as error:
        if is_full(error, None):
            raise KithkinError("disk_full", "The disk is full; nothing was exported.") from None
        raise KithkinError("not_allowed", f"That {what} cannot be written: {error.strerror}.") from None


async def _pieces(profile: Profile, chat: bytes) -> AsyncIterator[list[Placed]]:
    """The rows that are shown to me, oldest first, each with its space."""
    after: bytes = b""
    while True:
        twins = twins_of(profile, space_of(profile, chat))
        found = rows_of(profile, twins, PIECE, after=after)
        yield [
            (twin, row)
            for twin, row in found
            if shown(profile, twin, row) and (len(twins) == 1 or stands_first(profile, twins, twin, row))
        ]
        if len(found) < PIECE:
            return
        after = found[-1][1].key()
        await asyncio.sleep(0)


async def export_pages(
    profile: Profile, chat: bytes, path: Path, force: bool, now_ms: int, put_aside: Callable[[SetAside], None]
) -> int:
    """Writes one `NAME.yjs` a page (an epoch) into a directory, whole or not at all; how many messages they hold.

    put_aside: keeps the name of an entry that ended the process which builds pages; no page has it.
    """
    space_of(profile, chat)
    with _refusals("directory"):
        if path.exists():
            if not force:
                raise KithkinError("file_exists", "That directory exists; give another name or use --force.")
            if not path.is_dir() or any(child.suffix != ".yjs" for child in path.iterdir()):
                raise KithkinError("not_allowed", "That is no directory of exported pages; give another name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(path, os.urandom)
        draft.mkdir(mode=0o700)
        try:
            count = await _write_pages(profile, chat, draft, now_ms, put_aside)
            if path.exists():
                shutil.rmtree(path)
            draft.replace(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return count


async def _write_pages(
    profile: Profile, chat: bytes, folder: Path, now_ms: int, put_aside: Callable[[SetAside], None]
) -> int:
    pages = await _pages(profile, chat)
    # After the pages: what is deleted while they are gathered is left out of them.
    hides = _hides(await _gone(profile, chat, now_ms))
    aside = {(one.core, one.seq) for one in aside_in(profile.store, chat)}
    count = 0
    with PageProcess() as builder:
        for epoch, entries in sorted(pages.items()):
            kept = [entry for entry in entries if (entry.core, entry.seq) not in aside]
            updates = await asyncio.to_thread(admitted_updates, kept, hides=hides)
            built = await asyncio.to_thread(builder.build, updates)
            for one in built.aside:
                put_aside(one)
            if isinstance(built, TooMuch):
                raise KithkinError("system_refused", f"A page of this chat was not made: {built.reason}.")
            with create(folder / f"{base32(epoch[:10])}.yjs") as file:
                file.write(built.update)
            count += built.count
    return count


async def _gone(profile: Profile, chat: bytes, now_ms: int) -> set[tuple[bytes, int, int]]:
    """The puts that stand behind nothing that is shown."""
    gone: set[tuple[bytes, int, int]] = set()
    for messages in timeline.messages_by(profile.store, chat, PIECE):
        space = space_of(profile, chat)
        policy = space.policy()
        for message in messages:
            row = timeline.find_row(profile.store, chat, message)
            if row is not None:
                row = at_moment(row, now_ms)
                row = row if shown(profile, space, row) else None
            gone |= unseen(timeline.facts_about(profile.store, chat, message), row, policy)
        await asyncio.sleep(0)
    return gone


def _hides(gone: set[tuple[bytes, int, int]]) -> Callable[[bytes, int, int], bool]:
    return lambda core, seq, place: (core, seq, place) in gone


async def _pages(profile: Profile, chat: bytes) -> dict[bytes, list[PageEntry]]:
    """Epoch id -> the update entries sealed under it; what came as items of epochs unknown here is one more page."""
    pages: dict[bytes, list[PageEntry]] = {}
    for core in list(space_of(profile, chat).feed_store.feeds):
        start, epoch = 0, bytes(32)
        while True:
            space = space_of(profile, chat)
            feed = space.feed_store.feeds.get(core)
            if feed is None or core not in space.state.writers or start >= feed.length:
                break
            for index, entry in enumerate(space.feed_store.entries(feed, start, min(start + PIECE, feed.length))):
                seq = start + index
                if entry.state is not EntryState.OPENED or not space.members.shows(core, seq):
                    continue
                header = read_block(entry.block)
                text = decode_plaintext(open_entry(entry.key, core, space.id, entry.block, header))
                if text.kind is not Kind.UPDATE or header.tag == GRANT_TAG:
                    continue
                epoch = _epoch_of(space.keys, core, seq, header.tag, epoch)
                pages.setdefault(epoch, []).append(PageEntry(core, seq, text.body))
            start += PIECE
            await asyncio.sleep(0)
    return pages


def _epoch_of(keys: Mapping[bytes, EpochKey], core: bytes, seq: int, tag: bytes, last: bytes) -> bytes:
    """The epoch that an entry was sealed under, 32 zeros where it is not known here.  last: that of the one before."""
    near = [keys[last]] if last in keys else []
    return next((k.id for k in (*near, *keys.values()) if message_key(k.secret, core, seq)[1] == tag), bytes(32))
