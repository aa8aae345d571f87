"""Vector files of the log formats: made anew by every run and compared; KITHKIN_WRITE_VECTORS=1 writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import cast

FOLDER = Path(__file__).resolve().parents[2] / "vectors"
Vectors = list[dict[str, str | int]]


def held(name: str, made: Vectors) -> Vectors:
    """The vectors of the file, which must equal those just made."""
    path = FOLDER / f"{name}.json"
    if os.environ.get("KITHKIN_WRITE_VECTORS"):
        path.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    stored = cast(Vectors, json.loads(path.read_text("utf-8")))
    assert stored == made
    return stored
