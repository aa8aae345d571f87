"""Where a node says what happens.

A reader that stopped reading must not stop the node: a full pipe would block every write.  So a thread of its own
writes, and what finds its queue full is dropped; a reader that went away ends the writing, not the node.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType

from sync.service.models import Line

MAX_WAITING = 10_000
FLUSH_SECONDS = 2.0


class Log:
    """`with Log(write) as log: log.put(line)`.  Leaving waits a moment for what is still to be written."""

    def __init__(self, write: Callable[[Line], None]) -> None:
        self._write = write
        self._lines: queue.Queue[Line | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True, name="log")

    def __enter__(self) -> Log:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return  # nobody reads: there is nothing to wait for
        self._thread.join(FLUSH_SECONDS)

    def put(self, line: Line) -> None:
        if self._thread.is_alive() and not self._lines.full():
            self._lines.put_nowait(line)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line)
            except (OSError, ValueError):
                return  # the reader or the stream has gone
