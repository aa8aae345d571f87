"""Where tests find the measured data that is never committed: chat corpus, Noise and Wycheproof vectors, model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("KITHKIN_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def shared(path: str) -> Path:
    """The file or folder below the shared data.  Skips the test, with the reason, where it is absent."""
    found = ROOT / path
    if not found.exists():
        pytest.skip(f"shared data absent: {path}")
    return found
