"""Lines to import: the IRC corpus of the shared data, made-up ones where it is absent."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

from benchmarks.peers import SHARED

CORPUS = SHARED / "data" / "irc-ubuntu.jsonl.gz"


def write_lines(path: Path, count: int) -> str:
    """`count` lines as `import` takes them, and what they are.  Beyond the corpus's end it starts over."""
    with path.open("wb") as out:
        if not CORPUS.exists():
            pick = random.Random(1)
            words = [f"w{int(pick.paretovariate(0.7))}" for _ in range(50_000)]
            for number in range(count):
                text = " ".join(pick.choices(words, k=pick.randint(3, 20)))
                at = f"2004-11-{1 + number % 28:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
                out.write(json.dumps({"at": at, "from": "somebody", "text": text}).encode() + b"\n")
            return "made up"
        left = count
        while left:
            with gzip.open(CORPUS, "rb") as lines:
                for line in lines:
                    out.write(line)
                    left -= 1
                    if not left:
                        break
    return "irc-ubuntu"
