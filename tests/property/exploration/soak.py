"""The whole exploration, with a log that is evidence:

    python -m tests.property.exploration.soak --log docs/evidence/exploration.txt

All deeds, lies among them, three at a time after each common past, with hashes as they fall and mirrored; every state
held against the promises and against the model.
"""

from __future__ import annotations

import argparse
import sys
import time
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


def soak(log: Path | None, depth: int = 3) -> bool:
    """Whether all held."""
    lines, found, histories, deliveries = list[str](), 0, 0, 0
    for name, bounds in BOUNDS.items():
        for salt in (0, 1):
            began, broken = time.process_time(), list[str]()
            bound = bounds(True)
            exploration = Exploration(bound, Both(Model(bound.past)), depth, salt)
            for what in exploration.found():
                broken.append(str(what))
            count = exploration.count
            histories, deliveries = histories + count.histories, deliveries + count.deliveries
            found += len(broken)
            lines.append(
                f"{name:8} hashes {'mirrored' if salt else 'as they fall'}: {len(bound.deeds)} deeds,"
                f" {count.histories} histories, {count.deliveries} orders of delivery,"
                f" {len(broken)} broken, cpu {time.process_time() - began:.0f} s"
            )
            lines += broken[:10]
            print("\n".join(lines[-1 - len(broken[:10]) :]), flush=True)
            sums = f"{histories} histories in {deliveries} orders of delivery; {found} broken"
            if log is not None:
                log.write_text("\n".join([*lines, sums]) + "\n", "utf-8")
    print(sums)
    return not found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.exploration.soak")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--depth", type=int, default=3)
    given = parser.parse_args()
    return not soak(given.log, given.depth)


if __name__ == "__main__":
    sys.exit(main())
