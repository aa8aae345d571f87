"""What the system refuses with, as the service says it: the one table from an OSError to a code and a sentence."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from identity.errors import KithkinError

NO_THREAD = "can't start new thread"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def system_refusal(error: OSError) -> KithkinError:
    """`disk_full`, `timeout`, else `system_refused` with the system's own words and the file that it names."""
    if error.errno in FULL:
        return KithkinError("disk_full", "The disk is full.")
    if isinstance(error, TimeoutError):
        return KithkinError("timeout", "The system waited too long for an answer.")
    reason = error.strerror or str(error) or type(error).__name__
    named = error.filename if isinstance(error.filename, str | bytes) else None
    where = f": {os.fsencode(named).decode(errors='backslashreplace')}" if named else ""
    return KithkinError("system_refused", f"The system refused: {reason}{where}.")


def refusal_of(error: Exception) -> KithkinError | None:
    """What somebody is told of an error that nothing nearer had a word for; None where it is a defect of ours.

    A system that has no thread or no memory to give says so in Python's words and not as an OSError.
    """
    if isinstance(error, OSError):
        return system_refusal(error)
    if isinstance(error, MemoryError):
        return KithkinError("system_refused", "The system refused: no memory is left.")
    if isinstance(error, RuntimeError) and str(error) == NO_THREAD:
        return KithkinError("system_refused", "The system refused: no further thread can be started.")
    return None


@contextlib.contextmanager
def system_refusals() -> Iterator[None]:
    """Around calls of the system that nothing nearer has a better word for."""
    try:
        yield
    except OSError as error:
        raise system_refusal(error) from error
