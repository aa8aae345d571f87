"""Many storms, with a log that is evidence:

    python -m tests.simulation.soak --seeds 500 --log docs/evidence/simulation.txt

`--seed N` replays one; `--trace N` prints its trace hash; `--minutes M` stops early; `--jobs J` runs that many at once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.simulation.storm import MOVES, Storm, command, weather_it

FIRST = 20_000  # seeds of a soak, from here on


def one(seed: int, moves: int, apart: bool = False) -> tuple[int, str, bool]:
    """(seed, a line for the log, whether all held)."""
    began = time.process_time()
    try:
        storm = weather_it(seed, moves, apart=apart)
    except AssertionError as error:
        return seed, f"{seed:8} FAILED  {error}", False
    story, count, spent = storm.story, storm.world.trace.count, time.process_time() - began
    return (
        seed,
        f"{seed:8} held  told {len(story.told):3}  crashes {story.crashes:2}  boots {count['boot']:3}"
        f"  dials {count['dial']:3}  datagrams {count['datagram']:6}  lost {count['lost']:5}"
        f"  virtual {storm.world.now:5.0f} s  cpu {spent:4.1f} s  trace {storm.world.trace.digest}",
        True,
    )


def all_of(seeds: range, moves: int, jobs: int, apart: bool) -> Iterator[tuple[int, str, bool]]:
    if jobs == 1:
        for seed in seeds:
            yield one(seed, moves, apart)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = iter(seeds)
        running = {pool.submit(one, seed, moves, apart) for _, seed in zip(range(2 * jobs), waiting, strict=False)}
        while running:
            done = next(as_completed(running))
            running.discard(done)
            yield done.result()
            for seed in waiting:
                running.add(pool.submit(one, seed, moves, apart))
                break


def soak(seeds: range, moves: int, minutes: float, jobs: int, log: Path | None, apart: bool = False) -> bool:
    """Runs the seeds; whether all held."""
    began, held, failed = time.monotonic(), 0, []
    lines: list[str] = []
    for seed, line, good in all_of(seeds, moves, jobs, apart):
        print(line, flush=True)
        lines.append(line)
        held += good
        if not good:
            failed.append(seed)
        if time.monotonic() - began > minutes * 60:
            break
    sums = f"{held} of {held + len(failed)} storms held; {moves} moves each"
    sums += "".join(f"\nreplay:  {command(seed, apart=apart)}" for seed in failed)
    print(sums)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("\n".join([*sorted(lines), sums]) + "\n")
    return not failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--seed", type=int, help="this one alone, with its end shown")
    parser.add_argument("--trace", type=int, metavar="SEED", help="print the trace hash of this seed")
    parser.add_argument("--moves", type=int, default=MOVES)
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--apart", action="store_true", help="nobody knows an address; keys and topics must do")
    given = parser.parse_args()
    if given.trace is not None:
        print(Storm(given.trace, given.moves, apart=given.apart).run().world.trace.digest)
        return 0
    if given.seed is not None:
        _, line, good = one(given.seed, given.moves, given.apart)
        print(line)
        return not good
    seeds = range(given.first, given.first + given.seeds)
    return not soak(seeds, given.moves, given.minutes, given.jobs, given.log, given.apart)


if __name__ == "__main__":
    sys.exit(main())
