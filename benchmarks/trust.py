"""All figures of the work on trust in one run, in under ten minutes on a quiet machine: `make bench-trust`.

python -m benchmarks.trust [--rounds 3] [--megabytes 300] [--out FILE]

Each figure is told with its target, on the clock and in CPU time (`cpu`), and with the load when its rounds began:
where other work wants the cores, CPU time is what can be compared.  The raw rounds go to FILE as JSON lines.
`make bench` has the figures beside the peers' programs; this run has none of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import backup, control, fold
from benchmarks.devices import LIMIT_MS, devices
from benchmarks.epochs import epochs
from benchmarks.guard import guard
from benchmarks.latency import latency
from benchmarks.merge import merge
from benchmarks.revocation import revocation
from benchmarks.scene import make_friends
from benchmarks.spread import load, machine

Row = dict[str, Any]
WRITERS = ["ada", "ben", "cleo"]

# (figure, key, what, the target, whether more is better)
TARGETS: list[tuple[str, str, str, float | None, bool]] = [
    ("epoch", "shared_ms", "an epoch for 295 devices, ms", 150, False),
    ("epoch", "shared_cpu_ms", "cpu", 150, False),
    ("epoch", "shared_bytes", "bytes", 45_000, False),
    ("epoch", "first_ms", "the same, first in a week, ms", 400, False),
    ("epoch", "first_cpu_ms", "cpu", 400, False),
    ("epoch", "first_bytes", "bytes", 400_000, False),
    ("revoke", "seconds", "revoking a device in 200 chats, s", 5, False),
    ("revoke", "cpu_s", "cpu", 5, False),
    ("revoke", "longest_tick_s", "the longest step of it, s", None, False),
    ("control", "one_by_one_s", "control graph of 2,000 entries, the state after each, cpu s", 2, False),
    ("control", "at_once_s", "the same at once, cpu s", 2, False),
    ("control", "start_ms", "reading its state at a start, cpu ms", 50, False),
    ("devices", "list_ms", "verifying a list of six devices, cpu ms", LIMIT_MS, False),
    ("devices", "again_ms", "the same in the next chat, cpu ms", LIMIT_MS, False),
    ("guard", "updates_per_s", "updates that the guard examines a second", 50_000, True),
    ("create", "rate", "backup of rows of 300 bytes, MB/s", 60, True),
    ("create", "rate_of_one_core", "cpu", 60, True),
    ("create", "stream_mb", "memory of the process while it streams, MB", 100, False),
    ("create", "key_mb", "and while the passphrase is stretched, 64 MiB, MB", None, False),
    ("restore", "rate", "restore of it, MB/s", 60, True),
    ("restore", "rate_of_one_core", "cpu", 60, True),
    ("restore", "stream_mb", "memory of the process while it streams, MB", 100, False),
    ("message", "p50_ms", "message to the other device, disk, p50 ms", None, False),
    ("message", "p99_ms", "p99 ms", None, False),
    ("message", "source_cpu_ms", "cpu, sender, ms", None, False),
    ("message", "sink_cpu_ms", "cpu, receiver, ms", None, False),
    ("fold", "alone_us", "one message from block to row, cpu us", None, False),
    ("fold", "together_us", "250 in a commit, each, cpu us", None, False),
    ("merge", "seconds", "three writers, 1,000 each, s", 1, False),
]


class Run:
    """Rounds, kept as they come."""

    def __init__(self, out: Path | None) -> None:
        self._out = out.open("w") if out is not None else None
        self.rows: list[Row] = []
        self.tell(machine())

    def tell(self, row: Row) -> None:
        text = json.dumps(row)
        print(text, flush=True)
        if self._out is not None:
            print(text, file=self._out, flush=True)

    def note(self, figure: str, measure: Callable[[], Row]) -> None:
        """One round, with the load at its start."""
        before = load()
        row = {"figure": figure, "load": before, **measure()}
        self.rows.append(row)
        self.tell(row)

    def values(self, figure: str, key: str) -> list[float]:
        return [row[key] for row in self.rows if row["figure"] == figure and key in row]


def measure(run: Run, rounds: int, megabytes: int) -> None:
    """Everything, figure by figure: rounds of one figure lie side by side."""
    group = control.Group(1)
    written = group.live(2000)
    base = Path(tempfile.mkdtemp(prefix="kithkin-bench-"))
    try:
        for _ in range(rounds):
            run.note("epoch", lambda: epochs(3))
            run.note("control", lambda: control.one_round(group.space, written))
            run.note("devices", devices)
            run.note("guard", lambda: dict(guard()))
            run.note("fold", lambda: dict(fold.measure()))
        run.note("revoke", lambda: dict(revocation(200)))
        for row in backup.backup(megabytes):
            run.note(row["step"], lambda row=row: row)  # type: ignore[misc]
        for name in ("pair", "scene"):
            (base / name).mkdir()
        pair = make_friends(base / "pair", WRITERS[:2])
        scene = make_friends(base / "scene", WRITERS)
        for _ in range(rounds):
            run.note("message", lambda: dict(latency(base / "pair", pair, 300)))
            run.note("merge", lambda: merge(base / "scene", scene, WRITERS, 1000))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def summary(run: Run) -> None:
    """Medians, with the lowest and the highest, beside their targets."""
    for figure, key, what, target, more in TARGETS:
        values = run.values(figure, key)
        if values:
            median = statistics.median(values)
            row: Row = {"figure": figure, "what": what, "median": median, "low": min(values), "high": max(values)}
            if target is not None:
                row |= {"target": target, "met": median >= target if more else median <= target}
            run.tell(row)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=300, help="of the store that is backed up")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    began, run = time.monotonic(), Run(asked.out)
    measure(run, asked.rounds, asked.megabytes)
    summary(run)
    run.tell({"took_s": round(time.monotonic() - began), "load": load()})


if __name__ == "__main__":
    main()
