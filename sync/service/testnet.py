"""A DHT of one's own on this machine's loopback: for trying Kithkin out, for the demo, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from identity.errors import KithkinError
from netstack.shell.testnet import Testnet
from sync.service import models


@asynccontextmanager
async def open_testnet(size: int, port: int = 0) -> AsyncIterator[models.Testnet]:
    """`size` nodes while the block lasts, the first of them on `port` (0: any).  Raises `not_allowed`."""
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
