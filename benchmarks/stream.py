"""One encrypted stream, one direction, two processes on loopback.

    python -m benchmarks.stream [--mb 256] [--rounds 5] [--out FILE]

Ours and npm's stack in every pairing, ours also without segmentation offload; in each round every pairing runs once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.ends import Side, transfer
from benchmarks.spread import load, machine, spread

OURS, PLAIN, NPM = Side(), Side(shell="plain"), Side(npm=True)
PAIRS = {
    "ours to ours": (OURS, OURS),
    "ours to ours, plain": (PLAIN, PLAIN),
    "ours to npm": (OURS, NPM),
    "npm to ours": (NPM, OURS),
    "npm to npm": (NPM, NPM),
}


def stream(megabytes: int) -> dict[str, float]:
    """Ours to ours: MB/s, and CPU seconds of both processes."""
    found = transfer(OURS, OURS, megabytes << 20)
    return {"mb_per_s": found["mb_per_s"], "cpu_s": round(found["sink_cpu_s"] + found["source_cpu_s"], 2)}


def ratios(rows: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """Each pairing's MB/s against npm to npm, round by round: other work on the machine falls on both."""
    rounds: dict[object, dict[object, float]] = {}
    for row in rows:
        rounds.setdefault(row["round"], {})[row["pair"]] = float(str(row["mb_per_s"]))
    return {
        name: spread([speeds[name] / speeds["npm to npm"] for speeds in rounds.values() if name in speeds])
        for name in PAIRS
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream")
    parser.add_argument("--mb", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=list(PAIRS), help="this pairing (may be repeated)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = options.only or list(PAIRS)
    rows: list[dict[str, object]] = []
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            before = load()
            rows.append({"round": number, "pair": name, "load": before, **transfer(*PAIRS[name], options.mb << 20)})
            print(json.dumps(rows[-1]), flush=True)
    for name in names:
        print(json.dumps({"pair": name, **spread([float(str(r["mb_per_s"])) for r in rows if r["pair"] == name])}))
    if set(names) == set(PAIRS):
        print(json.dumps({"of npm to npm": ratios(rows)}))
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": machine(), "rounds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
