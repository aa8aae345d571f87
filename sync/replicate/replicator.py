"""Blind replication of one space with one peer: what to say, what to ask for, what to believe.

A sans-IO core.  Every method returns effects (`effects.py`); `now` is seconds of any steady clock.  It knows signed
heads, hashes and opaque bytes, never keys or texts, so a relay runs the same code.  There is no session to resume:
a new connection starts with the digest, and starting is recovering.  `docs/protocol.md`, "Replication".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from crdt.log.head import Head
from crdt.log.merkle import Tree, leaf_hash, tree_hash
from identity.errors import DecodeError
from sync.replicate import messages
from sync.replicate.effects import (
    Acked,
    Append,
    Effect,
    FetchAnswered,
    ForkFound,
    Rule,
    Settled,
    StoreRecord,
    Violation,
    send,
)
from sync.replicate.flow import Inflow
from sync.replicate.fork import branch_of, differ, leads_to, prove_from, proves
from sync.replicate.history import History
from sync.replicate.messages import (
    MAX_FEEDS,
    MAX_PART,
    MAX_POINTS,
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
    Point,
    Record,
    Refuse,
    Span,
    Want,
    WantRecords,
    Wants,
)
from sync.replicate.ranges import check_range
from sync.replicate.serving import Job, Outflow
from sync.replicate.view import FeedView, anchor_of, frontier_digest, roots_of
from sync.replicate.wants import MAX_WANTS, Claims, next_wants

T = TypeVar("T")
MAX_FETCHES = 1024  # points owed to a peer, or asked of it

Admits = Callable[[bytes], bool]  # whether feeds of this writer are kept here
VerifyRecord = Callable[[bytes, int, bytes], bool]  # (writer, counter, signed bytes): is it that writer's record


class Replicator:
    """One connection and space.  Give all replicators of a space one `Claims`."""

    def __init__(
        self, view: FeedView, *, admits: Admits, verify_record: VerifyRecord, claims: Claims | None = None
    ) -> None:
        self._view = view
        self._admits = admits
        self._verify_record = verify_record
        self._claims = claims if claims is not None else Claims()
        self._inflow = Inflow()
        self._out = Outflow(view)
        self._history = History(self._inflow, self._out)
        self._snapshot: tuple[dict[bytes, Head], dict[bytes, int]] | None = None  # what our digest covers
        self._digest = b""
        self._theirs: bytes | None = None  # their digest
        self._exchanged = False
        self._remote: dict[bytes, Head] = {}  # verified heads the peer told
        self._remote_records: dict[bytes, int] = {}
        self._remote_forks: set[bytes] = set()
        self._waiting: dict[bytes, Head] = {}  # heads of writers not admitted yet, not verified either
        self._behind: set[bytes] = set()  # writers whose remote head lies beyond what is stored
        self._diverged: set[bytes] = set()  # on another branch than ours
        self._challenged: dict[bytes, int] = {}  # writer -> length of the remote head that a branch was shown for
        self._refused: dict[bytes, int] = {}  # writer -> length of the remote head when the peer refused
        self._wants: dict[bytes, Want] = {}
        self._fresh: dict[bytes, Tree] = {}  # feeds as the effects of this very call leave them
        self._tickets = 0
        self._fetching: set[Point] = set()
        self._held = False
        self._settled = False
        self._closed = False

    # Calls of the shell

    def start(self) -> list[Effect]:
        """The first message.  Call once, when the channel opens."""
        if self._snapshot is not None or self._closed:
            return []
        heads, records = dict(self._view.heads()), dict(self._view.records())
        self._snapshot = heads, records
        self._digest = frontier_digest(heads, records, self._view.forks())
        return [send(Digest(self._digest, self._all_durable(heads)))]

    def receive(self, type: int, body: bytes, now: float) -> list[Effect]:
        """One message of the peer.  Unknown types are ignored."""
        if self._closed:
            return []
        try:
            message = messages.decode(type, body)
        except DecodeError:
            return self._close_for([Violation(Rule.MALFORMED)])
        effects = self.start()
        if message is None:
            return effects
        if self._theirs is None and not isinstance(message, Digest):
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
        if self._closed or self._theirs is None:
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
        return self._finish(self._offer_forks(writers), now)

    def admission_changed(self, now: float) -> list[Effect]:
        """`admits` may say yes to more writers than before."""
        if self._closed or self._theirs is None:
            return []
        effects: list[Effect] = []
        for writer in [writer for writer in self._waiting if self._admits(writer)]:
            effects += self._hear(self._waiting.pop(writer))
            if effects and isinstance(effects[-1], Violation):
                return self._close_for(effects)
        return self._finish(effects + self._ask_records(self._remote_records), now)

    def hold_blocks(self, held: bool, now: float) -> list[Effect]:
        """While held no feed is asked for: a new device takes its history as packs first."""
        self._held = held
        return [] if self._closed else self._finish([], now)

    def wake(self, now: float) -> list[Effect]:
        """At `next_wake`, and whenever another replicator of the space was closed."""
        return [] if self._closed else self._finish([], now)

    def next_wake(self) -> float | None:
        """When a feed that another connection claims without progress may be asked for here."""
        blocked = [self._claims.due(writer) for writer in self._behind if writer not in self._wants]
        return min(blocked, default=None) if not self._held and not self._closed else None

    def close(self) -> None:
        """The connection is gone.  Call `wake` on the others of the space."""
        self._closed = True
        self._claims.drop_all(self)

    def fetch(self, points: Iterable[Point]) -> list[Effect]:
        """Asks for single blocks by core key, seq and leaf hash; `FetchAnswered` follows for each."""
        fresh = [point for point in dict.fromkeys(points) if point not in self._fetching]
        fresh = fresh[: MAX_FETCHES - len(self._fetching)]
        if self._closed:
            return []
        self._fetching.update(fresh)
        return [send(Fetch(tuple(part))) for part in _parts(fresh, MAX_POINTS)]

    def ask_history(self, spans: tuple[Span, ...] | None) -> tuple[int, list[Effect]]:
        """(request, effects): asks for items of these spans, or of everything.  Raises ValueError above 4 at once."""
        message = self._history.ask(spans)
        return message.request, [] if self._closed else [send(message)]

    def give_pack(self, request: int, key: bytes, sealed: bytes, now: float) -> list[Effect]:
        """One sealed pack for a request of the peer; `PackWanted` asks for the next."""
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
    def settled(self) -> bool:
        """Whether both frontiers are known and everything that may be had from this peer is here."""
        return self._exchanged and not self._wants and not self._gaps()

    def remote_length(self, writer: bytes) -> int:
        """The longest head of a feed that the peer told, 0 for none."""
        head = self._remote.get(writer)
        return head.length if head else 0

    # Messages

    def _dispatch(self, message: messages.Message, size: int, now: float) -> list[Effect]:
        match message:
            case Blocks():
                return self._blocks(message, size, now)
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
                return self._refusals(writers)
            case Branch():
                return self._branch(message)
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
            case Fetched(point, block):
                return self._fetched(point, block, size)
            case Fork():
                return self._fork(message)

    def _digested(self, message: Digest) -> list[Effect]:
        if self._theirs is not None or self._snapshot is None:
            return [Violation(Rule.TOO_EARLY)]
        self._theirs = message.value
        heads, records = self._snapshot
        effects: list[Effect] = []
        lengths = {writer: head.length for writer, head in heads.items()}
        self._out.told.update(lengths)
        if message.value != self._digest:
            forks = tuple(sorted(self._view.forks()))
            effects += _frontier_parts(tuple(heads.values()), tuple(records.items()), forks, self._all_durable(heads))
        if not self._all_durable(heads):
            effects += _acks({w: min(length, self._view.durable(w)) for w, length in lengths.items()})
        if message.value == self._digest:
            self._remote.update(heads)
            self._remote_records.update(records)
            self._remote_forks.update(self._view.forks())
            self._out.at.update(lengths)
            if message.durable and lengths:
                effects.append(Acked(tuple(lengths.items())))
            effects += self._exchange_done()
        return effects

    def _exchange_done(self) -> list[Effect]:
        """Both frontiers are known: what changed here since ours was told goes out now."""
        self._exchanged = True
        self._offer_records(self._view.records())
        return [*self._offer_forks(self._view.forks()), *self._offer(list(self._view.heads()), push=True)]

    def _frontier(self, message: Frontier) -> list[Effect]:
        effects: list[Effect] = []
        for head in message.heads:
            effects += self._hear(head)
            if effects and isinstance(effects[-1], Violation):
                return effects
        if message.durable and message.heads:
            effects += self._acked(tuple((head.writer, head.length) for head in message.heads))
        told: list[bytes] = []
        for writer, counter in message.records:
            if writer in self._remote_records or len(self._remote_records) < MAX_FEEDS:
                self._remote_records[writer] = max(counter, self._remote_records.get(writer, 0))
                told.append(writer)
        self._remote_forks.update(message.forks if len(self._remote_forks) < MAX_FEEDS else ())
        effects += self._ask_records(told)
        if message.last and not self._exchanged:
            effects += self._exchange_done()
        return effects

    def _hear(self, head: Head) -> list[Effect]:
        """A head the peer holds.  It is believed once its signature is checked, and compared with what is stored."""
        writer = head.writer
        known = self._remote.get(writer)
        if known is not None and head.length <= known.length:
            return []
        if not self._admits(writer):
            if writer in self._waiting or len(self._waiting) < MAX_FEEDS:
                self._waiting[writer] = head
            return []
        mine = self._view.heads().get(writer)
        if mine is not None and (mine.length, mine.root) == (head.length, head.root):
            self._remote[writer] = mine  # signed and checked long ago
            self._out.at[writer] = head.length
            return []
        if not head.verify():
            return [Violation(Rule.BAD_HEAD)]
        self._remote[writer] = head
        if head.length > self._view.tree(writer).length:
            self._behind.add(writer)
            return []
        return self._compare(head)

    def _compare(self, head: Head) -> list[Effect]:
        """A remote head within what is stored here: do the two feeds agree that far?"""
        writer = head.writer
        mine = self._view.heads().get(writer)
        if tree_hash(roots_of(self._view, writer, head.length)) == head.root:
            self._out.at[writer] = max(head.length, self._out.at.get(writer, 0))
            if mine is None or mine.length < head.length:
                return [Append(writer, self._view.tree(writer).length, (), (), self._view.tree(writer), (), head)]
            return []
        if mine is not None and mine.length == head.length:
            self._diverge(writer)
            return self._fork_here(Fork(mine, head))
        if mine is not None and mine.length > head.length:
            if self._challenged.get(writer) == head.length:
                return []
            self._challenged[writer] = head.length
            return [send(branch_of(self._view, mine, head.length))]
        self._diverge(writer)  # it differs within a range whose own head is not complete yet: nothing to prove with
        return []

    def _offer(self, writers: Iterable[bytes], *, push: bool) -> list[Effect]:
        """Tells the peer of heads it does not know, with the blocks where it can take them at once."""
        effects: list[Effect] = []
        news: list[Head] = []
        heads, out = self._view.heads(), self._out
        for writer in writers:
            head, theirs = heads.get(writer), self._remote.get(writer)
            if head is None or head.length <= out.told.get(writer, 0):
                continue
            if theirs is not None and theirs.length > out.at.get(writer, 0) and writer not in self._diverged:
                if theirs.length > head.length:
                    continue  # they are ahead: the want that follows settles whether it is one history
                effects += self._compare(theirs)
            if out.at.get(writer, 0) >= head.length or writer in self._diverged:
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
            if counter is not None and counter > self._remote_records.get(writer, -1):
                self._remote_records[writer] = counter
                self._out.records[writer] = None

    def _offer_forks(self, writers: Iterable[bytes]) -> list[Effect]:
        held = self._view.forks()
        fresh = [writer for writer in writers if writer in held and writer not in self._remote_forks]
        self._remote_forks.update(fresh)
        return [send(held[writer]) for writer in fresh]

    def _ask_records(self, writers: Iterable[bytes]) -> list[Effect]:
        held = self._view.records()
        newer = [w for w in writers if self._remote_records[w] > held.get(w, -1) and self._admits(w)]
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
                effects.append(send(branch_of(self._view, head, want.start)))
            else:
                self._out.jobs.pop(want.writer, None)
                self._out.jobs[want.writer] = Job(want.writer, want.ticket, want.start, want.end, want.leaves)
        return [*effects, send(Refuse(tuple(refused)))] if refused else effects

    def _blocks(self, message: Blocks, size: int, now: float) -> list[Effect]:
        writer, start, end = message.writer, message.start, message.start + len(message.blocks)
        effects = self._hear(message.head) if message.head is not None else []
        if effects and isinstance(effects[-1], Violation):
            return effects
        target, tree = self._remote.get(writer), self._view.tree(writer)
        want = self._wants.get(writer)
        if target is None:
            if writer not in self._waiting:
                return [*effects, Violation(Rule.NO_HEAD)]
        elif end > target.length:
            return [*effects, Violation(Rule.BEYOND_HEAD)]
        skip = tree.length - start
        if target is None or writer in self._diverged or not 0 <= skip < len(message.blocks):
            # Not admitted, another branch, a push after something that was not taken, or nothing new.
            self._inflow.give_back(size)
            if want is not None and skip > 0 and want.start < tree.length:
                self._forget(writer)  # others brought it: go on from there
            return effects
        made = check_range(message, target, tree)
        if isinstance(made, Append):
            self._inflow.hold(writer, end, size)
            self._claims.take(writer, self, now)
            self._fresh[writer] = made.tree
            self._out.at[writer] = max(end, self._out.at.get(writer, 0))
            if want is None or end >= (want.end or target.length):
                self._forget(writer)
            return [*effects, made]
        # Only what continues an agreed state is a lie: a feed that grew here meanwhile may be on another branch.
        asked = want.ticket if want is not None else 0
        if skip == 0 and message.ticket == asked and (asked or start == self._out.told.get(writer, 0)):
            return [*effects, Violation(made)]
        self._inflow.give_back(size)
        self._forget(writer)
        return effects

    def _acked(self, lengths: tuple[tuple[bytes, int], ...]) -> list[Effect]:
        held = self._view.heads()
        known = tuple((writer, length) for writer, length in lengths if writer in held)
        return [Acked(known)] if known else []

    def _refusals(self, writers: tuple[bytes, ...]) -> list[Effect]:
        for writer in writers:
            if writer in self._wants:
                self._refused[writer] = self.remote_length(writer)
                self._forget(writer)
        return []

    def _branch(self, message: Branch) -> list[Effect]:
        writer, head = message.head.writer, message.head
        if not self._admits(writer):
            return []
        if not head.verify() or not leads_to(head, message.length, message.roots, message.tail):
            return [Violation(Rule.BAD_BRANCH)]
        if self._view.tree(writer).length < message.length:
            return []
        mine = [(node.size, node.hash) for node in roots_of(self._view, writer, message.length)]
        if not differ(mine, message.roots):
            return []  # sizes of withheld blocks were misreported to one of us; the history is one
        self._diverge(writer)
        proof = prove_from(self._view, message)
        return self._fork_here(proof) if proof is not None else []

    def _fork_here(self, proof: Fork) -> list[Effect]:
        writer = proof.first.writer
        effects: list[Effect] = [] if writer in self._view.forks() else [ForkFound(writer, proof)]
        if writer not in self._remote_forks:
            self._remote_forks.add(writer)
            effects.append(send(proof))
        return effects

    def _fork(self, proof: Fork) -> list[Effect]:
        writer = proof.first.writer
        if len(self._remote_forks) < MAX_FEEDS:
            self._remote_forks.add(writer)
        if not self._admits(writer) or (writer in self._view.forks() and writer not in self._challenged):
            return []
        if not proves(proof):
            return [Violation(Rule.BAD_FORK)]
        if writer in self._challenged:
            self._diverge(writer)
        return [] if writer in self._view.forks() else [ForkFound(writer, proof)]

    def _record(self, message: Record, size: int) -> list[Effect]:
        writer, counter = message.writer, message.counter
        self._inflow.give_back(size)
        if writer in self._remote_records or len(self._remote_records) < MAX_FEEDS:
            self._remote_records[writer] = max(counter, self._remote_records.get(writer, 0))
        if counter <= self._view.records().get(writer, -1) or not self._admits(writer):
            return []
        if not self._verify_record(writer, counter, message.data):
            return [Violation(Rule.BAD_RECORD)]
        return [StoreRecord(writer, counter, message.data)]

    def _fetched(self, point: Point, block: bytes | None, size: int) -> list[Effect]:
        self._inflow.give_back(size)
        if point not in self._fetching:
            return [Violation(Rule.UNASKED)]
        if block is not None and leaf_hash(block) != point[2]:
            return [Violation(Rule.BAD_BLOCK)]
        self._fetching.discard(point)
        return [FetchAnswered(point, block)]

    # What follows from the state, after every call

    def _tree(self, writer: bytes) -> Tree:
        return self._fresh.get(writer) or self._view.tree(writer)

    def _gaps(self) -> dict[bytes, int]:
        """writer -> remote length, of feeds that this peer may still bring."""
        if not self._behind:
            return {}
        for writer in [w for w in self._behind if self._tree(w).length >= self._remote[w].length]:
            self._behind.discard(writer)
            self._forget(writer)
        lengths = {writer: self._remote[writer].length for writer in self._behind}
        return {
            writer: length
            for writer, length in lengths.items()
            if writer not in self._diverged and length > self._refused.get(writer, 0)
        }

    def _ask(self, now: float) -> list[Effect]:
        if self._held or not self._exchanged or not self._behind:
            return []
        gaps = self._gaps()
        local = {writer: self._tree(writer).length for writer in gaps}
        busy = self._wants.keys() | {writer for writer in gaps if not self._claims.free(writer, self, now)}
        wants = [self._want(writer) for writer in next_wants(local, gaps, busy, MAX_WANTS - len(self._wants))]
        for want in wants:
            self._wants[want.writer] = want
            self._claims.take(want.writer, self, now)
        return [send(Wants(tuple(wants)))] if wants else []

    def _want(self, writer: bytes) -> Want:
        tree, longest = self._tree(writer), self._remote[writer].length
        packed = min(self._view.packed(writer), longest)
        if packed < longest:
            packed -= packed % 2  # hashes come in whole pairs
        self._tickets += 1
        leaves = packed > tree.length
        return Want(writer, self._tickets, tree.length, packed if leaves else 0, anchor_of(tree.roots), leaves)

    def _forget(self, writer: bytes) -> None:
        self._wants.pop(writer, None)
        self._claims.drop(writer, self)

    def _diverge(self, writer: bytes) -> None:
        self._diverged.add(writer)
        self._out.jobs.pop(writer, None)
        self._forget(writer)

    def _all_durable(self, heads: Mapping[bytes, Head]) -> bool:
        return all(self._view.durable(writer) >= head.length for writer, head in heads.items())

    def _finish(self, effects: list[Effect], now: float) -> list[Effect]:
        effects += self._out.pump()
        effects += self._ask(now)
        credit = self._inflow.credit()
        if credit is not None:
            effects.append(send(credit))
        if self.settled != self._settled:
            self._settled = not self._settled
            if self._settled:
                effects.append(Settled())
        self._fresh.clear()
        return effects

    def _close_for(self, effects: list[Effect]) -> list[Effect]:
        self.close()
        return effects


_PAID = (Blocks, Record, HistoryPiece, Fetched)  # what credit counts


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
