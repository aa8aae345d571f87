"""The calls about files: a chat is imported from one and exported into one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sync.pages.process import SetAside
from sync.pages.quarantine import put_aside
from sync.service import models
from sync.service.domain import Domain, OpenedProfile
from sync.service.exporting import export_lines, export_pages
from sync.service.ids import find_chat
from sync.service.importing import Importer


class FileCalls(Domain):
    """Both work piece by piece, so that the node goes on meanwhile; one import at a time."""

    def __init__(self, opened: OpenedProfile) -> None:
        super().__init__(opened)
        self._importing = asyncio.Lock()

    async def import_messages(self, chat: str, path: Path, *, skip_bad: bool = False) -> models.Imported:
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
        id_, now_ms = find_chat(self._profile, chat), self._now_ms
        if format == "jsonl":
            return models.Exported(exported=await export_lines(self._profile, id_, path, force, now_ms))

        def keep(one: SetAside) -> None:
            self._opened.commit(lambda: put_aside(self._profile.context.batch, id_, one))

        return models.Exported(exported=await export_pages(self._profile, id_, path, force, now_ms, keep))
