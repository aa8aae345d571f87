"""A system that refuses: the n-th call of a function of `os`, `io`, `fcntl`, `socket` or `threading` fails.

    with refusing(7, errno.EIO) as system:
        ...
    assert system.refused == "os.open"

Only calls that Python code makes by these names are met, and of those from one line of the product the first two;
libraries in C have a shim of their own (the simulated disk below SQLite, `tests/unit/store`).
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import pathlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from unittest.mock import patch

ROOT = str(pathlib.Path(__file__).resolve().parents[2])
TESTS = str(pathlib.Path(__file__).resolve().parents[1])

OF_ONE_LINE = 2

CALLS: tuple[tuple[object, str], ...] = (
    *((os, name) for name in ("open", "stat", "lstat", "mkdir", "chmod", "unlink", "rmdir", "rename", "replace")),
    *((os, name) for name in ("fsync", "listdir", "scandir", "pipe", "fdopen", "symlink", "fstat", "dup2", "getcwd")),
    (io, "open"),
    (builtins, "open"),
    (fcntl, "flock"),
    (socket.socket, "connect"),
    (socket.socket, "bind"),
    (threading.Thread, "start"),
)


@dataclass
class System:
    """calls: how many were made; refused: which one failed, None while none did."""

    calls: int = 0
    refused: str | None = None
    lines: dict[tuple[str, str | None], int] = field(default_factory=dict)


@contextmanager
def refusing(number: int | None, error: int = errno.EIO) -> Iterator[System]:
    """The call of that number (from 0) fails; None: none does, and the calls are counted."""
    system = System()

    def shim(owner: object, name: str) -> Callable[..., Any]:
        real: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            line = _line_of_ours()
            seen = system.lines[name, line] = system.lines.get((name, line), 0) + 1
            if line is None or seen > OF_ONE_LINE:
                return real(*args, **kwargs)
            mine, system.calls = system.calls, system.calls + 1
            if mine != number:
                return real(*args, **kwargs)
            system.refused = f"{getattr(owner, '__name__', owner)}.{name}"
            if name == "start":
                raise RuntimeError("can't start new thread")
            raise OSError(
                error, os.strerror(error), args[0] if args and isinstance(args[0], str | os.PathLike) else None
            )

        return call

    patches = [patch.object(owner, name, shim(owner, name)) for owner, name in CALLS]
    for one in patches:
        one.start()
    try:
        yield system
    finally:
        for one in reversed(patches):
            one.stop()


def _line_of_ours() -> str | None:
    """The line of the product that calls, through whatever; None where pytest or an import of Python does."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if file.startswith(ROOT) and not file.startswith(TESTS):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return None
