"""Which feeds to ask this peer for next, and who in the space is asking for which already.

A plain function decides; claims keep two connections from fetching one feed twice.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

MAX_WANTS = 16  # feeds asked for at once on one connection; bytes are bounded by credit
STALL = 4.0  # seconds without progress after which another connection may take a feed over


def next_wants(
    local: Mapping[bytes, int], remote: Mapping[bytes, int], inflight: Container[bytes], budget: int
) -> list[bytes]:
    """At most `budget` writers whose feeds are longer there than here and not in flight, the smallest gap first.

    So a handful of new messages never waits behind somebody's ten thousand; feeds in flight share the credit in turns.
    """
    gaps = [
        (length - local.get(writer, 0), writer)
        for writer, length in remote.items()
        if length > local.get(writer, 0) and writer not in inflight
    ]
    return [writer for _, writer in sorted(gaps)[: max(budget, 0)]]


class Claims:
    """Feeds being fetched in one space: writer -> (who, since when without progress).  Shared by its replicators."""

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[object, float]] = {}

    def free(self, writer: bytes, owner: object, now: float) -> bool:
        """Whether `owner` may fetch this feed at `now` (seconds)."""
        holder, since = self._held.get(writer, (owner, now))
        return holder is owner or now - since >= STALL

    def take(self, writer: bytes, owner: object, now: float) -> None:
        """Claims it, or notes progress."""
        self._held[writer] = (owner, now)

    def drop(self, writer: bytes, owner: object) -> None:
        """`owner` no longer fetches this feed."""
        if self._held.get(writer, (None, 0.0))[0] is owner:
            del self._held[writer]

    def drop_all(self, owner: object) -> None:
        """`owner` no longer fetches any feed."""
        for writer in [writer for writer, (holder, _) in self._held.items() if holder is owner]:
            del self._held[writer]

    def due(self, writer: bytes, owner: object) -> float | None:
        """When `owner` may take this feed over from whoever holds it; None if nobody else does."""
        holder, since = self._held.get(writer, (owner, 0.0))
        return since + STALL if holder is not owner else None
