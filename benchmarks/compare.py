"""The figures of two checkouts in one run: `python -m benchmarks.compare OTHER [--rounds 5] [--out FILE]`.

OTHER is a folder with another state of this repository; both run with this Python's packages.  In each round every
figure is measured once there and once here, in turns, so that other load on the machine affects both.  What counts is
the ratio of here to there, pair by pair.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.spread import load, machine, spread

HERE = Path(__file__).resolve().parents[1]

SETUP = """
from pathlib import Path
from benchmarks.corpus import write_lines
from benchmarks.scene import make_friends
base = Path(FOLDER)
for name in ("pair", "scene"):
    (base / name).mkdir()
(base / "pair.chat").write_text(make_friends(base / "pair", ["ada", "ben"]))
(base / "scene.chat").write_text(make_friends(base / "scene", ["ada", "ben", "cleo"]))
write_lines(base / "lines.jsonl", 20_000)
print("{}")
"""

# figure -> (code that prints one JSON object, keys of it that are compared; lower is better unless it ends in _per_s)
FIGURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "message": (
        "from benchmarks.latency import latency\n"
        "print(json.dumps(dict(latency(base / 'pair', (base / 'pair.chat').read_text(), 500))))",
        ("p50_ms", "p99_ms", "source_cpu_ms", "sink_cpu_ms"),
    ),
    "merge 1000": (
        "from benchmarks.merge import merge\n"
        "group, writers = (base / 'scene.chat').read_text(), ['ada', 'ben', 'cleo']\n"
        "print(json.dumps(dict(merge(base / 'scene', group, writers, 1000))))",
        ("seconds",),
    ),
    "stream": ("from benchmarks.stream import stream\nprint(json.dumps(dict(stream(256))))", ("mb_per_s",)),
    "import 20000": (
        "import tempfile\nfrom benchmarks import large\n"
        "with tempfile.TemporaryDirectory() as held:\n"
        "    folder = Path(held) / 'ada'\n"
        "    found = {f'import_{k}': v for k, v in large.import_lines(folder, base / 'lines.jsonl').items()}\n"
        "    found |= {f'chat_{k}': v for k, v in large.open_chat(folder).items()}\n"
        "    found['start_seconds'] = large.start_node(folder)\n"
        "print(json.dumps(found))",
        ("import_seconds", "import_cpu_s", "chat_cold_ms", "chat_warm_ms", "chat_open_ms", "start_seconds"),
    ),
    "idle 20000": (
        "import tempfile\nfrom benchmarks import large\n"
        "with tempfile.TemporaryDirectory() as held:\n"
        "    large.import_lines(Path(held) / 'ada', base / 'lines.jsonl')\n"
        "    print(json.dumps(large.idle_node(Path(held) / 'ada')))",
        ("idle_mb", "peak_mb"),
    ),
}


def run(checkout: Path, folder: Path, code: str) -> dict[str, Any]:
    """What the code prints last, run in a checkout with its own files first on the path."""
    head = f"import json\nfrom pathlib import Path\nFOLDER = {str(folder)!r}\nbase = Path(FOLDER)\n"
    env = {**os.environ, "PYTHONPATH": str(checkout), "KITHKIN_BOOTSTRAP": "", "KITHKIN_LAN": "off"}
    done = subprocess.run(
        [sys.executable, "-c", head + code], cwd=checkout, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Measures, prints a line a figure, and keeps the rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--figure", action="append", choices=sorted(FIGURES), help="this one alone; may be repeated")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sides = {"there": options.other.resolve(), "here": HERE}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="kithkin-compare-") as held:
        folders = {side: Path(held) / side for side in sides}
        for side, folder in folders.items():
            folder.mkdir()
            run(sides[side], folder, SETUP)
        for number in range(options.rounds):
            for figure in options.figure or FIGURES:
                order = list(sides) if number % 2 == 0 else list(sides)[::-1]
                row: dict[str, Any] = {"figure": figure, "round": number, "load": load()}
                for side in order:
                    row[side] = run(sides[side], folders[side], FIGURES[figure][0])
                rows.append(row)
                print(json.dumps(row), flush=True)
    for figure, (_, keys) in FIGURES.items():
        for key in keys:
            pairs = [(row["here"][key], row["there"][key]) for row in rows if row["figure"] == figure]
            if pairs:
                ratio = spread([here / there for here, there in pairs])
                here, there = spread([h for h, _ in pairs]), spread([t for _, t in pairs])
                print(json.dumps({"figure": f"{figure} {key}", "ratio": ratio, "here": here, "there": there}))
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": machine(), "rounds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
