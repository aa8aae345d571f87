"""What happens to the machine while nobody looks: it sleeps, it changes networks.

A monotonic clock stands still during a sleep, so a core cannot notice one; and what others see of us changes only with
the next thing that we send.  Decision 0105.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

INTERVAL = 5.0  # seconds between two looks
SLEPT = 15.0  # seconds by which the clocks must have drifted apart
FAR = "192.0.2.1"  # a route to it is asked for; nothing is sent


def seconds_asleep() -> float:
    """Seconds that the machine has slept so far, counted from anywhere."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.time() - time.monotonic()  # a clock that is set looks like a sleep: once more around costs little


def outward_host() -> str | None:
    """Our address towards the Internet as our own system sees it, None where there is no way there."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((FAR, 9))
        host: str = sock.getsockname()[0]
        return host
    return None


class SystemMonitor:
    """Calls `on_sleep` after a sleep and `on_move` when the way to the Internet leads over another address of ours."""

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
        """Looks every five seconds from now on."""
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._again)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        slept, self._slept = self._slept, self._asleep()
        if self._slept - slept > SLEPT:
            self._on_sleep()
        host = self._outward()
        if host is not None:  # without a way there is nothing to know, and it may come back the same
            before, self._host = self._host, host
            if before is not None and before != host:
                self._on_move()

    def _again(self) -> None:
        self.watch()
        self.look()
