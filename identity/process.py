"""What our processes ask of the system: that their memory never becomes a file; for some, limits, and an early death.

A core dump holds the database key and every text that was shown.  The limit says so to every system with limits; Linux
is told besides that this process is not to be dumped at all, because a dump that goes to a program (`core_pattern`
with a pipe) asks for no limit, and because then no other process of this user may read its memory either.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 3, 4  # prctl(2)


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


def limit_process(*, memory: int, cpu_s: int) -> None:
    """Bounds what this process may still use, for good: bytes of memory beyond what it has, seconds of CPU time; and it
    can open no further file.  Call it when everything is loaded.

    Where a system has no such limits (Windows), or does not keep the one on memory (macOS), only the patience of
    whoever waits for the process bounds it.
    """
    try:
        import resource
    except ImportError:
        return
    used = _address_space()
    if used is not None:
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    spent = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(spent.ru_utime + spent.ru_stime) + 1 + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def die_with_parent(parent: int) -> None:
    """On Linux the system kills this process when the one that started it ends, whatever it is doing then; elsewhere
    the end of its input has to tell it.  parent: the id of that process."""
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.name != "nt" and os.getppid() != parent:
        os._exit(1)  # it ended before we asked


def _address_space() -> int | None:
    """Bytes of address space of this process, None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _prctl(option: int, value: int) -> int:
    import ctypes  # late: pairing texts and phrases need no C library

    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))
