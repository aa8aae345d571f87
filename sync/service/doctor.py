"""What `doctor` looks at: the store, the feeds, the folds, the index.  With `repair` folds are made again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from crdt.log.merkle import Tree, leaf_of
from identity.digest import base32
from identity.errors import KithkinError
from identity.process import dumps_core
from sync.engine.profile import Profile
from sync.pages.quarantine import aside_in, forget_aside
from sync.service import models
from sync.service.ids import space_of
from sync.service.indexing import Indexing
from sync.service.names import chat_title, person_name
from sync.service.plural import counted
from sync.service.system import system_refusals
from sync.space import timeline
from sync.store.port import Batch, Table

CHUNK = 128  # entries or rows between two rests of the loop


async def examine(profile: Profile, indexing: Indexing, folder: Path, repair: bool, now_ms: int) -> models.Checks:
    """Reads every block once; a profile of 100,000 messages takes a few seconds."""
    checks = [_mode(folder), _memory()]
    for id_ in list(profile.spaces):
        checks.append(await _feeds(profile, id_))
        if id_ != profile.personal.id:
            checks.append(await _rows(profile, id_, repair, now_ms))
            checks += _aside(profile, id_, repair)
    checks.append(await _index(indexing, repair))
    return models.Checks(checks=checks)


def _mode(folder: Path) -> models.Check:
    with system_refusals():
        mode = folder.stat().st_mode & 0o777
    return models.Check(name="folder", ok=not mode & 0o077, detail=f"mode {mode:04o}")


def _memory() -> models.Check:
    dumps = dumps_core()
    return models.Check(name="core dumps", ok=not dumps, detail="allowed here" if dumps else "off")


async def _feeds(profile: Profile, id_: bytes) -> models.Check:
    """Every stored block hashes to the signed head of its feed."""
    name = f"feeds of {'my devices' if id_ == profile.personal.id else chat_title(profile, id_)}"
    blocks = 0
    writers = list(space_of(profile, id_).feed_store.by_writer)
    for writer in writers:
        tree = Tree()
        while True:  # the feed may grow meanwhile, and the profile be read again
            feed_store = space_of(profile, id_).feed_store
            feed = feed_store.by_writer.get(writer)
            if feed is None or tree.length >= feed.length:
                break
            entries = feed_store.entries(feed, tree.length, min(tree.length + CHUNK, feed.length))
            if not entries:
                break
            tree, _ = tree.extend([entry.leaf or leaf_of(entry.block) for entry in entries])
            blocks += len(entries)
            if tree.length < feed.length:
                await asyncio.sleep(0)
        if feed is None:
            continue
        if tree.length != feed.length or (feed.length and tree.hash() != feed.tree.hash()):
            return models.Check(name=name, ok=False, detail="a stored block is not what its writer signed")
        if feed.head is not None and not feed.head.verify():
            return models.Check(name=name, ok=False, detail="a head's signature is not good")
        await asyncio.sleep(0)
    return models.Check(
        name=name, ok=True, detail=f"{counted(len(writers), 'feed')}, {counted(blocks, 'entry', 'entries')}"
    )


async def _rows(profile: Profile, id_: bytes, repair: bool, now_ms: int) -> models.Check:
    """The rows on disk are what the facts fold to."""
    name = f"timeline of {chat_title(profile, id_)}"
    count = wrong = 0
    for part in timeline.messages_by(profile.store, id_, CHUNK):
        before = {m: timeline.find_row(profile.store, id_, m) for m in part}
        batch = Batch()
        changes = timeline.absorb(space_of(profile, id_).folding(batch, now_ms), (), part)
        count += len(part)
        bad = [c.message for c in changes if c.after != before[c.message]]
        wrong += len(bad)
        if bad and repair:
            for message in bad:
                batch.put(Table.INDEX, id_ + message, b"")
            profile.store.write(batch, durable=True)
        await asyncio.sleep(0)
    detail = counted(count, "message")
    if wrong:
        detail = f"{counted(wrong, 'row')} {'was' if wrong == 1 else 'were'} not what the log says" + (
            ", made again" if repair else "; run doctor --repair"
        )
    return models.Check(name=name, ok=not wrong or repair, detail=detail)


def _aside(profile: Profile, id_: bytes, repair: bool) -> list[models.Check]:
    """Entries that no page is built with, each by the name that `stats` and the log have for it."""
    found = aside_in(profile.store, id_)
    checks = []
    for one in found:
        member = space_of(profile, id_).state.member(one.core)
        who = person_name(profile, member.identity) if member is not None else "somebody"
        detail = f"entry {one.seq} of feed {base32(one.core[:10])} by {who}: the process that builds pages {one.reason}"
        again = ", to be tried again" if repair else "; doctor --repair tries it again"
        checks.append(
            models.Check(name=f"pages of {chat_title(profile, id_)}", ok=repair, detail=f"left out, {detail}{again}")
        )
    if found and repair:
        batch = Batch()
        forget_aside(batch, id_)
        profile.store.write(batch, durable=True)
    return checks


async def _index(indexing: Indexing, repair: bool) -> models.Check:
    try:
        if repair:
            await indexing.rebuild()
        await indexing.catch_up()
        count = await indexing.count()
    except KithkinError as error:
        return models.Check(name="search index", ok=False, detail=f"{error.message} Run doctor --repair.")
    return models.Check(name="search index", ok=True, detail=f"{counted(count, 'message')}, kept by {indexing.backend}")
