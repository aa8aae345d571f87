"""Many runs with wrong clocks, with a log that is evidence:

    python -m tests.simulation.soak_clocks --seeds 200 --log docs/evidence/clocks.txt

`--seed N` replays one.  Seeds that the log has already are not run again, so a long run may be done in pieces.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.simulation.clocks import Clocks

FIRST = 30_000  # seeds of a soak, from here on
STEPS = 30


def one(seed: int, steps: int) -> tuple[str, bool]:
    """A line for the log, and whether all held."""
    began = time.process_time()
    clocks = Clocks(seed)
    start = clocks.world.now
    try:
        for _ in range(steps):
            clocks.step()
    except AssertionError as error:
        return f"{seed:8} FAILED  after {len(clocks.story)} deeds: {error}", False
    days, spent = (clocks.world.now - start) / 86_400, time.process_time() - began
    settings = sum(" -> " in told for told in clocks.story)
    return (
        f"{seed:8} held  clocks set {settings:3}  other deeds {len(clocks.story) - settings:3}"
        f"  messages {len(clocks.said):2}  virtual {days:4.1f} days  cpu {spent:4.1f} s",
        True,
    )


def soak(seeds: range, steps: int, log: Path | None) -> bool:
    """Runs the seeds that the log has not yet; whether all held.  The log grows with each."""
    lines = logged(log)
    for seed in seeds:
        if seed in lines:
            continue
        lines[seed], _ = one(seed, steps)
        print(lines[seed], flush=True)
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("\n".join([*(lines[one] for one in sorted(lines)), summary(lines, steps)]) + "\n", "utf-8")
    print(summary(lines, steps))
    return not failed(lines)


def logged(log: Path | None) -> dict[int, str]:
    """Seed -> its line."""
    lines = log.read_text("utf-8").splitlines() if log is not None and log.exists() else []
    return {int(line[:8]): line for line in lines if line[:8].strip().isdigit()}


def failed(lines: Mapping[int, str]) -> list[int]:
    return [seed for seed in sorted(lines) if " held " not in lines[seed]]


def summary(lines: Mapping[int, str], steps: int) -> str:
    bad = failed(lines)
    held = f"{len(lines) - len(bad)} of {len(lines)} runs held; two persons, three devices each, {steps} steps each"
    again = (f"\nreplay:  python -m tests.simulation.soak_clocks --seed {seed} --steps {steps}" for seed in bad)
    return held + "".join(again)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak_clocks")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--log", type=Path)
    given = parser.parse_args()
    if given.seed is not None:
        line, good = one(given.seed, given.steps)
        print(line)
        return not good
    return not soak(range(given.first, given.first + given.seeds), given.steps, given.log)


if __name__ == "__main__":
    sys.exit(main())
