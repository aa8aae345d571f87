"""All figures of `docs/benchmarks.md`: `make bench`, or `python -m benchmarks [--rounds 5] [--quick] [--out FILE]`.

Rounds are interleaved: in each, every measurement of ours and of the others runs once, so that other load on the
machine affects both.  Only ratios within a run are meaningful.  The raw rounds go to FILE as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import large
from benchmarks.corpus import write_lines
from benchmarks.epochs import epochs
from benchmarks.guard import guard
from benchmarks.latency import latency
from benchmarks.merge import merge
from benchmarks.peers import Peers
from benchmarks.scene import make_friends
from benchmarks.spread import load, machine, spread
from benchmarks.stream import stream

WRITERS = ["ada", "ben", "cleo"]
MESSAGES, MANY, MEGABYTES = 20_000, 200_000, 256
AUTOBASE_ROUNDS = {1000: 2, 3000: 1}  # 25 s and 244 s a round, whatever the machine does
IDLE_ROUNDS, MANY_ROUNDS = 3, 3

Row = dict[str, Any]


class Run:
    """The rounds of one run.  `note` measures once and keeps the figures with the load at that moment."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self.rows: list[Row] = []

    def note(self, name: str, side: str, measure: Callable[[], Row | None]) -> None:
        before = load()
        found = measure()
        if found is not None:
            row = {"figure": name, "side": side, "load": before, **found}
            self.rows.append(row)
            print(json.dumps(row), flush=True)
        if self._out is not None:
            self._out.write_text(json.dumps({"machine": machine(), "rounds": self.rows}, indent=1) + "\n")

    def values(self, name: str, side: str, key: str) -> list[float]:
        return [row[key] for row in self.rows if row["figure"] == name and row["side"] == side and key in row]


@contextmanager
def memory_disk() -> Iterator[bool]:
    """Folders made meanwhile lie in memory; False where there is no such place."""
    there = Path("/dev/shm").is_dir()
    before = tempfile.tempdir
    tempfile.tempdir = "/dev/shm" if there else before
    try:
        yield there
    finally:
        tempfile.tempdir = before


def peer_row(found: dict[str, Any] | None, *keys: str) -> Row | None:
    return None if found is None else {key: found[key] for key in keys}


def many(folder: Path) -> None:
    """A profile with two hundred thousand messages, written here in commits of 500."""
    with large.closing_player(folder) as player:
        player.do("create", who="ada")
        player.do("open", online=False)
        player.do("write_own", count=MANY, size=100, batch=500)


def idle(folder: Path) -> Row:
    return dict(large.idle_node(folder))


def one_round(run: Run, peers: Peers, number: int, base: Path, group: str, quick: bool) -> None:
    pair, scene, lines = base / "pair", base / "scene", base / "lines.jsonl"
    run.note("message", "ours", lambda: dict(latency(pair, (base / "pair.chat").read_text(), 500)))
    run.note("message", "peer", lambda: peer_row(peers.run("latency.js", 500), "p50_ms", "p99_ms", "max_ms"))
    with memory_disk() as there:
        if there:  # where a sync costs neither side anything: the same durability
            run.note("message in memory", "ours", lambda: dict(latency(pair, (base / "pair.chat").read_text(), 500)))
            run.note("message in memory", "peer", lambda: peer_row(peers.run("latency.js", 500), "p50_ms", "p99_ms"))
    for count in (1000, 3000):
        run.note(f"merge {count}", "ours", lambda count=count: merge(scene, group, WRITERS, count))  # type: ignore[misc]
    run.note("guard", "ours", lambda: dict(guard()))
    run.note("epoch", "ours", lambda: epochs(3))
    run.note("stream", "ours", lambda: dict(stream(MEGABYTES)))
    run.note("stream", "peer", lambda: peer_row(peers.run("stream.js", "secret", MEGABYTES), "mb_per_s"))
    with tempfile.TemporaryDirectory(prefix="kithkin-large-") as held:
        folder = Path(held) / "ada"
        run.note("import", "ours", lambda: large.import_lines(folder, lines))
        run.note("chat", "ours", lambda: dict(large.open_chat(folder)))
        run.note("start", "ours", lambda: {"seconds": large.start_node(folder)})
        if number < IDLE_ROUNDS:
            run.note("idle", "ours", lambda: idle(folder))
    if number < MANY_ROUNDS:
        run.note("start many", "ours", lambda: {"seconds": large.start_node(base / "many" / "ada")})
        run.note("chat many", "ours", lambda: dict(large.open_chat(base / "many" / "ada")))
    for count, rounds in AUTOBASE_ROUNDS.items():
        if number < rounds and not (quick and count > 1000):

            def autobase(count: int = count) -> Row | None:
                return peer_row(peers.run("autobase.js", count, len(WRITERS)), "converge_ms", "same")

            run.note(f"merge {count}", "peer", autobase)


