"""The thread beside the window, with an event loop in which the service and all view-models run.

The window never waits for it.  Work goes in with `do` and `call`, states come out through `ViewModel.watch`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

SWITCH = 0.001
"""Seconds after which one thread lets another run.  Python's 5 ms would cost the window a third of a frame each time
that the service computes."""
STOP_SECONDS = 15.0


class ServiceThread:
    """`start`, then `do` and `call` from any thread, then `stop` once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Starts the thread."""
        sys.setswitchinterval(SWITCH)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Starts a coroutine in the thread.  An exception is a bug and goes to standard error."""
        self._loop.call_soon_threadsafe(self._begin, work)

    def call(self, action: Callable[..., object], *args: object) -> None:
        """Calls a plain function in the thread."""
        self._loop.call_soon_threadsafe(action, *args)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error, file=sys.stderr)

    def stop(self, last: Coroutine[Any, Any, Any]) -> None:
        """Withdraws what is under way, runs `last` to its end, and ends the thread."""

        async def finish() -> None:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await last

        try:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(finish(), self._loop).result(STOP_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_SECONDS)
            if not self._thread.is_alive():
                self._loop.run_until_complete(self._loop.shutdown_default_executor())
                self._loop.close()
