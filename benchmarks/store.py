"""What the store costs: a durable put, batches, overwrites, reads.  `python -m benchmarks.store [ROUNDS]`, JSON lines.

Rounds of the encrypted store and of a plain SQLite with the same table and settings alternate, so that the noise of the
machine falls on both; medians with the lowest and highest round.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import apsw

from sync.store.port import Batch, Table
from sync.store.sqlite import SqliteStore

ROWS, SIZE, STEP = 20_000, 400, 500
Figures = dict[str, float]


def resident() -> float:
    """MB this process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    return 0.0


def timed(figures: Figures, name: str, count: int, start: float) -> None:
    figures[name] = count / (time.perf_counter() - start)


def ours(folder: Path) -> Figures:
    figures: Figures = {}
    start = time.perf_counter()
    store = SqliteStore(folder / "store", os.urandom(32))
    figures["create_ms"] = (time.perf_counter() - start) * 1e3
    feed, ids = os.urandom(8), [os.urandom(16) for _ in range(ROWS)]
    ordered = [(feed + number.to_bytes(8, "big"), os.urandom(SIZE)) for number in range(ROWS)]
    for name, table, rows in (
        ("rows_ordered_s", Table.ENTRY, ordered),
        ("rows_random_s", Table.ROW, [(key, value) for key, (_, value) in zip(ids, ordered, strict=True)]),
    ):
        start = time.perf_counter()
        for first in range(0, ROWS, STEP):
            batch = Batch()
            batch.put_many(table, rows[first : first + STEP])
            store.write(batch, durable=False)
        timed(figures, name, ROWS, start)
    singles: dict[bool, list[float]] = {True: [], False: []}
    for durable, took in singles.items():
        for number in range(500):
            batch = Batch()
            batch.put(Table.META, os.urandom(16), ordered[number][1])
            start = time.perf_counter()
            store.write(batch, durable=durable)
            took.append((time.perf_counter() - start) * 1e3)
    figures["durable_put_ms"] = statistics.median(singles[True])
    figures["durable_put_p95_ms"] = statistics.quantiles(singles[True], n=20)[-1]
    figures["other_put_ms"] = statistics.median(singles[False])
    start = time.perf_counter()
    for key in ids[:5_000]:
        store.get(Table.ROW, key)
    timed(figures, "get_s", 5_000, start)
    start = time.perf_counter()
    store.get_many(Table.ROW, ids[:5_000])
    timed(figures, "get_many_s", 5_000, start)
    start = time.perf_counter()
    store.scan(Table.ENTRY)
    timed(figures, "scan_s", ROWS, start)
    store.release()
    figures["resident_mb"] = resident()
    store.close()
    figures["file_mb"] = (folder / "store").stat().st_size / 1e6
    return figures


def plain(folder: Path) -> Figures:
    """The same rows in unencrypted SQLite, called as directly as it goes."""
    figures: Figures = {}
    database = apsw.Connection(str(folder / "plain"))
    database.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL").fetchall()
    database.execute("PRAGMA synchronous = NORMAL; CREATE TABLE t (k BLOB PRIMARY KEY, v BLOB NOT NULL)").fetchall()
    rows = [(number.to_bytes(16, "big"), os.urandom(SIZE)) for number in range(ROWS)]
    start = time.perf_counter()
    for first in range(0, ROWS, STEP):
        with database:
            database.executemany("INSERT INTO t VALUES (?, ?)", rows[first : first + STEP])
    timed(figures, "rows_ordered_s", ROWS, start)
    database.execute("PRAGMA synchronous = FULL")
    took = []
    for number in range(500):
        start = time.perf_counter()
        database.execute("INSERT INTO t VALUES (?, ?)", (os.urandom(16), rows[number][1]))
        took.append((time.perf_counter() - start) * 1e3)
    figures["durable_put_ms"] = statistics.median(took)
    database.close()
    return figures


def main(rounds: int) -> None:
    seen: dict[str, list[Figures]] = {"kithkin": [], "sqlite plain": []}
    for _ in range(rounds):
        for name, measure in (("kithkin", ours), ("sqlite plain", plain)):
            with tempfile.TemporaryDirectory() as folder:
                seen[name].append(measure(Path(folder)))
    for name, figures in seen.items():
        for figure in figures[0]:
            values = [round_[figure] for round_ in figures]
            line = {"median": statistics.median(values), "low": min(values), "high": max(values)}
            print(json.dumps({"of": name, "figure": figure, **{k: round(v, 3) for k, v in line.items()}}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
