"""Detects that the machine slept or changed networks, by polling every five seconds (decision 0105).

The event loop's monotonic clock may stand still during a sleep, so that a core cannot notice one; and a core learns of
another network only from the answers to what it sends next.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

INTERVAL = 5.0  # seconds between two looks
SLEPT = 15.0  # seconds of sleep between two looks that count
FAR = "192.0.2.1"  # asking for a route to it sends nothing


def seconds_asleep() -> float:
    """Seconds that the machine has slept so far; only differences mean something."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.time() - time.monotonic()  # setting the clock looks like a sleep, which costs one refresh


def outward_host() -> str | None:
    """Our own address on the route to the Internet, None where there is no route."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((FAR, 9))
        host: str = sock.getsockname()[0]
        return host
    return None


class SystemMonitor:
    """Calls `on_sleep()` after a sleep and `on_move()` when the route to the Internet uses another address of ours.

    `seconds_asleep`, `outward`: injection points for tests.
    """

    def __init__(
        self,
        on_sleep: Callable[[], None],
        on_move: Callable[[], None],
        *,
        seconds_asleep: Callable[[], float] = seconds_asleep,
        outward: Callable[[], str | None] = outward_host,
    ) -> None:
        self._on_sleep = on_sleep
        self._on_move = on_move
        self._asleep = seconds_asleep
        self._outward = outward
        self._slept = seconds_asleep()
        self._host = outward()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Looks every five seconds from now on, until `stop`."""
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._again)

    def stop(self) -> None:
        """Ends `watch`.  May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Compares with the last look and calls back."""
        slept, self._slept = self._slept, self._asleep()
        if self._slept - slept > SLEPT:
            self._on_sleep()
        host = self._outward()
        if host is not None:  # without a route nothing is known, and the same one may come back
            before, self._host = self._host, host
            if before is not None and before != host:
                self._on_move()

    def _again(self) -> None:
        self.watch()
        self.look()
