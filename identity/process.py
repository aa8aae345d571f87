"""What a process that holds keys asks of the system: that its memory never becomes a file.

A core dump holds the database key and every text that was shown.  The limit says so to every system with limits; Linux
is told besides that this process is not to be dumped at all, because a dump that goes to a program (`core_pattern`
with a pipe) asks for no limit, and because then no other process of this user may read its memory either.
"""

from __future__ import annotations

import sys

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4  # prctl(2)


def forbid_core_dumps() -> None:
    """From now on, for this process.  An `exec` on Linux begins anew, so every program of ours asks for itself.

    Where a system has neither means it does nothing.
    """
    try:
        import resource  # no such module on Windows, which writes dumps where its administrator asked for them
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        _prctl(PR_SET_DUMPABLE, 0)


def dumps_core() -> bool:
    """Whether this process may leave a core dump (`doctor`)."""
    try:
        import resource
    except ImportError:
        return False
    if sys.platform == "linux" and _prctl(PR_GET_DUMPABLE, 0) == 0:
        return False
    return resource.getrlimit(resource.RLIMIT_CORE)[0] != 0


def _prctl(option: int, value: int) -> int:
    import ctypes  # late: pairing texts and phrases need no C library

    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))