FIGURES = [  # (name, key, what, target)
    ("message", "p50_ms", "message to the other device, p50 ms", "no worse than the peer"),
    ("message", "p99_ms", "message to the other device, p99 ms", ""),
    ("message in memory", "p50_ms", "the same in memory, where no sync costs, p50 ms", "no worse than the peer"),
    ("message in memory", "p99_ms", "the same in memory, p99 ms", ""),
    ("message", "source_cpu_ms", "CPU ms a message, sender", ""),
    ("message", "sink_cpu_ms", "CPU ms a message, receiver", ""),
    ("merge 1000", "seconds", "three writers, 1,000 each, s", "1"),
    ("merge 3000", "seconds", "three writers, 3,000 each, s", "3"),
    ("merge 1000", "converge_ms", "Autobase, 1,000 each, ms", ""),
    ("merge 3000", "converge_ms", "Autobase, 3,000 each, ms", ""),
    ("import", "seconds", "import of 20,000, s", "4"),
    ("import", "cpu_s", "import of 20,000, CPU s", ""),
    ("chat", "cold_ms", "newest 50 of 20,000, cold, ms", "100"),
    ("chat", "warm_ms", "newest 50 of 20,000, warm, ms", "100"),
    ("chat", "open_ms", "opening that profile, ms", ""),
    ("idle", "idle_mb", "idle node, MB", "120"),
    ("idle", "peak_mb", "the same node while it indexes, MB", ""),
    ("guard", "updates_per_s", "updates that the guard examines a second", "50000"),
    ("guard", "page_ms", "a page of 1,000 in a process started for it, ms", ""),
    ("guard", "next_page_ms", "the next one, ms", ""),
    ("guard", "page_here_ms", "the same without a process, ms", ""),
    ("epoch", "first_ms", "an epoch for 295 devices, first in a week, ms", "400"),
    ("epoch", "first_bytes", "the same, bytes", "400000"),
    ("epoch", "shared_ms", "an epoch for 295 devices, later in the week, ms", "150"),
    ("epoch", "shared_bytes", "the same, bytes", "45000"),
    ("epoch", "classical_ms", "the same without ML-KEM, ms", ""),
    ("stream", "mb_per_s", "one encrypted stream, MB/s", ""),
    ("start", "seconds", "run to ready, 20,000, s", ""),
    ("start many", "seconds", "run to ready, 200,000, s", ""),
    ("chat many", "cold_ms", "newest 50 of 200,000, cold, ms", ""),
]


def summary(run: Run) -> None:
    for name, key, what, target in FIGURES:
        for side in ("ours", "peer"):
            values = run.values(name, side, key)
            if values:
                row = {"figure": what, "side": side, "rounds": len(values), **spread(values)}
                print(json.dumps(row | ({"target": target} if target and side == "ours" else {})))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="without the four minutes of Autobase with 3,000 each")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    peers = Peers()
    if peers.reason is not None:
        print(json.dumps({"skipped": "the peers' side", "reason": peers.reason}))
    base = Path(tempfile.mkdtemp(prefix="kithkin-bench-"))
    run = Run(options.out)
    try:
        for name in ("pair", "scene", "many"):
            (base / name).mkdir()
        (base / "pair.chat").write_text(make_friends(base / "pair", WRITERS[:2]))
        group = make_friends(base / "scene", WRITERS)
        print(json.dumps({**machine(), "load": load(), "lines": write_lines(base / "lines.jsonl", MESSAGES)}))
        many(base / "many" / "ada")
        for number in range(options.rounds):
            one_round(run, peers, number, base, group, options.quick)
        summary(run)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(json.dumps({"took_s": round(time.monotonic() - started)}), file=sys.stderr)
