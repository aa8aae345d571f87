"""The node of a profile: serves its service to other commands, says what happens, ends on a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from apps.daemon.log import Log
from apps.daemon.signals import signalled
from sync.service.api import KithkinError, Service
from sync.service.models import Line
from sync.service.socket import ServiceServer


async def run_node(opening: AbstractAsyncContextManager[Service], folder: Path, write: Callable[[Line], None]) -> None:
    """Returns after SIGINT, SIGTERM or SIGHUP; a signal while the profile is still opening counts as well."""
    with signalled() as stop, Log(write) as log:
        async with opening as service, ServiceServer(service, folder):
            await _until(stop, service, log)


async def _until(stop: asyncio.Event, service: Service, log: Log) -> None:
    """Reports until the signal; what ends the reporting earlier is raised."""
    stopped = asyncio.ensure_future(stop.wait())
    reported = asyncio.ensure_future(_report(service, log))
    try:
        await asyncio.wait({stopped, reported}, return_when=asyncio.FIRST_COMPLETED)
        if reported.done():
            await reported
    finally:
        for task in (stopped, reported):
            task.cancel()
        await asyncio.gather(stopped, reported, return_exceptions=True)


async def _report(service: Service, log: Log) -> None:
    events = service.events()
    log.put(await service.ready())
    async for event in events:
        log.put(event)
    raise KithkinError("internal", "The node ended by itself.")
