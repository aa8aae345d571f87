"""History as sealed packs: requests of either side, and packs put together again piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt.log.pack import MAX_SEALED
from sync.replicate.effects import Effect, HistoryAnswered, HistoryAsked, PackArrived, Rule, Violation
from sync.replicate.flow import Inflow
from sync.replicate.messages import MAX_PACK_KEY, MAX_PIECE, HistoryAnswer, HistoryPiece, HistoryRequest, Span
from sync.replicate.serving import Outflow, Parcel

MAX_REQUESTS = 4  # open at once, each way


@dataclass(slots=True)
class _Assembly:
    pack: int = 0
    key: bytes = field(default=b"", repr=False)
    chunks: list[bytes] = field(default_factory=list, repr=False)


class HistoryExchange:
    """Both directions of one channel.  A request is open until its answer says `done`."""

    def __init__(self, inflow: Inflow, outflow: Outflow) -> None:
        self._inflow = inflow
        self._outflow = outflow
        self._asked: dict[int, _Assembly] = {}
        self._untaken: dict[int, list[int]] = {}
        self._serving: dict[int, int] = {}
        self._next = 1

    def ask(self, spans: tuple[Span, ...] | None, prekey: bytes) -> HistoryRequest:
        """Raises ValueError where too many requests are open."""
        if len(self._asked) >= MAX_REQUESTS:
            raise ValueError("too many requests for history are open")
        request, self._next = self._next, self._next + 1
        self._asked[request] = _Assembly()
        return HistoryRequest(request, spans, prekey)

    def requested(self, message: HistoryRequest) -> list[Effect]:
        """The peer asks for history; a violation above the number of requests that may be open."""
        if message.request in self._serving or len(self._serving) >= MAX_REQUESTS:
            return [Violation(Rule.TOO_MANY)]
        self._serving[message.request] = 0
        return [HistoryAsked(message.request, message.spans, message.prekey)]

    def give(self, request: int, key: bytes, sealed: bytes) -> None:
        """Queues one sealed pack of at most 4 MiB and its key, sealed to the asker.  Raises ValueError for a request
        not open."""
        if request not in self._serving or not 0 < len(sealed) <= MAX_SEALED or len(key) > MAX_PACK_KEY:
            raise ValueError("no such request, or no such pack")
        self._outflow.parcels.append(Parcel(request, self._serving[request], key, sealed))
        self._serving[request] += 1

    def answer(self, request: int, spans: tuple[Span, ...], done: bool) -> None:
        """Queues "not for you" behind the packs given so far; done closes the request.  Raises ValueError."""
        if request not in self._serving:
            raise ValueError("no such request")
        self._outflow.parcels.append(HistoryAnswer(request, done, spans))
        if done:
            del self._serving[request]

    def arrived(self, piece: HistoryPiece, size: int) -> list[Effect]:
        """A part of a pack, `size` bytes on the wire; the whole pack once its last part is here."""
        assembly = self._asked.get(piece.request)
        if assembly is None:
            return [Violation(Rule.UNASKED)]
        known = sum(map(len, assembly.chunks))
        whole = len(piece.chunk) == MAX_PIECE or (piece.last and piece.chunk)
        if (piece.pack, piece.index) != (assembly.pack, len(assembly.chunks)) or not whole:
            return [Violation(Rule.OUT_OF_ORDER)]
        if known + len(piece.chunk) > MAX_SEALED:
            return [Violation(Rule.OUT_OF_ORDER)]
        assembly.chunks.append(piece.chunk)
        assembly.key = assembly.key or piece.key
        if not piece.last:
            self._inflow.give_back(size)
            return []
        # The last piece's credit comes back when the pack was taken: packs do not pile up unread.
        self._untaken.setdefault(piece.request, []).append(size)
        self._asked[piece.request] = _Assembly(assembly.pack + 1)
        return [PackArrived(piece.request, assembly.key, b"".join(assembly.chunks))]

    def taken(self, request: int) -> None:
        """The oldest untaken pack of a request was used or kept."""
        waiting = self._untaken.get(request)
        if waiting:
            self._inflow.give_back(waiting.pop(0))

    def answered(self, message: HistoryAnswer) -> list[Effect]:
        """The peer says which spans are not for us, or that a request is answered."""
        assembly = self._asked.get(message.request)
        if assembly is None:
            return [Violation(Rule.UNASKED)]
        if assembly.chunks:
            return [Violation(Rule.OUT_OF_ORDER)]
        if message.done:
            del self._asked[message.request]
        return [HistoryAnswered(message.request, message.done, message.spans)]
