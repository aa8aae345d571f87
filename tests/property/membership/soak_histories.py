"""Many random histories of the model, each of their states held against production, with a log that is evidence:

    python -m tests.property.membership.soak_histories --runs 5000 --log docs/evidence/histories.txt

Every second history has recoveries by phrase, thieves and statements that some do not get (`trust`).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

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


def soak(runs: int, log: Path | None, first: int = FIRST) -> bool:
    """So many histories, half of them with recoveries and thieves; whether all held.  The log grows with each piece."""
    model, lines, held, states, failed = load_model(), list[str](), 0, 0, 0
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(model, patch)
        for start in range(first, first + runs // 2, PIECE // 2):
            seeds = range(start, min(start + PIECE // 2, first + runs // 2))
            began, compared = time.process_time(), 0
            for seed in seeds:
                for trust in (False, True):
                    try:
                        compared += histories(model, watch, [seed], trust)
                        held += 1
                    except AssertionError as error:
                        failed += 1
                        lines.append(f"{seed:8} trust {trust} FAILED  {error}")
                        print(lines[-1], flush=True)
            states += compared
            spent = time.process_time() - began
            lines.append(f"seeds {seeds[0]} to {seeds[-1]}  states compared {compared:6}  cpu {spent:5.1f} s")
            print(lines[-1], flush=True)
            sums = f"{held} of {held + failed} histories held; {states} states compared"
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text("\n".join([*lines, sums]) + "\n", "utf-8")
    print(sums)
    return not failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.membership.soak_histories")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--log", type=Path)
    given = parser.parse_args()
    return not soak(given.runs, given.log, given.first)


if __name__ == "__main__":
    sys.exit(main())
