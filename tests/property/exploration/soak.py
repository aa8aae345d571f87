"""The whole exploration, with a log that is evidence:

    python -m tests.property.exploration.soak --log docs/evidence/exploration.txt

All deeds, lies among them, three at a time after each common past, with hashes as they fall, with hashes mirrored, and
with a device that forks its feed; every state held against the promises and against the model.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from crdt.space.membership import SpaceState
from tests.property.exploration.deeds import BOUNDS
from tests.property.exploration.explore import Done, Exploration
from tests.property.exploration.past import Past
from tests.property.exploration.promises import check
from tests.property.exploration.reference import Model

LOG = Path(__file__).parents[3] / "docs" / "evidence" / "exploration.txt"


class Both:
    """The promises and the model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, past: Past, history: tuple[Done, ...], state: SpaceState) -> list[str]:
        return [*check(past, history, state), *self.model.check(past, history, state)]


# Common past, whether hashes are mirrored, a device that forks its feed.
RUNS = (
    *((name, salt, "") for name in BOUNDS for salt in (0, 1)),
    ("people", 0, "a1"),
    ("devices", 0, "a1"),
    ("devices", 0, "c2"),
    ("pair", 0, "a1"),
)


def soak(log: Path | None, depth: int = 3) -> bool:
    """Whether all held.  What the log has already is not run again, so it may be done in pieces."""
    lines = logged(log)
    for name, salt, forks in RUNS:
        which = f"{name:8} " + (f"{forks} forks" if forks else f"hashes {'mirrored' if salt else 'as they fall'}")
        if which in lines:
            continue
        began, bounds = time.process_time(), BOUNDS[name](True)
        exploration = Exploration(bounds, Both(Model(bounds.past)), depth, salt, forks)
        broken = [str(found) for found in exploration.found()]
        count = exploration.count
        told = (
            f"{which}: {len(bounds.deeds)} deeds, {count.histories} histories, {count.deliveries} orders of delivery,"
            f" {len(broken)} broken, cpu {time.process_time() - began:.0f} s"
        )
        lines[which] = "\n    ".join([told, *broken[:10]])
        print(lines[which], flush=True)
        if log is not None:
            log.write_text("\n".join([*lines.values(), summary(lines)]) + "\n", "utf-8")
    print(summary(lines))
    return all(" 0 broken" in line for line in lines.values())


LINE = re.compile(r"([^:]+): \d+ deeds, (\d+) histories, (\d+) orders of delivery, (\d+) broken")


def logged(log: Path | None) -> dict[str, str]:
    """Run -> what the log says of it."""
    found: dict[str, str] = {}
    for line in log.read_text("utf-8").splitlines() if log is not None and log.exists() else []:
        if match := LINE.match(line):
            found[last := match[1]] = line
        elif line.startswith("    "):
            found[last] += "\n" + line
    return found


def summary(lines: Mapping[str, str]) -> str:
    sums = [0, 0, 0]
    for line in lines.values():
        match = LINE.match(line)
        assert match is not None
        sums = [a + int(b) for a, b in zip(sums, match.groups()[1:], strict=True)]
    return f"{sums[0]} histories in {sums[1]} orders of delivery; {sums[2]} broken"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.exploration.soak")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--depth", type=int, default=3)
    given = parser.parse_args()
    return not soak(given.log, given.depth)


if __name__ == "__main__":
    sys.exit(main())
