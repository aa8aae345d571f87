"""`kithkin` as a process that is killed at one step: `python -m tests.apps.dying WHERE COMMAND…`.

WHERE is `module:name` or `module:Class.name`, then `<` (before) or `>` (after) and the number of the call, from 1:
`sync.backup.file:BackupWriter.add>2`.  Several, joined by commas: calls of each are counted once the one before was
reached.  SIGKILL, as the system ends a process: nothing is closed and nothing is said.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any


def arm(where: str) -> None:
    """From now on the last of these calls is the last thing that this process does."""
    for number, step in enumerate(where.split(",")):
        _arm(step, number, last=number == where.count(","))


_reached = 0  # how many of the calls were


def _arm(where: str, before: int, *, last: bool) -> None:
    found = re.fullmatch(r"([\w.]+):([\w.]+)([<>])(\d+)", where)
    assert found is not None, where
    module, path, side, number = found[1], found[2].split("."), found[3], int(found[4])
    holder: Any = importlib.import_module(module)
    for name in path[:-1]:
        holder = getattr(holder, name)
    kept = vars(holder)[path[-1]]
    real: Callable[..., Any] = kept.__func__ if isinstance(kept, classmethod | staticmethod) else kept
    calls = 0

    def die() -> None:
        global _reached
        if calls == number and _reached == before:
            _reached += 1
            if last:
                os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(real)
    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += _reached == before
        if side == "<":
            die()
        result = real(*args, **kwargs)
        if side == ">":
            die()
        return result

    setattr(holder, path[-1], classmethod(dying) if isinstance(kept, classmethod) else dying)


if __name__ == "__main__":
    arm(sys.argv[1])
    from apps.cli.main import main

    sys.exit(main(sys.argv[2:]))
