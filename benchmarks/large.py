"""One profile with many messages: importing them, opening their chat, starting its node, and the node at rest.

python -m benchmarks.large [messages=20000] [rounds=5]
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.actor import PASSPHRASE
from benchmarks.corpus import write_lines
from benchmarks.scene import ROOT, Player, copy_scene

QUIET = 14.0  # seconds after which the search has let go of its process
BUSY = 0.03  # share of a core below which the tree counts as at rest: above one clock tick (10 ms) in half a second


def import_lines(folder: Path, lines: Path) -> dict[str, Any]:
    """A new profile in `folder` that imports the lines into the chat with itself."""
    with closing_player(folder) as player:
        player.do("create", who="ada")
        player.do("open", online=False)
        before = player.do("cpu")["cpu"]
        found = player.do("import", path=str(lines))
        found["cpu_s"] = round(player.do("cpu")["cpu"] - before, 3)
        return found


def open_chat(folder: Path) -> dict[str, float]:
    """Milliseconds of the first read after the profile was opened, of a warm one, and of the opening itself."""
    with closing_player(folder) as player:
        opened = player.do("open", online=False)["seconds"]
        cold = player.do("read_newest", limit=50)["seconds"]
        warm = sorted(player.do("read_newest", limit=50)["seconds"] for _ in range(20))[10]
        return {"open_ms": opened * 1e3, "cold_ms": cold * 1e3, "warm_ms": warm * 1e3}


@contextmanager
def closing_player(folder: Path) -> Iterator[Player]:
    player = Player(folder)
    try:
        yield player
    finally:
        player.close()


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """`kithkin run` on a profile, and the seconds until it says that it is ready."""
    secret = folder.parent / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    began = time.monotonic()
    node = subprocess.Popen(
        [sys.executable, "-m", "apps.cli", "--json", "run", "--host", "127.0.0.1"],
        cwd=ROOT,
        env={
            **os.environ,
            "KITHKIN_PROFILE": str(folder),
            "KITHKIN_PASSPHRASE_FILE": str(secret),
            "KITHKIN_BOOTSTRAP": "",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = node.stdout.readline() if node.stdout is not None else ""
        if "ready" not in said:
            raise RuntimeError(f"the node said {said!r}")
        yield node, time.monotonic() - began
    finally:
        node.terminate()
        node.wait(30)


def start_node(folder: Path) -> float:
    """Seconds from `kithkin run` to ready."""
    with running(folder) as (_, seconds):
        return seconds


def idle_node(folder: Path, limit: float = 180.0) -> dict[str, float]:
    """MB that all processes of a node hold (PSS) once everything is indexed and it has been quiet, and the highest sum
    seen on the way there.  A copy: the profile itself stays as it is."""
    copy = copy_scene(folder)
    try:
        with running(copy) as (node, _):
            until = time.monotonic() + limit
            peak, quiet, used = 0.0, time.monotonic(), _cpu(node.pid)
            while time.monotonic() - quiet < QUIET:
                if time.monotonic() > until:
                    raise RuntimeError("the node does not come to rest")
                time.sleep(0.5)
                peak = max(peak, memory(node.pid))
                now = _cpu(node.pid)
                if abs(now - used) > BUSY * 0.5 or len(tree(node.pid)) > 1:
                    quiet = time.monotonic()
                used = now
            return {"idle_mb": memory(node.pid), "peak_mb": peak, "processes": len(tree(node.pid))}
    finally:
        shutil.rmtree(copy)


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for each in found:
        # A child stands under the thread that started it.
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [one for one in map(int, children.read_text().split()) if _lives(one)]
    return found


def _lives(pid: int) -> bool:
    """A process that has ended and is not yet waited for holds nothing."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def memory(pid: int) -> float:
    """MB (2**20 bytes) of a process tree: proportional set size, so that what two share counts once."""
    total = 0
    for each in tree(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss:", "SwapPss:")))
    return round(total / 1024, 1)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(count: int = 20_000, rounds: int = 5) -> None:
    base = Path(tempfile.mkdtemp(prefix="kithkin-large-"))
    lines = base / "lines.jsonl"
    print(json.dumps({"lines": write_lines(lines, count), "count": count}))
    for number in range(rounds):
        folder = base / str(number) / "ada"
        folder.parent.mkdir()
        found = {"import": import_lines(folder, lines), "chat": open_chat(folder)}
        print(json.dumps({**found, "start_s": start_node(folder), "idle": idle_node(folder)}), flush=True)
    shutil.rmtree(base)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
