"""npm yjs in one process, fed case after case."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("apply.js")


@dataclass(frozen=True, slots=True)
class Opened:
    """What yjs made of some updates: content by root and key, whether it held anything back, its own full update."""

    content: dict[str, dict[str, str]]
    pending: bool
    update: bytes


@dataclass(frozen=True, slots=True)
class Yjs:
    """The process, and a call that sends it one case and reads its answer."""

    process: subprocess.Popen[str]

    def open(self, updates: Sequence[bytes], roots: Sequence[str]) -> Opened:
        """Applies the updates one after the other to an empty document."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the oracle has no pipes")
        case = {"updates": [update.hex() for update in updates], "roots": list(roots)}
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        return Opened(said["content"], said["pending"], bytes.fromhex(said["update"]))


@contextmanager
def yjs() -> Iterator[Yjs]:
    with subprocess.Popen(
        ["node", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield Yjs(process)
        finally:
            process.kill()
