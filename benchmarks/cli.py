"""What a command costs to start, and to ask a running node: ratios to a Python that imports what every command needs.

    python -m benchmarks.cli [--rounds 15] [--out FILE]

Each round starts the bare Python (`import asyncio, json, argparse`) and every command once, one after the other, so
that what else the machine does falls on all of them; a ratio is taken within its round.  Commands that ask a profile go
through a node that runs on it.  Seconds are of the wall, `cpu` is user and system of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.ends import ROOT
from benchmarks.spread import load, machine, spread

BARE = ("-c", "import asyncio, json, argparse")
KITHKIN = ("-m", "apps.cli")
COMMANDS: dict[str, tuple[str, ...]] = {
    "bare": BARE,
    "--version": (*KITHKIN, "--version"),
    "--help": (*KITHKIN, "--help"),
    "chat list": (*KITHKIN, "chat", "list"),
    "--json chat list": (*KITHKIN, "--json", "chat", "list"),
    "send": (*KITHKIN, "send", "self", "hello"),
    "read": (*KITHKIN, "read", "self"),
    "search": (*KITHKIN, "search", "hello"),
}
LIMITS = {"--version": 1.5, "--help": 1.5}
LIMIT = 3.0  # of a call through a running node


def measure(words: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """(wall, CPU) seconds of one process from its start to its end."""
    before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def node(folder: Path) -> Iterator[dict[str, str]]:
    """A profile with a node that runs on it; the environment that leads commands there."""
    secret = folder / "passphrase"
    secret.write_text("correct horse\n")
    environment = {
        **os.environ,
        "KITHKIN_PROFILE": str(folder / "profile"),
        "KITHKIN_PASSPHRASE_FILE": str(secret),
        "KITHKIN_BOOTSTRAP": "",
        "KITHKIN_LAN": "off",
    }
    made = [sys.executable, *KITHKIN, "init", "--name", "Ada"]
    subprocess.run(made, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    run = [sys.executable, *KITHKIN, "--json", "run", "--host", "127.0.0.1"]
    with subprocess.Popen(run, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("the node did not start")
            yield environment
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    walls: dict[str, list[float]] = {name: [] for name in COMMANDS}
    cpus: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder, node(Path(folder)) as environment:
        for words in COMMANDS.values():
            measure(words, environment)  # compiles what is not compiled yet
        for round_ in range(given.rounds):
            for name, words in COMMANDS.items():
                wall, cpu = measure(words, environment)
                walls[name].append(wall)
                cpus[name].append(cpu)
                rows.append(
                    {"round": round_, "command": name, "wall": round(wall, 4), "cpu": round(cpu, 4), "load": load()}
                )
    for name in COMMANDS:
        ratios = spread([one / bare for one, bare in zip(walls[name], walls["bare"], strict=True)])
        work = spread([one / bare for one, bare in zip(cpus[name], cpus["bare"], strict=True)])
        told = {"command": name, "ratio": ratios, "cpu ratio": work, "seconds": spread(walls[name])}
        print(json.dumps({**told, **({"limit": LIMITS.get(name, LIMIT)} if name != "bare" else {})}), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps({"machine": machine(), "rounds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
