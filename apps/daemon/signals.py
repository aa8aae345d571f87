"""SIGINT, SIGTERM and SIGHUP as an event, for commands that stay until somebody ends them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signalled() -> Iterator[asyncio.Event]:
    """Set by any of the signals while the block lasts.  A SIGHUP that was ignored stays so: that is what `nohup` is."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    numbers = [n for n in SIGNALS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
