"""A message from one device to another, one at a time, live: from the call that sends it until the other device has it
committed and tells of it.  `python -m benchmarks.latency [messages=1000] [rounds=5]`

Both commits are synced to the disk before anything is said or acknowledged.  The peers' side (`latency.js`) appends and
stores without a sync.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.peers import Peers
from benchmarks.scene import Player, copy_scene, make_friends
from benchmarks.spread import quantile

WARM = 50  # messages before the first that counts: records and look-ups settle


def latency(scene: Path, group: str, count: int) -> dict[str, float]:
    """One round: milliseconds, and milliseconds of CPU time a message on both sides."""
    folder = copy_scene(scene)
    players = [Player(folder / name) for name in ("ada", "ben")]
    source, sink = players
    try:
        for player in players:
            player.do("open", online=True)
        for player in players:
            player.do("until_peers", count=1)
        sink.do("listen")
        took, local = [], []
        for number in range(WARM + count):
            if number == WARM:
                cpu = [player.do("cpu")["cpu"] for player in players]
            sent = source.do("send", chat=group, text=f"{number} ".ljust(140, "m"))
            arrived = sink.do("arrived_at", message=sent["message"])["at"]
            took.append((arrived - sent["start"]) * 1e3)
            local.append((sent["end"] - sent["start"]) * 1e3)
        used = [(player.do("cpu")["cpu"] - before) * 1e3 / count for player, before in zip(players, cpu, strict=True)]
        took, local = took[WARM:], local[WARM:]
        return {
            "p50_ms": round(quantile(took, 0.5), 3),
            "p99_ms": round(quantile(took, 0.99), 3),
            "max_ms": round(max(took), 3),
            "local_p50_ms": round(quantile(local, 0.5), 3),
            "source_cpu_ms": round(used[0], 3),
            "sink_cpu_ms": round(used[1], 3),
        }
    finally:
        for player in players:
            player.close()
        shutil.rmtree(folder)


def main(count: int = 1000, rounds: int = 5) -> None:
    scene = Path(tempfile.mkdtemp(prefix="kithkin-scene-"))
    group = make_friends(scene, ["ada", "ben"])
    peers = Peers()
    for _ in range(rounds):
        print(json.dumps({"ours": latency(scene, group, count), "peer": peers.run("latency.js", count)}), flush=True)
    shutil.rmtree(scene)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
