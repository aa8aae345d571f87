"""`python -m tests.apps.cli.fake_node WORDS`: the command line on an in-memory profile, as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from apps.cli.main import main
from tests.apps.cli.fake_service import FakeProfiles, FakeService

if __name__ == "__main__":
    profiles = FakeProfiles()
    profile = os.environ.get("KITHKIN_PROFILE")
    if profile and os.environ.get("KITHKIN_FAKE") != "empty":
        Path(profile).mkdir(parents=True, exist_ok=True)
        profiles.services[Path(profile)] = FakeService.new()
    sys.exit(main(sys.argv[1:], profiles))
