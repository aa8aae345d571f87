"""A DHT of one's own: says where it is, and stays until a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from apps.daemon.signals import signalled
from sync.service.models import Line
from sync.service.testnet import open_testnet


async def run_testnet(size: int, port: int, write: Callable[[Line], None]) -> None:
    """Returns after SIGINT, SIGTERM or SIGHUP; a signal while the network still grows counts as well.

    Raises `not_allowed` where the port is taken.
    """
    with signalled() as stop:
        staying = asyncio.ensure_future(_stay(size, port, write))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({staying, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if staying.done():
                await staying
        finally:
            for task in (staying, stopped):
                task.cancel()
            await asyncio.gather(staying, stopped, return_exceptions=True)


async def _stay(size: int, port: int, write: Callable[[Line], None]) -> None:
    async with open_testnet(size, port) as ready:
        write(ready)
        await asyncio.Event().wait()
