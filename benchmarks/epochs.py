"""Opening an epoch for 300 devices: time and bytes, the first time in a week (ML-KEM ciphertexts travel) and again.

python -m benchmarks.epochs [rounds=5]

A group of 50 people with six devices each is the largest that there is: 295 devices, since the creator here has one.
The library's ML-KEM, a store in memory: what sealing, signing and folding cost, not the disk.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from crdt.space.grant import Shared
from identity.kem import installed
from sync.space.space import Space
from tests.support.crowd import MS, crowd, open_epoch

MEMBERS, DEVICES = 49, 6


def epochs(rounds: int = 5) -> dict[str, Any]:
    """Medians of the rounds: ms and bytes of each way to open an epoch."""
    kem = installed()
    if kem is None:
        raise RuntimeError("this platform has no ML-KEM-768")
    _, space, people = crowd(MEMBERS, DEVICES, kem, kem)
    first = [_opened(space, fresh=True) for _ in range(rounds)]
    shared = [_opened(space, fresh=False) for _ in range(rounds)]
    alone = crowd(MEMBERS, DEVICES, None, None)[1]
    classical = [_opened(alone, fresh=True) for _ in range(rounds)]
    return {
        "devices": len(people) + 1,
        "first_ms": _median(first, 0),
        "first_cpu_ms": _median(first, 1),
        "first_bytes": int(_median(first, 2)),
        "shared_ms": _median(shared, 0),
        "shared_cpu_ms": _median(shared, 1),
        "shared_bytes": int(_median(shared, 2)),
        "classical_ms": _median(classical, 0),
        "classical_cpu_ms": _median(classical, 1),
        "classical_bytes": int(_median(classical, 2)),
    }


def _opened(space: Space, *, fresh: bool) -> tuple[float, float, int]:
    """(ms, CPU ms, bytes) of one epoch; fresh: as after the turn of the week, with no ciphertext to name."""
    feed = space.mine
    if feed is None:
        raise RuntimeError("nobody writes here")
    if fresh:
        space.epoch_keys.shared = Shared()
    size, began, cpu = feed.tree.size, time.perf_counter(), time.process_time()
    open_epoch(space, MS)
    took, worked = time.perf_counter() - began, time.process_time() - cpu
    space.finish(MS)
    return took * 1000, worked * 1000, feed.tree.size - size


def _median(rounds: list[tuple[float, float, int]], place: int) -> float:
    return round(statistics.median(one[place] for one in rounds), 1)


def main(rounds: int = 5) -> None:
    print(json.dumps(epochs(rounds)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
