"""`python -m tests.apps.cli.shelf_node WORDS`: the command line on an in-memory profile, as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from apps.cli.main import main
from tests.apps.cli.notebook import Notebook, Shelf

if __name__ == "__main__":
    shelf = Shelf()
    profile = os.environ.get("KITHKIN_PROFILE")
    if profile and os.environ.get("KITHKIN_SHELF") != "empty":
        Path(profile).mkdir(parents=True, exist_ok=True)
        shelf.books[Path(profile)] = Notebook()
    sys.exit(main(sys.argv[1:], shelf))
