"""Updates that the guard examines a second, one message each, and what a page of them costs behind glass.

`python -m benchmarks.guard [COUNT]`, one JSON line.
"""

from __future__ import annotations

import json
import sys
import time

from crdt.docs.chat import Message
from crdt.docs.guard import Admit, examine
from crdt.docs.kinds import DocKind
from crdt.docs.page import PageEntry, admitted_updates, apply_updates, whole_update
from crdt.docs.schema import dump_value
from crdt.docs.update import make_update
from sync.pages.process import PageProcess

CORES = [bytes([number]) * 32 for number in range(3)]
TEXT = "What people write to each other has about this length, some more, most of it less."


def entries(count: int) -> list[PageEntry]:
    """Messages of three feeds, as they come from a peer."""
    value = [dump_value(Message(bytes(16), TEXT))]
    places = [(CORES[number % 3], number // 3) for number in range(count)]
    return [PageEntry(core, seq, make_update(core, seq, DocKind.CHAT, value)) for core, seq in places]


def guard(count: int = 20_000) -> dict[str, float]:
    """updates_per_s: of the guard alone; page_ms: a page of 1,000 in the process, started anew; page_here_ms: the same
    without it."""
    made = entries(count)
    started = time.perf_counter()
    admitted = sum(isinstance(examine(body, core, seq, DocKind.CHAT), Admit) for core, seq, body in made)
    rate = count / (time.perf_counter() - started)
    if admitted != count:
        raise AssertionError("the guard refused an honest update")
    page = admitted_updates(made[:1000])
    started = time.perf_counter()
    with PageProcess() as pages:
        pages.build(page)
        first = time.perf_counter() - started
        started = time.perf_counter()
        pages.build(page)
        next_one = time.perf_counter() - started
    started = time.perf_counter()
    whole_update(apply_updates(page))
    here = time.perf_counter() - started
    found = {"page_ms": first, "next_page_ms": next_one, "page_here_ms": here}
    return {"updates_per_s": round(rate), **{name: round(1000 * value, 1) for name, value in found.items()}}


if __name__ == "__main__":
    print(json.dumps(guard(*map(int, sys.argv[1:2]))))
