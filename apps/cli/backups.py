"""Backups on the command line: writing one, checking one, making a profile out of one.

The passphrase is the backup's own, by `KITHKIN_BACKUP_PASSPHRASE_FILE` or a prompt.  Progress goes to standard error.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from apps.cli.command import Args, Asks, Place, Stands
from apps.cli.output import Output
from apps.cli.start import new_passphrase, refuse_taken
from apps.cli.streams import write_aside
from apps.cli.terminal import backup_passphrase
from sync.service.api import Service

PAUSE = 1.0  # seconds between two words of progress


class Told:
    """Says how far something is, at most once a second; `what` begins the line."""

    def __init__(self, what: str) -> None:
        from time import monotonic

        self._what = what
        self._clock = monotonic
        self._next = monotonic() + PAUSE

    def __call__(self, done: int, total: int) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + PAUSE
        of = f" of {total / 1e6:,.0f}" if total else ""
        write_aside(f"{self._what}: {done / 1e6:,.0f}{of} MB\n")


async def create(service: Service, args: Args, out: Output) -> None:
    path = Path(args.file).absolute()
    passphrase = backup_passphrase(new=not path.exists())
    async with _told(service):
        out.line(await service.backup(path, passphrase))


@contextlib.asynccontextmanager
async def _told(service: Service) -> AsyncIterator[None]:
    import asyncio

    told = Told("Backing up")

    async def follow() -> None:
        async for event in service.events():
            if event.event == "progress" and event.what == "backup":
                told(event.done, event.total)

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def verify(place: Place, args: Args) -> None:
    passphrase = backup_passphrase(new=False)
    path = Path(args.file).absolute()
    place.out.line(await place.profiles.verify_backup(path, passphrase, progress=Told("Checking")))


async def restore(place: Place, args: Args) -> None:
    await refuse_taken(place)
    secret = backup_passphrase(new=False)
    place.out.line(
        await place.profiles.restore_backup(
            place.folder,
            new_passphrase(),
            Path(args.file).absolute(),
            secret,
            salvage=args.salvage,
            progress=Told("Restoring"),
        )
    )


CREATE = Asks(create)
VERIFY = Stands(verify, profile=False)
RESTORE = Stands(restore)
