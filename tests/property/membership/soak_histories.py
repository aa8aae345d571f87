"""Many random histories of the model, each of their states held against production, with a log that is evidence:

    python -m tests.property.membership.soak_histories --runs 5000 --log docs/evidence/histories.txt

Every second history has recoveries by phrase, thieves and statements that some do not get (`trust`).  What the log has
already is not run again, so a long run may be done in pieces.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.property.membership.reference import load_model
from tests.property.membership.watch import Watch, compare

FIRST = 20_000  # seeds of a soak, from here on
PIECE = 100  # histories in one line of the log


def histories(model: ModuleType, watch: Watch, seeds: Iterable[int], trust: bool) -> int:
    """Holds the histories of these seeds against production; gives the number of states compared."""
    compared = 0
    for seed in seeds:
        watch.clear()
        violations, examples = model.random_run(seed, model.FIXED, trust=trust)
        assert not violations, examples
        try:
            compared += compare(watch, random.Random(seed))
        except AssertionError as failed:
            again = f"KITHKIN_MODEL_SEED={seed} KITHKIN_MODEL_RUNS=1 pytest tests/property/membership -k random"
            raise AssertionError(f"{again}: {failed}") from failed
    return compared


class Piece(NamedTuple):
    """Some histories, and what came of them.  failed: a sentence for each."""

    seeds: range
    states: int
    spent: float
    failed: list[str]

    def __str__(self) -> str:
        seeds = self.seeds
        told = (
            f"{seeds[0]:6} to {seeds[-1]:6}  {2 * len(seeds) - len(self.failed):4} of {2 * len(seeds):4} histories held"
        )
        return "\n".join([f"{told}  states compared {self.states:6}  cpu {self.spent:5.1f} s", *self.failed])


def piece(model: ModuleType, watch: Watch, seeds: range) -> Piece:
    """Each seed with and without thieves."""
    began, states, failed = time.process_time(), 0, []
    for seed in seeds:
        for trust in (False, True):
            try:
                states += histories(model, watch, [seed], trust)
            except AssertionError as error:
                failed.append(f"    {seed} {'with' if trust else 'without'} thieves: {str(error)[:500]}")
    return Piece(seeds, states, time.process_time() - began, failed)


def soak(runs: int, log: Path | None, first: int = FIRST) -> bool:
    """So many histories, half of them with recoveries and thieves; whether all held.  The log grows with each piece."""
    model, lines = load_model(), logged(log)
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(model, patch)
        for start in range(first, first + runs // 2, PIECE // 2):
            if start in lines:
                continue
            lines[start] = str(piece(model, watch, range(start, min(start + PIECE // 2, first + runs // 2))))
            print(lines[start], flush=True)
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text("\n".join([*(lines[one] for one in sorted(lines)), summary(lines)]) + "\n", "utf-8")
    print(summary(lines))
    return all("\n" not in line for line in lines.values())


LINE = re.compile(r" *(\d+) to +\d+ +(\d+) of +(\d+) histories held  states compared +(\d+)")


def logged(log: Path | None) -> dict[int, str]:
    """First seed of a piece -> what the log says of it."""
    found: dict[int, str] = {}
    for line in log.read_text("utf-8").splitlines() if log is not None and log.exists() else []:
        if match := LINE.match(line):
            found[last := int(match[1])] = line
        elif line.startswith("    "):
            found[last] += "\n" + line
    return found


def summary(lines: Mapping[int, str]) -> str:
    sums = [0, 0, 0]
    for line in lines.values():
        match = LINE.match(line)
        assert match is not None
        sums = [a + int(b) for a, b in zip(sums, match.groups()[1:], strict=True)]
    return f"{sums[0]} of {sums[1]} histories held; {sums[2]} states compared"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.membership.soak_histories")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--log", type=Path)
    given = parser.parse_args()
    return not soak(given.runs, given.log, given.first)


if __name__ == "__main__":
    sys.exit(main())
