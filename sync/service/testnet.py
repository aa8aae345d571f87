"""A private DHT on the loopback of this machine: for a first try, the demo and tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from identity.errors import KithkinError
from netstack.shell.testnet import Testnet
from sync.service import models


@asynccontextmanager
async def open_testnet(size: int, port: int = 0) -> AsyncIterator[models.Testnet]:
    """Runs `size` nodes until the block ends, the first of them on `port` (0: any).  Raises `not_allowed` where the
    port is taken."""
    net = Testnet(size, port=port)
    try:
        await net.start()
    except OSError as error:
        raise KithkinError("not_allowed", f"Port {port} cannot be used: {error.strerror}.") from None
    try:
        host, first = net.bootstrap[0]
        yield models.Testnet(bootstrap=f"{host}:{first}", size=size)
    finally:
        await net.stop()
