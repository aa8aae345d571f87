"""What the search costs: indexing, searching, memory.  `python -m benchmarks.search [ROUNDS] [MESSAGES]`, JSON lines.

Rounds of both backends alternate; medians with the lowest and highest round.  Messages are the IRC corpus beside the
checkout (KITHKIN_SHARED), made-up ones where it is absent: the first line says which.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sync.search.fts5 import Fts5Search
from sync.search.port import Document, Query, Search, Sort
from sync.search.worker import WorkerSearch

STEP = 1_000
SHARED = Path(os.environ.get("KITHKIN_SHARED") or Path(__file__).resolve().parents[2] / "shared")
QUERIES = [
    *("ubuntu", "the", "install package", "nvidia driver", "apt*"),
    *("x* the", "thanks", "kernel module", "sudo", "zzzz"),
]
Figures = dict[str, float]


def messages(count: int) -> tuple[str, list[Document]]:
    corpus = SHARED / "data" / "irc-ubuntu.jsonl.gz"
    if corpus.exists():
        name = "irc-ubuntu"
        with gzip.open(corpus, "rt", encoding="utf-8") as lines:
            pairs = [(row["from"], row["text"]) for row, _ in zip(map(json.loads, lines), range(count), strict=False)]
    else:
        name = "made up"
        pick = random.Random(1)
        common = [f"w{int(pick.paretovariate(0.7))}" for _ in range(50_000)]
        pairs = [("somebody", " ".join(pick.choices(common, k=pick.randint(3, 20)))) for _ in range(count)]
    return name, [
        Document(
            hashlib.blake2b(b"%d" % number, digest_size=32).digest(),
            bytes((number % 3,)) * 32,
            bytes((number % 2,)) * 32,
            source,
            1_100_000_000_000 + number * 60_000,
            number.to_bytes(8, "big"),
            text,
        )
        for number, (source, text) in enumerate(pairs)
    ]


def resident(pid: int | None, field: str = "VmRSS:") -> float:
    """MB a process holds now; 0 where there is none."""
    if pid is None:
        return 0.0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1_024
    return 0.0


def measure(search: Search, documents: list[Document]) -> Figures:
    figures: Figures = {}
    before = resident(os.getpid())
    search.count()  # a node that imports has its search open already
    start = time.perf_counter()
    for first in range(0, len(documents), STEP):
        search.add(documents[first : first + STEP], cursor=first.to_bytes(4, "big"))
    figures["index_s"] = time.perf_counter() - start
    search.flush()
    child = search.pid if isinstance(search, WorkerSearch) else None
    figures["child_mb"] = resident(child)
    figures["child_peak_mb"] = resident(child, "VmHWM:")
    for sort in Sort:
        took = []
        for _ in range(10):
            for text in QUERIES:
                start = time.perf_counter()
                search.query(Query(text, sort=sort))
                took.append((time.perf_counter() - start) * 1e3)
        figures[f"search_{sort.value}_p50_ms"] = statistics.median(took)
        figures[f"search_{sort.value}_p99_ms"] = statistics.quantiles(took, n=100)[-1]
    took = []
    for number in range(30):
        fresh = Document(bytes((number,)) * 32, b"c" * 32, b"a" * 32, "", 0, b"\xff" * 8, f"one more {number}")
        start = time.perf_counter()
        search.add([fresh])
        took.append((time.perf_counter() - start) * 1e3)
    figures["add_one_p50_ms"] = statistics.median(took)
    search.release()
    figures["idle_growth_mb"] = resident(os.getpid()) - before
    start = time.perf_counter()
    search.query(Query("ubuntu"))
    figures["first_search_ms"] = (time.perf_counter() - start) * 1e3
    start = time.perf_counter()
    search.remove([document.id for document in documents[: len(documents) // 100]])
    figures["remove_1_percent_ms"] = (time.perf_counter() - start) * 1e3
    start = time.perf_counter()
    search.scrub()
    figures["scrub_s"] = time.perf_counter() - start
    search.close()
    return figures


def main(rounds: int, count: int) -> None:
    name, documents = messages(count)
    print(json.dumps({"messages": len(documents), "from": name, "rounds": rounds}))
    backends = {"duckdb": WorkerSearch, "fts5": Fts5Search}
    seen: dict[str, list[Figures]] = {backend: [] for backend in backends}
    for _ in range(rounds):
        for backend, make in backends.items():
            with tempfile.TemporaryDirectory() as folder:
                figures = measure(make(Path(folder) / "index", os.urandom(32)), documents)
                figures["file_mb"] = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
                seen[backend].append(figures)
    for backend, each in seen.items():
        for figure in each[0]:
            values = [figures[figure] for figures in each]
            line = {"median": statistics.median(values), "low": min(values), "high": max(values)}
            print(json.dumps({"of": backend, "figure": figure, **{key: round(v, 2) for key, v in line.items()}}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, int(sys.argv[2]) if len(sys.argv) > 2 else 20_000)
