"""What this side has to send to a peer: wanted ranges, records, single blocks and packs, sent as far as credit reaches.

Feeds take turns, a message each; packs and feeds take turns too.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from crdt.log.head import Head
from sync.replicate.effects import Effect, PackWanted, send
from sync.replicate.flow import WINDOW
from sync.replicate.messages import (
    MAX_FEEDS,
    MAX_PIECE,
    MAX_RANGE,
    Blocks,
    Fetched,
    HistoryAnswer,
    HistoryPiece,
    Message,
    Point,
    Proved,
    Question,
    Record,
    Stretch,
    StretchBlocks,
)
from sync.replicate.ranges import make_range
from sync.replicate.view import FeedView

CHUNK = 128 * 1024  # bytes of blocks in a message, unless one block alone is longer
PUSH = 64 * 1024  # bytes that are sent unasked
MAX_MISSES = 4096  # points and ends of one feed looked up in vain on one channel in a while; others are not looked up
MISSES = 60.0  # seconds, that while


@dataclass(slots=True)
class Job:
    """A want being answered: the next seq to send; end 0 means whatever the newest head is then."""

    writer: bytes
    ticket: int
    at: int
    end: int
    leaves: bool


@dataclass(slots=True)
class Parcel:
    """A sealed pack being sent."""

    request: int
    pack: int
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    index: int = 0


class Outflow:
    """The sending end.  told: the newest own head the peer knows; at: where it is known to agree with a feed here."""

    def __init__(self, view: FeedView) -> None:
        self._view = view
        self._credit = WINDOW
        self._turn = False
        self.told: dict[bytes, int] = {}
        self.at: dict[bytes, int] = {}
        self.jobs: dict[bytes, Job] = {}
        self.records: dict[bytes, None] = {}
        self.points: deque[Point] = deque()
        self.questions: deque[Question] = deque()
        self.stretches: deque[Stretch] = deque()
        self._misses = Counter[bytes]()  # core key -> how often since `_forgiven`
        self._forgiven = 0.0
        self.parcels: deque[Parcel | HistoryAnswer] = deque()

    def add_credit(self, amount: int) -> None:
        """The peer allows so many more bytes; never more than one window."""
        self._credit = min(self._credit + amount, WINDOW)

    def push(self, head: Head) -> Effect | None:
        """The blocks since `at` with the new head, in one message; None where they are too many or credit is short."""
        start = self.at.get(head.writer, 0)
        if self._credit <= 0 or head.length - start > MAX_RANGE:
            return None
        blocks, tail = make_range(self._view, head, start, head.length, PUSH)
        if start + len(blocks) < head.length:
            return None
        self.at[head.writer] = self.told[head.writer] = head.length
        return self._paid(Blocks(head.writer, 0, start, head, tuple(blocks), tuple(tail)))

    def pump(self, now: float) -> list[Effect]:
        """Everything that credit allows now."""
        if now - self._forgiven >= MISSES:
            self._misses.clear()
            self._forgiven = now
        effects: list[Effect] = []
        while self._credit > 0:
            made = self._next()
            if not made:
                break
            effects += made
        return effects

    def _paid(self, message: Message) -> Effect:
        made = send(message)
        self._credit -= len(made.body)
        return made

    def _next(self) -> list[Effect]:
        if self.records:
            writer = next(iter(self.records))
            del self.records[writer]
            return [self._paid(Record(writer, self._view.records()[writer], self._view.record(writer)))]
        if self.points:
            point = self.points.popleft()
            found = self._view.find(point) if self._may_look(point[0]) else None
            self._looked(point[0], found)
            return [self._paid(found or Fetched(point, None))]
        if self.questions:
            question = self.questions.popleft()
            proof = self._view.prove(question) if self._may_look(question[0]) else None
            self._looked(question[0], proof)
            return [self._paid(Proved(question, proof))]
        if self.stretches:
            stretch = self.stretches.popleft()
            held = self._view.stretch(stretch, CHUNK) if self._may_look(stretch.core) else None
            self._looked(stretch.core, held)
            return [self._paid(held or StretchBlocks(stretch, (), ()))]
        self._turn = not self._turn
        if self.jobs and (self._turn or not self.parcels):
            return [self._serve(self.jobs.pop(next(iter(self.jobs))))]
        return self._piece() if self.parcels else []

    def _may_look(self, core: bytes) -> bool:
        """What one feed's author makes a peer ask for in vain uses up nothing of what may be asked of other feeds."""
        return self._misses[self._named(core)] < MAX_MISSES

    def _looked(self, core: bytes, found: object) -> None:
        self._misses[self._named(core)] += found is None

    def _named(self, core: bytes) -> bytes:
        return core if core in self._misses or len(self._misses) < MAX_FEEDS else b""

    def _serve(self, job: Job) -> Effect:
        head = self._view.heads()[job.writer]
        end = job.end or head.length
        blocks, tail = make_range(self._view, head, job.at, end, CHUNK, leaves=job.leaves)
        start, job.at = job.at, job.at + len(blocks)
        news = head if self.told.get(job.writer, 0) < head.length else None
        self.told[job.writer], self.at[job.writer] = head.length, job.at
        if job.at < end:
            self.jobs[job.writer] = job  # behind all others
        return self._paid(Blocks(job.writer, job.ticket, start, news, tuple(blocks), tuple(tail)))

    def _piece(self) -> list[Effect]:
        parcel = self.parcels[0]
        if isinstance(parcel, HistoryAnswer):
            self.parcels.popleft()
            return [send(parcel)]
        start, index = parcel.index * MAX_PIECE, parcel.index
        chunk = parcel.sealed[start : start + MAX_PIECE]
        last = start + len(chunk) >= len(parcel.sealed)
        parcel.index += 1
        made: list[Effect] = [
            self._paid(HistoryPiece(parcel.request, parcel.pack, index, last, b"" if index else parcel.key, chunk))
        ]
        if last:
            self.parcels.popleft()
            made.append(PackWanted(parcel.request))
        return made
