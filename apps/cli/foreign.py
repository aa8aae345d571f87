"""Notices a package of another project that has one of our top-level names and comes first on Python's path.

`sync` and `identity` are names that others use too.  Without this check such a package ends the program with a
traceback from the middle of an import.  Nothing heavy is imported here and nothing of ours: the files are looked up,
not run.
"""

# pathlib would be the dearest import of the whole entry.
# ruff: noqa: PTH100, PTH120

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

NAMES = ("identity", "netstack", "crdt", "sync")
CODE = "foreign_package"


def foreign_package() -> tuple[str, str] | None:
    """(name, place) of the first of our packages that Python would take from elsewhere, None where all are ours."""
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for name in NAMES:
        place = _place(name)
        if place and not _same(os.path.dirname(place), ours):
            return name, place
    return None


def _place(name: str) -> str | None:
    """The folder (or file) that `import name` takes; None where nothing has that name."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded is not None else None
    for finder in sys.meta_path:
        if spec is not None:
            break
        spec = finder.find_spec(name, None)
    if spec is None:
        return None
    return next(iter(spec.submodule_search_locations or ()), spec.origin)


def _same(one: str, other: str) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def refuse(name: str, place: str, argv: Sequence[str]) -> None:
    """Says it: a JSON line with `--json`, else a sentence on standard error."""
    message = (
        f"Another package named `{name}` comes before Kithkin's on Python's path: {place}. "
        "Install Kithkin into a virtual environment of its own (pipx does that), or clear PYTHONPATH."
    )
    options = argv[: argv.index("--")] if "--" in argv else argv
    if "--json" in options:
        import json

        print(json.dumps({"error": {"code": CODE, "message": message}}, ensure_ascii=False), flush=True)
    else:
        print(f"kithkin: {message}", file=sys.stderr)
