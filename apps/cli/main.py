"""The entry of `kithkin`.  It imports nothing heavy at first, so that a Ctrl-C while libraries load counts as one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync.service.api import Profiles

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None, profiles: Profiles | None = None) -> int:
    """The whole program: its exit code.  `profiles`: where profiles come from, for tests."""
    try:
        from apps.cli.program import run

        return run(list(sys.argv[1:] if argv is None else argv), profiles)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
