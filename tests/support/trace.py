"""What happened in a simulated world, as one hash: event kinds, names, sizes, contents and virtual times.

Two runs of one seed have the same hash; where they do not, something drew from the real world.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

KEPT = 60  # lines shown when a run fails


class Trace:
    """`count` by kind of event; `tail` is the last of them as text."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self._tail: deque[tuple[float, str, str, str]] = deque(maxlen=KEPT)
        self.count: dict[str, int] = {}

    def note(self, now: float, kind: str, who: str, what: str = "", data: bytes = b"") -> None:
        self._hash.update(f"{now:.6f} {kind} {who} {what} {len(data)}\n".encode())
        self._hash.update(data)
        self.count[kind] = self.count.get(kind, 0) + 1
        if kind not in ("datagram", "lost"):
            self._tail.append((now, kind, who, what))

    @property
    def digest(self) -> str:
        return self._hash.copy().hexdigest()

    def tail(self) -> str:
        return "\n".join(f"{now:10.3f} {kind:10} {who:14} {what}" for now, kind, who, what in self._tail)
