"""The entry of `kithkin`.  It imports nothing heavy at first, so that a Ctrl-C while libraries load counts as one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from apps.cli.foreign import foreign_package, refuse

if TYPE_CHECKING:
    from sync.service.api import Profiles

REFUSED, INTERRUPTED = 1, 130


def main(argv: Sequence[str] | None = None, profiles: Profiles | None = None) -> int:
    """The whole program: its exit code.  `profiles`: where profiles come from, for tests."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if (foreign := foreign_package()) is not None:
            refuse(*foreign, words)
            return REFUSED
        from apps.cli.program import run

        return run(words, profiles)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
