"""`python -m tests.apps.soak_kill --rounds 100 --log docs/evidence/kill.txt`: many kill rounds, with a log.

Each round is `tests.apps.killing.kill_round`: 500 messages and 3 kills, after which both sides have every acknowledged
message once and in the same order, and `doctor` finds no fault.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.apps.killing import kill_round
from tests.support.processes import trio

PER_PROFILE = 10  # rounds on one pair of profiles: 5,000 messages


async def soak(rounds: int, seed: int, log: Path) -> int:
    """Returns how many rounds failed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    failed = acknowledged = kills = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, log.open("w", encoding="utf-8") as out:

        def say(text: str) -> None:
            print(text, file=out, flush=True)
            print(text, flush=True)

        say(f"{rounds} rounds of 500 messages and 3 kills, first seed {seed}")
        done = 0
        while done < rounds:
            async with trio(Path(folder) / "first", Path(folder) / f"from{done}") as three:
                await asyncio.gather(three.phone.run(), three.friend.run())
                for number in range(done, min(done + PER_PROFILE, rounds)):
                    done = number + 1
                    try:
                        seen = await kill_round(three, 500, 3, seed + number, f"round {number}:")
                    except Exception as error:
                        failed += 1
                        say(f"round {number} seed {seed + number}: FAILED: {type(error).__name__}: {error!s:.500}")
                        break
                    acknowledged += len(seen.acknowledged)
                    kills += seen.kills
                    count = len(seen.acknowledged)
                    say(f"round {number} seed {seed + number}: {count} acknowledged, none lost or doubled")
        took = time.monotonic() - began
        say(f"{done} rounds, {kills} kills, {acknowledged} messages acknowledged, {failed} rounds failed, {took:.0f} s")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.apps.soak_kill")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--log", type=Path, default=Path("docs/evidence/kill.txt"))
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else secrets.randbelow(1 << 32)
    return 1 if asyncio.run(soak(args.rounds, seed, args.log)) else 0


if __name__ == "__main__":
    sys.exit(main())
