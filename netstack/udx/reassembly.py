"""The receiving half of a stream: puts packets in order and holds those that arrived early.

Numbers are unbounded (see `packet.unwrap`).  Early packets are parked, at most `MAX_AHEAD` numbers ahead and
`MAX_BYTES` in all; the excess is dropped and will be repeated.  Received ranges are kept sorted and merged, so that a
selective acknowledgement is a copy of the lowest, and where there are too many, of the highest too: a sender that is
never told of the latest arrivals believes them in flight and stalls until its timeout.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from netstack.udx.packet import MAX_SACKS

MAX_AHEAD = 8_192  # packets; a window of 4 MiB has about 3,700 of the smallest full packets
MAX_BYTES = 8 << 20
_LOWEST = 100  # ranges of a shortened list that are the lowest ones


class Reassembly:
    """`next`: the first number not received; `end`: the number of the peer's end packet, None until known."""

    __slots__ = ("_ends", "_parked", "_starts", "end", "next", "parked_bytes")

    def __init__(self) -> None:
        self.next = 0
        self.end: int | None = None
        self.parked_bytes = 0
        self._parked: dict[int, bytes] = {}
        self._starts: list[int] = []
        self._ends: list[int] = []

    @property
    def gaps(self) -> bool:
        """Whether a packet arrived beyond a missing one."""
        return bool(self._starts)

    @property
    def ended(self) -> bool:
        """Whether everything including the end packet was received."""
        return self.end is not None and self.next > self.end

    def ranges(self) -> list[tuple[int, int]]:
        """Received half-open ranges beyond `next`, ascending: all, or the lowest 100 and highest 40."""
        starts, ends = self._starts, self._ends
        if len(starts) > MAX_SACKS:
            starts = starts[:_LOWEST] + starts[_LOWEST - MAX_SACKS :]
            ends = ends[:_LOWEST] + ends[_LOWEST - MAX_SACKS :]
        return list(zip(starts, ends, strict=True))

    def finish(self, seq: int) -> None:
        """The peer's end packet has this number: later numbers do not belong to the stream."""
        if self.end is None:
            self.end = seq

    def add(self, seq: int, payload: bytes) -> list[bytes]:
        """One packet's payload; returns what is now in order (empty payloads of end packets included)."""
        if self.end is not None and seq > self.end:
            return []
        if seq == self.next:
            self.next = seq + 1
            return [payload, *self._release()] if self._starts else [payload]
        self._park(seq, payload)
        return []

    def add_run(self, seq: int, payloads: Sequence[bytes]) -> list[bytes]:
        """Consecutive packets from `seq` on, some of which may have been received before."""
        if seq == self.next and not self._starts and self.end is None:
            self.next = seq + len(payloads)
            return list(payloads)
        out: list[bytes] = []
        for number, payload in enumerate(payloads, seq):
            out += self.add(number, payload)
        return out

    def clear(self) -> None:
        """Drops everything parked: the stream is closed."""
        self._parked.clear()
        self._starts.clear()
        self._ends.clear()
        self.parked_bytes = 0

    def _park(self, seq: int, payload: bytes) -> None:
        if seq < self.next or seq in self._parked or seq >= self.next + MAX_AHEAD:
            return
        if self.parked_bytes + len(payload) > MAX_BYTES:
            return
        self._parked[seq] = payload
        self.parked_bytes += len(payload)
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, seq)  # ranges before `at` start at or below seq
        joins_left = at > 0 and ends[at - 1] == seq
        joins_right = at < len(starts) and starts[at] == seq + 1
        if joins_left and joins_right:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif joins_left:
            ends[at - 1] = seq + 1
        elif joins_right:
            starts[at] = seq
        else:
            starts.insert(at, seq)
            ends.insert(at, seq + 1)

    def _release(self) -> list[bytes]:
        """The parked payloads that follow `next` without a gap."""
        if self._starts[0] != self.next:
            return []
        end = self._ends[0]
        pop = self._parked.pop
        out = [pop(number) for number in range(self.next, end)]
        self.parked_bytes -= sum(map(len, out))
        self.next = end
        del self._starts[0], self._ends[0]
        return out
