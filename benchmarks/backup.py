"""What a backup and a restore of a large store cost: MB/s, and the memory that they hold.

    python -m benchmarks.backup --megabytes 1000

The store is SQLite on the disk, filled with rows as messages make them (entries of 500 bytes, facts, rows, nodes).
Each step runs in a process of its own, whose highest memory is read at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from sync.backup.file import silent
from sync.backup.sweep import Sweep
from sync.backup.target import Target, begin, open_backup
from sync.service.backups import load, whole
from sync.store.port import Batch, Table
from sync.store.sqlite import SqliteStore

KEY = bytes(range(32))
WHO, DEVICE = b"\x01" * 32, b"\x02" * 32
ENTRY = 500  # bytes of a sealed message


def fill(folder: Path, megabytes: int) -> dict[str, Any]:
    """Rows of as many messages as make up so many megabytes."""
    store, draw = SqliteStore(folder / "store.db", KEY), Random(1)
    written = number = 0
    space = draw.randbytes(32)
    while written < megabytes * 1_000_000:
        batch = Batch()
        for _ in range(2_000):
            number += 1
            place = number.to_bytes(8, "big")
            sealed, message = draw.randbytes(ENTRY), draw.randbytes(32)
            batch.put(Table.ENTRY, b"\0\0\0\1" + place, sealed)
            batch.put(Table.FACT, space + b"m" + message + place, sealed[:220])
            batch.put(Table.ROW, space + place + message[:12], sealed[:260])
            batch.put(Table.MESSAGE, space + message, place + message[:12])
            written += ENTRY + 220 + 260 + 20 + 12 + 81 + 52 + 64
        store.write(batch, durable=False)
    store.close()
    return {"messages": number, "megabytes": written / 1e6}


def create(folder: Path, megabytes: int) -> dict[str, Any]:
    """One state into the file."""
    store = SqliteStore(folder / "store.db", KEY)
    started = time.perf_counter()
    target = begin(folder / "backup", "secret", os.urandom, identity=WHO, own={DEVICE})
    key_seconds = time.perf_counter() - started
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


def verify(folder: Path, megabytes: int) -> dict[str, Any]:
    """Every byte of it."""
    started = time.perf_counter()
    opened = open_backup(folder / "backup", "secret")
    with opened.file:
        contents = whole(opened, opened.survey())
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": contents.octets / 1e6 / seconds}


def restore(folder: Path, megabytes: int) -> dict[str, Any]:
    """Checked as a whole, then written into a new store."""
    started = time.perf_counter()
    opened = open_backup(folder / "backup", "secret")
    with opened.file:
        contents = whole(opened, opened.survey())
        store = SqliteStore(folder / "restored.db", KEY)
        asyncio.run(load(opened, contents.parts, store, silent))
        store.close()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": contents.octets / 1e6 / seconds}


def alone(step: Callable[[Path, int], dict[str, Any]], folder: Path, megabytes: int) -> dict[str, Any]:
    """In a process of its own, with the memory that it held at most."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(step, folder, megabytes, theirs))
    process.start()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def _run(step: Callable[[Path, int], dict[str, Any]], folder: Path, megabytes: int, out: Any) -> None:
    before, spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = step(folder, megabytes)
    spent = time.process_time() - spent  # of all threads: on a busy machine it says more than the clock
    if "rate" in found:
        found["rate_of_one_core"] = found["rate"] * found["seconds"] / spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out.send({**found, "cpu_seconds": spent, "peak_mb": peak / 1024, "grown_mb": (peak - before) / 1024})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where there is room for three times as much (a temporary folder)")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kithkin-backup-", dir=asked.folder))
    try:
        for step in (fill, create, create, verify, restore):
            print(json.dumps({"step": step.__name__, **alone(step, folder, asked.megabytes)}), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
