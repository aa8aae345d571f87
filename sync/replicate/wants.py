"""Which feeds to ask this peer for next, and who in the space is asking for which already.

A plain function decides; claims keep two connections from fetching one feed twice.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

MAX_WANTS = 16  # feeds asked for at once on one connection; bytes are bounded by credit
STALL = 4.0  # seconds without progress after which another connection may take a feed over
PACE = 32 * 1024  # bytes that are progress: who brings less in that time holds nobody up


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
    """Feeds being fetched in one space: who fetches each, since when without progress.  Shared by its replicators."""

    def __init__(self) -> None:
        self._held: dict[bytes, _Claim] = {}

    def free(self, writer: bytes, owner: object, now: float) -> bool:
        """Whether `owner` may fetch this feed at `now` (seconds)."""
        claim = self._held.get(writer)
        return claim is None or claim.owner is owner or now - claim.since >= STALL

    def take(self, writer: bytes, owner: object, now: float) -> None:
        """Claims it."""
        self._held[writer] = _Claim(owner, now)

    def progress(self, writer: bytes, owner: object, size: int, now: float) -> None:
        """`owner` brought so many bytes of it."""
        claim = self._held.get(writer)
        if claim is None or claim.owner is not owner:
            return
        claim.brought += size
        if claim.brought >= PACE:
            claim.since, claim.brought = now, 0

    def drop(self, writer: bytes, owner: object) -> None:
        """`owner` no longer fetches this feed."""
        claim = self._held.get(writer)
        if claim is not None and claim.owner is owner:
            del self._held[writer]

    def drop_all(self, owner: object) -> None:
        """`owner` no longer fetches any feed."""
        for writer in [writer for writer, claim in self._held.items() if claim.owner is owner]:
            del self._held[writer]

    def due(self, writer: bytes, owner: object) -> float | None:
        """When `owner` may take this feed over from whoever holds it; None if nobody else does."""
        claim = self._held.get(writer)
        return claim.since + STALL if claim is not None and claim.owner is not owner else None


@dataclass(slots=True)
class _Claim:
    owner: object
    since: float  # of the last progress
    brought: int = 0  # bytes since then
