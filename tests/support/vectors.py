"""Vector files: each test that writes one compares it with what is committed, then reads it back.

`KITHKIN_WRITE_VECTORS=1` writes them anew; formats are frozen, so that is for new ones.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "vectors"


def matches(name: str, made: Any) -> Any:
    """Asserts that `tests/vectors/NAME.json` holds exactly `made` (JSON values) and returns what it holds."""
    path = FOLDER / f"{name}.json"
    text = json.dumps(made, indent=1, ensure_ascii=True) + "\n"
    if os.environ.get("KITHKIN_WRITE_VECTORS") == "1":
        path.write_text(text, encoding="ascii")
    kept = path.read_text(encoding="ascii")
    assert json.loads(kept) == made, f"{path.name} differs from what the code makes"
    return json.loads(kept)
