"""Signals as a command in the foreground has them, whoever started the tests."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """For `preexec_fn`: SIGINT and SIGHUP do what they do.  A job in the background ignores the one, a job under
    `nohup` the other, and so would all of their children."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
