"""Signals as a command in the foreground has them, whoever started the tests."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """For `preexec_fn`: SIGINT does what it does.  A script's job in the background ignores it, and so would all of its
    children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
