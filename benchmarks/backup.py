"""What a backup and a restore of a large store cost: MB/s, and the memory that they hold.

    python -m benchmarks.backup --megabytes 1000 [--entry 500]

The store is SQLite on the disk, filled with rows as messages make them (entries of 500 bytes, facts, rows, nodes);
`--entry 60000` makes fewer and larger ones.  Each step runs in a process of its own.  Three figures of memory: what the
process held before it began (`base_mb`), the most that it held while the passphrase was stretched (`key_mb`), and the
most from then on (`stream_mb`); Linux counts the last two apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import spread
from sync.backup.file import silent
from sync.backup.sweep import Sweep
from sync.backup.target import Target, begin, open_backup
from sync.service.backups import load, whole
from sync.store.port import Batch, Table
from sync.store.sqlite import SqliteStore

KEY = bytes(range(32))
WHO, DEVICE = b"\x01" * 32, b"\x02" * 32
ENTRY = 500  # bytes of a sealed message
Step = Callable[[Path, int, int], dict[str, Any]]


def highest() -> float:
    """The most memory that this process held since `forget_highest`, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_highest() -> None:
    """The highest is what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def stretched() -> dict[str, float]:
    """The passphrase is stretched, and what that held is given back: from here on the rows count."""
    key = highest()
    forget_highest()
    return {"key_mb": key, "after_key_mb": highest()}


def fill(folder: Path, megabytes: int, entry: int) -> dict[str, Any]:
    """Rows of as many messages as make up so many megabytes."""
    store, draw = SqliteStore(folder / "store.db", KEY), Random(1)
    written = number = 0
    space = draw.randbytes(32)
    while written < megabytes * 1_000_000:
        batch = Batch()
        for _ in range(max(1, 1_000_000 // entry)):
            number += 1
            place = number.to_bytes(8, "big")
            sealed, message = draw.randbytes(entry), draw.randbytes(32)
            batch.put(Table.ENTRY, b"\0\0\0\1" + place, sealed)
            batch.put(Table.FACT, space + b"m" + message + place, sealed[:220])
            batch.put(Table.ROW, space + place + message[:12], sealed[:260])
            batch.put(Table.MESSAGE, space + message, place + message[:12])
            written += entry + 220 + 260 + 20 + 12 + 81 + 52 + 64
        store.write(batch, durable=False)
    store.close()
    return {"messages": number, "megabytes": written / 1e6}


def create(folder: Path, megabytes: int, entry: int) -> dict[str, Any]:
    """One state into the file."""
    store = SqliteStore(folder / "store.db", KEY)
    started = time.perf_counter()
    target = begin(folder / "backup", "secret", os.urandom, identity=WHO, own={DEVICE})
    key_seconds, memory = time.perf_counter() - started, stretched()
    octets = asyncio.run(_sweep(store, target))
    target.writer.finish(0, WHO, DEVICE, 0, ())
    size = target.finish()
    target.close()
    store.close()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "argon2": key_seconds,
        "rate": octets / 1e6 / seconds,
        "file": size / 1e6,
        "written": target.writer.written / 1e6,
        **memory,
    }


async def _sweep(store: SqliteStore, target: Target) -> int:
    """As the service does it: the next record is read while one is sealed and written."""
    sweep, octets, writing = Sweep(store), 0, None
    while (record := sweep.step()) is not None:
        if writing is not None:
            await writing
        writing = asyncio.create_task(asyncio.to_thread(target.add, record))
        octets += record.octets
        await asyncio.sleep(0)
    if writing is not None:
        await writing
    return octets


def verify(folder: Path, megabytes: int, entry: int) -> dict[str, Any]:
    """Every byte of it."""
    started = time.perf_counter()
    opened = open_backup(folder / "backup", "secret")
    memory = stretched()
    with opened.file:
        contents = whole(opened, opened.survey())
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": contents.octets / 1e6 / seconds, **memory}


def restore(folder: Path, megabytes: int, entry: int) -> dict[str, Any]:
    """Checked as a whole, then written into a new store."""
    started = time.perf_counter()
    opened = open_backup(folder / "backup", "secret")
    memory = stretched()
    with opened.file:
        contents = whole(opened, opened.survey())
        store = SqliteStore(folder / "restored.db", KEY)
        asyncio.run(load(opened, contents.parts, store, silent))
        store.close()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": contents.octets / 1e6 / seconds, **memory}


def alone(step: Step, folder: Path, megabytes: int, entry: int) -> dict[str, Any]:
    """In a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(step, folder, megabytes, entry, theirs))
    process.start()
    theirs.close()  # so that a step that fails ends the wait
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def _run(step: Step, folder: Path, megabytes: int, entry: int, out: Any) -> None:
    forget_highest()
    base, spent = highest(), time.process_time()
    found = step(folder, megabytes, entry)
    spent = time.process_time() - spent  # of all threads: on a busy machine it says more than the clock
    if "rate" in found:
        found["rate_of_one_core"] = found["rate"] * found["seconds"] / spent
    told = {"load": spread.load(), **found, "cpu_seconds": spent, "base_mb": base, "stream_mb": highest()}
    out.send({key: round(value, 2) if isinstance(value, float) else value for key, value in told.items()})


def backup(megabytes: int, entry: int = ENTRY, folder: Path | None = None) -> Iterator[dict[str, Any]]:
    """Each step with its figures.  folder: where there is room for three times as much."""
    held = Path(tempfile.mkdtemp(prefix="kithkin-backup-", dir=folder))
    try:
        for step in (fill, create, create, verify, restore):
            yield {"step": step.__name__, **alone(step, held, megabytes, entry)}
    finally:
        shutil.rmtree(held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--entry", type=int, default=ENTRY, help="bytes of one message")
    parser.add_argument("--folder", type=Path, help="where there is room for three times as much (a temporary folder)")
    asked = parser.parse_args()
    for row in backup(asked.megabytes, asked.entry, asked.folder):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
