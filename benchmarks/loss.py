"""Streams over a path with loss: 50 ms round trip, capped, two network namespaces with our wire between (needs root).

    python -m benchmarks.loss [--rounds 5] [--mb 40] [--rate 10] [--out FILE]

In each round and for each loss rate: one encrypted stream of ours and one of the npm stack after each other, then two
of ours at once, then one of ours beside one of npm's.  The wire is `tests/network/wire.py`: it drops both ways, delays
by 25 ms each way and lets `rate` MB/s of IP through, with a queue of one bandwidth-delay product.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path as FilePath

from benchmarks.ends import Side, transfer
from benchmarks.spread import load, machine, spread
from tests.network.wire import Condition, Path

LOSSES = (0.01, 0.05)
DELAY = 0.025
SETTLED = 1.0  # seconds after the second stream has begun
Row = dict[str, object]


def condition(loss: float, rate: float) -> Condition:
    return Condition(loss=loss, delay=DELAY, rate=rate, queue=int(rate * 2 * DELAY))


def sides(path: Path, *, npm: bool) -> tuple[Side, Side]:
    """Source on the left, sink on the right."""
    left, right = path.left, path.right
    return (
        Side(npm=npm, host=left.address, inside=left.space.command()),
        Side(npm=npm, host=right.address, inside=right.space.command()),
    )


def alone(loss: float, rate: float, size: int, *, npm: bool, seed: str) -> Row:
    """One stream over the path: MB/s and what it took."""
    with Path(condition(loss, rate), seed=seed) as path:
        found = transfer(*sides(path, npm=npm), size)
        there, _ = path.wire.tally()
    return {**found, "lost": there.lost, "dropped": there.dropped}


def shared(loss: float, rate: float, size: int, *, seed: str, npm: bool = False) -> Row:
    """Two streams at once: MB/s together while both run, from `SETTLED` seconds on, and the shares.

    One is sent by ours, the other too, or by npm's stack where `npm` says so; both are received by ours.
    """
    with Path(condition(loss, rate), seed=seed) as path:
        source, sink = sides(path, npm=False)
        other, _ = sides(path, npm=npm)
        with sink.start("sink", size) as first, sink.start("sink", size) as second:
            addresses = [(told["key"], f"{sink.host}:{told['port']}") for told in (first.hear(), second.hear())]
            with source.start("source", size, *addresses[0]), other.start("source", size, *addresses[1]):
                marks = [end.hear()["marks"] for end in (first, second)]
    begin = max(one[0][0] for one in marks) + SETTLED
    end = min(one[-1][0] for one in marks)
    if end <= begin:
        raise ValueError("the streams were too short to be compared")
    got = [by(one, end) - by(one, begin) for one in marks]
    return {
        "mb_per_s": round(sum(got) / (end - begin) / 1e6, 2),
        "lesser": round(min(got) / sum(got), 3),
        "first": round(got[0] / sum(got), 3),
    }


def by(marks: list[tuple[float, int]], at: float) -> float:
    """Bytes that had come by then, between two marks in proportion."""
    for (early, less), (late, more) in pairwise(marks):
        if late >= at:
            return less + (more - less) * max(0.0, at - early) / (late - early)
    return float(marks[-1][1])


def one_round(number: int, rate: float, size: int) -> list[Row]:
    rows: list[Row] = []
    for loss in LOSSES:
        seed = f"round {number}"
        order = [("ours", False), ("npm", True)]
        for name, npm in order if number % 2 == 0 else order[::-1]:
            rows.append({"figure": name, "load": load(), **alone(loss, rate, size, npm=npm, seed=seed)})
        rows.append({"figure": "two of ours", "load": load(), **shared(loss, rate, size, seed=seed)})
        beside = shared(loss, rate, size, seed=seed, npm=True)
        rows.append({"figure": "ours beside npm", "load": load(), **beside})
        for row in rows[-4:]:
            row.update(round=number, loss=loss)
            print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loss")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mb", type=int, default=50, help="of each stream")
    parser.add_argument("--rate", type=float, default=10.0, help="MB/s of the path")
    parser.add_argument("--out", type=FilePath)
    options = parser.parse_args()
    rows = [
        row for number in range(options.rounds) for row in one_round(number, options.rate * 1e6, options.mb * 1_000_000)
    ]
    for loss in LOSSES:
        for name, key in (
            ("ours", "mb_per_s"),
            ("npm", "mb_per_s"),
            ("two of ours", "mb_per_s"),
            ("two of ours", "lesser"),
            ("ours beside npm", "mb_per_s"),
            ("ours beside npm", "first"),
        ):
            values = [float(str(row[key])) for row in rows if row["figure"] == name and row["loss"] == loss]
            print(json.dumps({"figure": name, "loss": loss, "of": key, **spread(values)}))
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": machine(), "rounds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
