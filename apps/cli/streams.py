"""The standard streams as whoever started the program left them: there, closed, full, or read by nobody.

What cannot be said ends a command with its exit code.  Nothing is written to the wrong stream instead, and no file that
the program opens gets the number of a standard stream.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO


class OutputLost(OSError):
    """Standard output takes no more.  quiet: its reader went away on purpose, which needs no words."""

    def __init__(self, reason: str, *, quiet: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.quiet = quiet


def prepare() -> None:
    """Before anything is opened or said: UTF-8 without exceptions, and the null device where a descriptor is closed.

    `sys.stdout` stays None where it was closed, so that `write_out` notices; libraries may print to `sys.stderr`.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.dup2(null, number)
            if null != number:
                os.close(null)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  a descriptor, for the rest of the program
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def write_out(text: str) -> None:
    """To standard output at once.  Raises OutputLost."""
    stream = sys.stdout
    if stream is None:
        raise OutputLost("it is closed")
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError as error:
        _divert(stream)
        raise OutputLost("nobody reads it", quiet=True) from error
    except (OSError, ValueError) as error:
        _divert(stream)
        raise OutputLost(getattr(error, "strerror", None) or str(error)) from error


def write_aside(text: str) -> None:
    """To standard error, as far as it takes anything."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        _divert(stream)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sits at that stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _divert(stream: TextIO) -> None:
    """What the stream still holds goes nowhere: Python flushes it once more at exit, and would end with 120."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
