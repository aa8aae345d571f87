"""What is written on the demo's stage: a slice of a public chat log where it lies beside the checkout, else our own."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

OWN = """
The ferry leaves at seven, so we meet at the harbour at half past six.
Who brings the big tent? Mine has a hole the size of a plate.
I can bring the tent, but somebody else has to carry the stove.
The stove is with my sister until Thursday.
Then let us cook on the beach like last summer.
Last summer it rained for three days and nobody could light a fire.
We had soup from a thermos and it was the best soup of my life.
Does anybody know whether the lighthouse is open in October?
The lighthouse keeper said yes, but only before noon.
My train arrives late, start without me and leave a note.
A note where? There is no post box on a beach.
Under the third stone left of the pier, as always.
I wrote the packing list on the back of the old map.
The old map is wrong about the bridge, the bridge is gone.
There is a new bridge a mile upstream, it has lanterns.
Lanterns! Then we walk it at night.
""".strip().splitlines()


def corpus() -> Path | None:
    """`shared/data` beside the checkout, or where KITHKIN_SHARED says."""
    root = Path(os.environ.get("KITHKIN_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    found = root / "data" / "irc-ubuntu.jsonl.gz"
    return found if found.exists() else None


def slices(count: int, each: int) -> list[list[dict[str, str]]]:
    """`count` lists of `each` import lines, all different."""
    found = corpus()
    if found is None:
        start = datetime(2026, 10, 1, 8, tzinfo=UTC)
        lines = [
            {
                "at": (start + timedelta(minutes=at)).isoformat().replace("+00:00", "Z"),
                "from": ("ida", "emil", "noor")[at % 3],
                "text": f"{OWN[at % len(OWN)]} ({at // len(OWN) + 1})",
            }
            for at in range(count * each)
        ]
    else:
        with gzip.open(found, "rt", encoding="utf-8") as file:
            lines = [json.loads(line) for line in islice(file, count * each)]
    return [lines[at * each : (at + 1) * each] for at in range(count)]


def words_to_find(texts: list[str], count: int) -> dict[str, int]:
    """`count` words and in how many texts each stands, none of them one that two ways of splitting would count
    differently."""
    split = [set(re.findall(r"[^\W_]+", text.casefold())) for text in texts]
    frequency = Counter(word for words in split for word in words)
    clear = [
        (word, found)
        for word, found in sorted(frequency.items())
        if re.fullmatch("[a-z]{5,}", word) and found == sum(word in text.casefold() for text in texts)
    ]
    clear.sort(key=lambda pair: -pair[1])
    return dict(clear[:count])
