"""The calls about files: a chat is imported from one and exported into one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from crdt.space.control import SpaceKind
from sync.pages.process import SetAside
from sync.pages.quarantine import put_aside
from sync.service import models
from sync.service.domain import Domain, OpenedProfile
from sync.service.exporting import export_feeds, export_forged, export_lines, export_pages
from sync.service.folder import refuse_own_files
from sync.service.forging import cast_of, script_of
from sync.service.ids import find_chat, space_of
from sync.service.importing import Importer
from sync.service.names import chat_title


class FileCalls(Domain):
    """Both work piece by piece, so that the node goes on meanwhile; one import at a time."""

    def __init__(self, opened: OpenedProfile) -> None:
        super().__init__(opened)
        self._importing = asyncio.Lock()

    async def import_messages(self, chat: str, path: Path, *, skip_bad: bool = False) -> models.Imported:
        refuse_own_files(path)
        async with self._importing:
            importer = Importer(self._profile, find_chat(self._profile, chat), path, skip_bad)
            try:
                more = True
                while more:
                    step = self._opened.commit(lambda: importer.step(self._now_ms))
                    if step.bad is not None:
                        raise step.bad
                    more = step.more
                    await asyncio.sleep(0)
            finally:
                importer.close()
            return importer.result

    async def export(
        self, chat: str, path: Path, *, format: models.ExportFormat = "jsonl", force: bool = False
    ) -> models.Exported:
        refuse_own_files(path)
        id_, now_ms = find_chat(self._profile, chat), self._now_ms
        if format == "feeds":
            return models.Exported(exported=export_feeds(self._profile, id_, path, force))
        if format == "jsonl":
            return models.Exported(exported=await export_lines(self._profile, id_, path, force, now_ms))

        def keep(one: SetAside) -> None:
            self._opened.commit(lambda: put_aside(self._profile.context.batch, id_, one))

        return models.Exported(exported=await export_pages(self._profile, id_, path, force, now_ms, keep))

    async def forge_transcript(self, chat: str, path: Path, out: Path, *, force: bool = False) -> models.Forged:
        for one in (path, out):
            refuse_own_files(one)
        profile, id_ = self._profile, find_chat(self._profile, chat)
        space = space_of(profile, id_)
        roles = cast_of(profile, space)
        title = chat_title(profile, id_) if space.kind is SpaceKind.GROUP else ""
        script = await asyncio.to_thread(script_of, space.kind, title, roles, path)
        return models.Forged(forged=await export_forged(script, out, force, profile.rng, profile.kem))
