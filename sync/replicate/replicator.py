"""Blind replication of one space with one peer: what to say, what to ask for, what to believe.

A sans-IO core.  Every method returns effects (`effects.py`); `now` is seconds of any steady clock.  It knows signed
heads, hashes and opaque bytes, never keys or texts, so a relay runs the same code.  There is no session to resume:
a new connection starts with the digest, and starting is recovering.  `docs/protocol.md`, "Replication".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import TypeVar

from crdt.log.head import Head
from crdt.log.merkle import leaf_hash
from identity.errors import DecodeError
from sync.replicate.asking import Asking
from sync.replicate.effects import (
    Acked,
    CaughtUp,
    Effect,
    FetchAnswered,
    ProofAnswered,
    Rule,
    StoreRecord,
    StretchAnswered,
    TipsTold,
    Violation,
    send,
)
from sync.replicate.encoding import decode
from sync.replicate.flow import Inflow
from sync.replicate.fork import branch_of
from sync.replicate.history import HistoryExchange
from sync.replicate.messages import (
    MAX_FEEDS,
    MAX_PART,
    MAX_POINTS,
    MAX_TIPS,
    Ack,
    Blocks,
    Branch,
    Credit,
    Digest,
    Fetch,
    Fetched,
    Fork,
    Frontier,
    HistoryAnswer,
    HistoryPiece,
    HistoryRequest,
    Message,
    Point,
    Proved,
    Question,
    Record,
    Refuse,
    Span,
    Stretch,
    StretchBlocks,
    Tips,
    Want,
    WantProofs,
    WantRecords,
    Wants,
    WantStretch,
)
from sync.replicate.proof import ends_of
from sync.replicate.remote import Admits, Remote
from sync.replicate.serving import Job, Outflow
from sync.replicate.view import FeedView, anchor_of, frontier_digest, roots_of
from sync.replicate.wants import Claims

T = TypeVar("T")
MAX_SHOWN = 4  # wants of one feed that are answered by showing another branch; more are refused
MAX_FETCHES = 1024  # points to be sent to a peer, or asked of it

VerifyRecord = Callable[[bytes, int, bytes], bool]  # (writer, counter, signed bytes): is it that writer's record


class Replicator:
    """One connection and space.  Give all replicators of a space one `Claims`."""

    def __init__(
        self, view: FeedView, *, admits: Admits, verify_record: VerifyRecord, claims: Claims | None = None
    ) -> None:
        self._view = view
        self._admits = admits
        self._verify_record = verify_record
        self._inflow = Inflow()
        self._out = Outflow(view)
        self._remote = Remote(view, admits, self._out)
        self._asking = Asking(view, self._remote, self._inflow, self._out, claims if claims is not None else Claims())
        self._history = HistoryExchange(self._inflow, self._out)
        self._records: dict[bytes, int] = {}  # counters the peer has, or was sent
        self._fetching: set[Point] = set()
        self._proving: set[Question] = set()
        self._stretches: set[Stretch] = set()
        self._tips: set[Point] = set()  # told to the peer
        self._shown: dict[bytes, int] = {}  # writer -> how often a want was answered by another branch
        self._ours: tuple[dict[bytes, Head], dict[bytes, int], tuple[bytes, ...]] | None = None  # what we say we hold
        self._digest = b""
        self._opened = False  # their digest came
        self._exchanged = False  # both frontiers are known
        self._caught_up = False
        self._closed = False

    # Calls of the shell

    def start(self) -> list[Effect]:
        """The first message.  Call once, when the channel opens."""
        if self._ours is not None or self._closed:
            return []
        heads, records, forks = dict(self._view.heads()), dict(self._view.records()), tuple(sorted(self._view.forks()))
        self._ours = heads, records, forks
        self._digest = frontier_digest(heads, records, forks)
        return [send(Digest(self._digest, self._all_durable(heads)))]

    def receive(self, type: int, body: bytes, now: float) -> list[Effect]:
        """One message of the peer.  Unknown types are ignored."""
        if self._closed:
            return []
        try:
            message = decode(type, body)
        except DecodeError:
            return self._close_for([Violation(Rule.MALFORMED)])
        effects = self.start()
        if message is None:
            return effects
        if not self._opened and not isinstance(message, Digest):
            return self._close_for([*effects, Violation(Rule.TOO_EARLY)])
        if isinstance(message, _PAID) and not self._inflow.take(len(body)):
            return self._close_for([*effects, Violation(Rule.FLOOD)])
        effects += self._dispatch(message, len(body), now)
        if effects and isinstance(effects[-1], Violation):
            return self._close_for(effects)
        return self._finish(effects, now)

    def local_changed(self, writers: Iterable[bytes], now: float, *, push: bool = True) -> list[Effect]:
        """Heads of these feeds moved on here, by a local append or another peer, and may be told.

        push: send the new blocks at once to a peer known to have all before them; else only the head is told.
        """
        if self._closed or not self._exchanged:
            return []
        return self._finish(self._offer(writers, push=push), now)

    def stored(self, lengths: Mapping[bytes, int], now: float, *, durable: bool) -> list[Effect]:
        """Other devices' feeds are stored up to these lengths; durable: it survives a power cut, and the peer is told.

        Call it on every replicator of the space: one gives credit back for it, all acknowledge.
        """
        if self._closed or not self._opened:
            return []
        self._inflow.stored(lengths)
        return self._finish(_acks(lengths) if durable else [], now)

    def records_changed(self, writers: Iterable[bytes], now: float) -> list[Effect]:
        """Newer device records of these writers are held."""
        if self._closed or not self._exchanged:
            return []
        self._offer_records(writers)
        return self._finish([], now)

    def forks_changed(self, writers: Iterable[bytes], now: float) -> list[Effect]:
        """Fork proofs of these writers' feeds are held."""
        if self._closed or not self._exchanged:
            return []
        return self._finish(self._remote.show_forks(writers), now)

    def admission_changed(self, now: float) -> list[Effect]:
        """`admits` may say yes to more writers than before."""
        if self._closed or not self._opened:
            return []
        effects = self._remote.admitted()
        if effects and isinstance(effects[-1], Violation):
            return self._close_for(effects)
        return self._finish(effects + self._ask_records(self._records), now)

    def hold_blocks(self, held: bool, now: float) -> list[Effect]:
        """While held no feed is asked for: a new device takes its history as packs first."""
        self._asking.held = held
        return [] if self._closed else self._finish([], now)

    def wake(self, now: float) -> list[Effect]:
        """At `next_wake`, and whenever another replicator of the space was closed."""
        return [] if self._closed else self._finish([], now)

    def next_wake(self) -> float:
        """When a feed that another connection claims without progress may be asked for here; infinity for never."""
        return inf if self._closed else self._asking.next_wake()

    def close(self) -> None:
        """The connection is gone.  Call `wake` on the others of the space."""
        self._closed = True
        self._asking.close()

    def fetch(self, points: Iterable[Point]) -> list[Effect]:
        """Asks for single blocks by core key, seq and leaf hash; `FetchAnswered` follows for each."""
        fresh = [point for point in dict.fromkeys(points) if point not in self._fetching]
        fresh = fresh[: MAX_FETCHES - len(self._fetching)]
        if self._closed:
            return []
        self._fetching.update(fresh)
        return [send(Fetch(tuple(part))) for part in _parts(fresh, MAX_POINTS)]

    def want_proofs(self, questions: Iterable[Question]) -> list[Effect]:
        """Asks for proofs of ends; `ProofAnswered` follows for each."""
        fresh = [one for one in dict.fromkeys(questions) if one not in self._proving]
        fresh = fresh[: MAX_FETCHES - len(self._proving)]
        if self._closed:
            return []
        self._proving.update(fresh)
        return [send(WantProofs(tuple(part))) for part in _parts(fresh, MAX_POINTS)]

    def want_stretch(self, stretch: Stretch) -> list[Effect]:
        """Asks for blocks of a branch up to a proved end; `StretchAnswered` follows."""
        if self._closed or stretch in self._stretches or len(self._stretches) >= MAX_FETCHES:
            return []
        self._stretches.add(stretch)
        return [send(WantStretch(stretch))]

    def tips_changed(self, now: float) -> list[Effect]:
        """Other control entries than before are named by none: those that do not come with their feed are told."""
        if self._closed or not self._exchanged:
            return []
        return self._finish(self._tell_tips([point for point, kept in self._view.tips().items() if not kept]), now)

    @property
    def room(self) -> int:
        """How many more points, or questions, the peer may be asked."""
        return MAX_FETCHES - max(len(self._fetching), len(self._proving), len(self._stretches))

    def ask_history(self, spans: tuple[Span, ...] | None, prekey: bytes = b"") -> tuple[int, list[Effect]]:
        """(request, effects): asks for items of these spans, or of everything; prekey: to which packs are sealed.
        Raises ValueError above 4 at once."""
        message = self._history.ask(spans, prekey)
        return message.request, [] if self._closed else [send(message)]

    def give_pack(self, request: int, key: bytes, sealed: bytes, now: float) -> list[Effect]:
        """One sealed pack, and its key sealed to the asker, for a request of the peer; `PackWanted` asks for the
        next."""
        if self._closed:
            return []
        self._history.give(request, key, sealed)
        return self._finish([], now)

    def answer_history(self, request: int, spans: tuple[Span, ...], now: float, *, done: bool) -> list[Effect]:
        """Tells which spans are not for the peer; done: the request is answered."""
        if self._closed:
            return []
        self._history.answer(request, spans, done)
        return self._finish([], now)

    def pack_taken(self, request: int, now: float) -> list[Effect]:
        """A pack that arrived was used or kept."""
        self._history.taken(request)
        return [] if self._closed else self._finish([], now)

    @property
    def caught_up(self) -> bool:
        """Whether both frontiers are known and everything that may be had from this peer is here."""
        return self._exchanged and self._asking.done()

    # Messages

    def _dispatch(self, message: Message, size: int, now: float) -> list[Effect]:
        match message:
            case Blocks():
                return self._asking.take(message, size, now)
            case Ack(lengths):
                return self._acked(lengths)
            case Credit(amount):
                self._out.add_credit(amount)
                return []
            case Frontier():
                return self._frontier(message)
            case Wants(wants):
                return self._wanted(wants)
            case Record():
                return self._record(message, size)
            case Digest():
                return self._digested(message)
            case Refuse(writers):
                self._asking.refused(writers)
                return []
            case Branch():
                return self._remote.branch(message)
            case WantRecords(writers):
                held = self._view.records()
                self._out.records.update(dict.fromkeys(writer for writer in writers if writer in held))
                return []
            case HistoryRequest():
                return self._history.requested(message)
            case HistoryPiece():
                return self._history.arrived(message, size)
            case HistoryAnswer():
                return self._history.answered(message)
            case Fetch(points):
                if len(self._out.points) + len(points) > MAX_FETCHES:
                    return [Violation(Rule.TOO_MANY)]
                self._out.points.extend(points)
                return []
            case Fetched():
                return self._fetched(message, size)
            case Tips(points):
                return [TipsTold(points)]
            case WantProofs(questions):
                if len(self._out.questions) + len(questions) > MAX_FETCHES:
                    return [Violation(Rule.TOO_MANY)]
                self._out.questions.extend(questions)
                return []
            case Proved():
                return self._proved(message, size)
            case WantStretch(stretch):
                if len(self._out.stretches) >= MAX_FETCHES:
                    return [Violation(Rule.TOO_MANY)]
                self._out.stretches.append(stretch)
                return []
            case StretchBlocks(stretch):
                self._inflow.give_back(size)
                if stretch not in self._stretches:
                    return [Violation(Rule.UNASKED)]
                self._stretches.discard(stretch)
                return [StretchAnswered(message)]
            case Fork():
                return self._remote.fork(message)

    def _digested(self, message: Digest) -> list[Effect]:
        if self._opened or self._ours is None:
            return [Violation(Rule.TOO_EARLY)]
        self._opened = True
        heads, records, forks = self._ours
        durable = self._all_durable(heads)
        lengths = {writer: head.length for writer, head in heads.items()}
        self._out.told.update(lengths)
        equal = message.value == self._digest
        effects = [] if equal else _frontier_parts(tuple(heads.values()), tuple(records.items()), forks, durable)
        if not durable:
            effects += _acks({w: min(length, self._view.durable(w)) for w, length in lengths.items()})
        if equal:
            self._remote.heads.update(heads)
            self._remote.forks.update(forks)
            self._records.update(records)
            self._out.at.update(lengths)
            if message.durable:
                effects += self._acked(tuple(lengths.items()))
            effects += self._exchange_done()
        return effects

    def _exchange_done(self) -> list[Effect]:
        """Both frontiers are known: what changed here since ours was told goes out now."""
        self._exchanged = True
        self._offer_records(self._view.records())
        forks = self._remote.show_forks(list(self._view.forks()))
        return [*forks, *self._tell_tips(self._view.tips()), *self._offer(list(self._view.heads()), push=True)]

    def _frontier(self, message: Frontier) -> list[Effect]:
        effects: list[Effect] = []
        for head in message.heads:
            effects += self._remote.hear(head)
            if effects and isinstance(effects[-1], Violation):
                return effects
        if message.durable:
            effects += self._acked(tuple((head.writer, head.length) for head in message.heads))
        for writer, counter in message.records:
            self._note_record(writer, counter)
        if len(self._remote.forks) < MAX_FEEDS:
            self._remote.forks.update(message.forks)
        effects += self._ask_records([writer for writer, _ in message.records])
        if message.last and not self._exchanged:
            effects += self._exchange_done()
        return effects

    def _offer(self, writers: Iterable[bytes], *, push: bool) -> list[Effect]:
        """Tells the peer of heads it does not know, with the blocks where it can take them at once."""
        effects: list[Effect] = []
        news: list[Head] = []
        heads, out, diverged = self._view.heads(), self._out, self._remote.diverged
        for writer in writers:
            head, theirs = heads.get(writer), self._remote.heads.get(writer)
            if head is None or head.length <= out.told.get(writer, 0):
                continue
            if theirs is not None and theirs.length > out.at.get(writer, 0) and writer not in diverged:
                if theirs.length > head.length:
                    continue  # they are ahead: the want that follows settles whether it is one history
                effects += self._remote.compare(theirs)
            if out.at.get(writer, 0) >= head.length or writer in diverged:
                continue
            job = out.jobs.get(writer)
            if job is not None and not job.end:
                continue  # on its way to the newest head as it is
            pushed = out.push(head) if push and job is None else None
            if pushed is not None:
                effects.append(pushed)
            else:
                out.told[writer] = head.length
                news.append(head)
        return [*effects, *[send(Frontier(heads=tuple(part))) for part in _parts(news, MAX_PART)]]

    def _offer_records(self, writers: Iterable[bytes]) -> None:
        held = self._view.records()
        for writer in writers:
            counter = held.get(writer)
            if counter is not None and counter > self._records.get(writer, -1):
                self._records[writer] = counter
                self._out.records[writer] = None

    def _note_record(self, writer: bytes, counter: int) -> None:
        if writer in self._records or len(self._records) < MAX_FEEDS:
            self._records[writer] = max(counter, self._records.get(writer, 0))

    def _ask_records(self, writers: Iterable[bytes]) -> list[Effect]:
        held = self._view.records()
        newer = [w for w in writers if self._records.get(w, -1) > held.get(w, -1) and self._admits(w)]
        return [send(WantRecords(tuple(newer)))] if newer else []

    def _wanted(self, wants: tuple[Want, ...]) -> list[Effect]:
        effects: list[Effect] = []
        refused: list[bytes] = []
        heads = self._view.heads()
        for want in wants:
            head = heads.get(want.writer)
            if head is None or max(want.end, want.start + 1) > head.length:
                refused.append(want.writer)
            elif anchor_of(roots_of(self._view, want.writer, want.start)) != want.anchor:
                shown = self._shown[want.writer] = self._shown.get(want.writer, 0) + 1
                if shown <= MAX_SHOWN:
                    effects.append(send(branch_of(self._view, head, want.start)))
                else:
                    refused.append(want.writer)
            else:
                self._out.jobs.pop(want.writer, None)
                self._out.jobs[want.writer] = Job(want.writer, want.ticket, want.start, want.end, want.leaves)
        return [*effects, send(Refuse(tuple(refused)))] if refused else effects

    def _acked(self, lengths: tuple[tuple[bytes, int], ...]) -> list[Effect]:
        held = self._view.heads()
        known = tuple((writer, length) for writer, length in lengths if writer in held)
        return [Acked(known)] if known else []

    def _record(self, message: Record, size: int) -> list[Effect]:
        writer, counter = message.writer, message.counter
        self._inflow.give_back(size)
        self._note_record(writer, counter)
        if counter <= self._view.records().get(writer, -1) or not self._admits(writer):
            return []
        if not self._verify_record(writer, counter, message.data):
            return [Violation(Rule.BAD_RECORD)]
        return [StoreRecord(writer, counter, message.data)]

    def _fetched(self, message: Fetched, size: int) -> list[Effect]:
        self._inflow.give_back(size)
        (core, seq, hash_), block, proof = message.point, message.block, message.proof
        if message.point not in self._fetching:
            return [Violation(Rule.UNASKED)]
        self._fetching.discard(message.point)
        if block is None or proof is None:
            return [FetchAnswered(message, ())]
        if leaf_hash(block) != hash_ or proof.at != seq or proof.middle != ((len(block), hash_),):
            return [Violation(Rule.BAD_BLOCK)]
        # What the tree hash is one block on, the proof says: the signed head above it is what counts.
        ends = ends_of(core, seq + 1, None, proof, known=self._view.heads().get(proof.head.writer))
        return [Violation(Rule.BAD_PROOF)] if ends is None else [FetchAnswered(message, ends)]

    def _proved(self, message: Proved, size: int) -> list[Effect]:
        self._inflow.give_back(size)
        question, proof = message.question, message.proof
        if question not in self._proving:
            return [Violation(Rule.UNASKED)]
        self._proving.discard(question)
        if proof is None:
            return [ProofAnswered(message, ())]
        core, length, root, _ = question
        ends = ends_of(core, length, root, proof, known=self._view.heads().get(proof.head.writer))
        return [Violation(Rule.BAD_PROOF)] if ends is None else [ProofAnswered(message, ends)]

    def _tell_tips(self, points: Iterable[Point]) -> list[Effect]:
        fresh = [point for point in points if point not in self._tips]
        self._tips.update(fresh)
        return [send(Tips(tuple(part))) for part in _parts(fresh, MAX_TIPS)]

    # What follows from the state, after every call

    def _all_durable(self, heads: Mapping[bytes, Head]) -> bool:
        return all(self._view.durable(writer) >= head.length for writer, head in heads.items())

    def _finish(self, effects: list[Effect], now: float) -> list[Effect]:
        effects += self._out.pump(now)
        if self._exchanged:
            effects += self._asking.ask(now)
        credit = self._inflow.credit()
        if credit is not None:
            effects.append(send(credit))
        if self.caught_up != self._caught_up:
            self._caught_up = not self._caught_up
            if self._caught_up:
                effects.append(CaughtUp())
        self._asking.end_call()
        return effects

    def _close_for(self, effects: list[Effect]) -> list[Effect]:
        self.close()
        return effects


_PAID = (Blocks, Record, HistoryPiece, Fetched, Proved, StretchBlocks)  # what credit counts


def _parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _acks(lengths: Mapping[bytes, int]) -> list[Effect]:
    pairs = [(writer, length) for writer, length in lengths.items() if length > 0]
    return [send(Ack(tuple(part))) for part in _parts(pairs, MAX_FEEDS)]


def _frontier_parts(
    heads: tuple[Head, ...], records: tuple[tuple[bytes, int], ...], forks: tuple[bytes, ...], durable: bool
) -> list[Effect]:
    """The whole frontier in as many messages as it takes, the last one marked."""
    count = max(len(heads), len(records), 1)
    return [
        send(
            Frontier(
                last=at + MAX_PART >= count,
                durable=durable,
                heads=heads[at : at + MAX_PART],
                records=records[at : at + MAX_PART],
                forks=forks[:MAX_FEEDS] if at == 0 else (),
            )
        )
        for at in range(0, count, MAX_PART)
    ]
