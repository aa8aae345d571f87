"""One encrypted stream, one direction, two processes on loopback.  `python -m benchmarks.stream [MB=256] [rounds=5]`

Ours is `python -m netstack throughput`, the peers' `stream.js secret`; both send pieces of 64 KiB.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

from benchmarks.peers import Peers
from benchmarks.scene import ROOT


def stream(megabytes: int) -> dict[str, float]:
    """One transfer: MB/s, and CPU seconds of both processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "netstack", "throughput", "--mb", str(megabytes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"mb_per_s": found["mb_s"], "cpu_s": round(cpu, 2)}


def main(megabytes: int = 256, rounds: int = 5) -> None:
    peers = Peers()
    for _ in range(rounds):
        print(json.dumps({"ours": stream(megabytes), "peer": peers.run("stream.js", "secret", megabytes)}), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
