"""Three writers, each with N messages written offline, meet: from the first datagram until all have all, committed.

python -m benchmarks.merge [messages=1000] [rounds=5] [writers=3]
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.scene import Player, copy_scene, make_friends

NAMES = ["ada", "ben", "cleo", "dan", "eve"]


def merge(scene: Path, group: str, names: list[str], count: int) -> dict[str, Any]:
    """One round."""
    folder = copy_scene(scene)
    players = [Player(folder / name) for name in names]
    try:
        total = 0
        written = []
        for player in players:
            player.do("open", online=False)
            written.append(player.do("write", chat=group, count=count, size=200, batch=100)["seconds"])
            total += player.do("length", chat=group)["mine"]
        cpu = [player.do("cpu")["cpu"] for player in players]
        for player in players:
            player.start("online")
        began = min(player.answer()["at"] for player in players)
        for player in players:
            player.start("reach", chat=group, total=total)
        ends = [player.answer() for player in players]
        if len({end["digest"] for end in ends}) != 1:
            raise RuntimeError(f"the writers do not read the same: {ends}")
        return {
            "seconds": round(max(end["at"] for end in ends) - began, 3),
            "cpu": [round(end["cpu"] - before, 2) for end, before in zip(ends, cpu, strict=True)],
            "messages": ends[0]["messages"],
            "append_s": round(statistics.median(written), 3),
        }
    finally:
        for player in players:
            player.close()
        shutil.rmtree(folder)


def main(count: int = 1000, rounds: int = 5, writers: int = 3) -> None:
    scene = Path(tempfile.mkdtemp(prefix="kithkin-scene-"))
    names = NAMES[:writers]
    group = make_friends(scene, names)
    found = [merge(scene, group, names, count) for _ in range(rounds)]
    times = sorted(round_["seconds"] for round_ in found)
    print(
        json.dumps(
            {
                "bench": "merge",
                "writers": writers,
                "per_writer": count,
                "rounds": rounds,
                "median_s": statistics.median(times),
                "min_s": times[0],
                "max_s": times[-1],
                "last": found[-1],
            }
        )
    )
    shutil.rmtree(scene)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
