"""An iterative query: ask ever closer nodes until the k closest that answer are known, then perhaps write to them.

    start      the closest nodes of our table, and bootstrap nodes where these are too few
    ask        always the nearest not asked yet, 10 at a time; a node that did not answer its first try is *slow* and
               gives its place to another
    answer     a node that proved its id joins the k closest (`shortlist.py`); of those that it names at most k join
               the candidates, if nearer than the k-th
    doubtful   nodes whose referrers named too many silent ones, and nodes of a network of which enough were asked
               (`referrers.py`), are asked when nobody else is left and fewer than k answers are held
    end        nothing left to ask, or only slow nodes left and k answers held
    commit     each of the k closest is sent what `commit` makes of its answer, which carries the token

Nodes that never answer are reported to those that named them (DOWN_HINT).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple

from netstack.dht.ask import Ask
from netstack.dht.contact import Contact, Scope, contact_at
from netstack.dht.context import DhtContext
from netstack.dht.datagram import DOWN_HINT, INVALID_TOKEN, Response
from netstack.dht.referrers import Referrers
from netstack.dht.rpc import Call
from netstack.dht.shortlist import Shortlist
from netstack.dht.table import K
from netstack.dht.timers import Alarm
from netstack.udp.port import Address

PATIENCE = 3  # tries of a node that a walk waits for where fewer than k answered; the rest goes on without it


class Reply(NamedTuple):
    """One node's answer.  `id` is None where it is not persistent; `to` is our address as it sees us; `rtt` in s."""

    address: Address
    id: bytes | None
    to: Address
    token: bytes | None
    value: bytes | None
    rtt: float
    hops: int  # how many nodes led to this one, 0 for those we knew


@dataclass(frozen=True, slots=True)
class Commit:
    """What to write to one node, with the token of its answer."""

    command: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a query ended.  `closest` are the k nearest answers, nearest first; `committed` of them took the write."""

    closest: tuple[Reply, ...]
    answers: int
    failures: int
    committed: int
    hops: int  # of the nearest answers


OnReply = Callable[[Reply], None]
OnDone = Callable[[Outcome], None]
MakeCommit = Callable[[Reply], Commit | None]


class Candidate:
    """A node that a walk may ask.  `referrers` named it; `ours`: our own table did, so none is charged for it."""

    __slots__ = ("charged", "contact", "distance", "hops", "ours", "referrers", "remarkable")

    def __init__(self, contact: Contact, distance: int, hops: int, referrer: Address | None) -> None:
        self.contact = contact
        self.distance = distance
        self.hops = hops
        self.ours = referrer is None
        self.referrers = [] if referrer is None else [referrer]
        self.charged: tuple[Address, ...] = ()  # the referrers when it was asked
        self.remarkable = False  # down, or set aside: to be looked at when it is named again

    @property
    def answerable(self) -> tuple[Address, ...]:
        """The referrers that are charged where it stays silent: none where our own table knew it."""
        return () if self.ours else tuple(self.referrers)


class Query:
    """Made by `Walks.start`.  `on_done` is called once, or never after `cancel`; never before `start` returns."""

    def __init__(
        self,
        walks: Walks,
        ask: Ask,
        target: bytes,
        *,
        commit: MakeCommit | None,
        on_reply: OnReply | None,
        on_done: OnDone | None,
        nodes: Iterable[Address],
        concurrency: int,
    ) -> None:
        self.target = target
        self.concurrency = concurrency
        self._question = ask
        self._walks = walks
        self._context = walks.context
        self._commit = commit
        self._on_reply = on_reply
        self._on_done = on_done
        self._number = int.from_bytes(target, "big")
        self._heard: dict[Address, Candidate] = {}
        self._down: set[Address] = set()
        self._candidates: list[tuple[int, Candidate]] = []  # a heap by distance
        self._set_aside: dict[Address, Candidate] = {}
        self._visits = 0
        self._referrers = Referrers(self._context.bootstrap)
        self._best: Shortlist[Reply] = Shortlist()
        self._calls: set[Call] = set()
        self._slow: dict[Call, Candidate] = {}
        self._answers = self._failures = self._committed = 0
        self._committing = self._over = False
        self._start(nodes)

    # what the owner sees

    @property
    def closest(self) -> tuple[Reply, ...]:
        """The k nearest answers so far, nearest first."""
        return self._best.closest

    @property
    def over(self) -> bool:
        """Whether it has ended or was cancelled."""
        return self._over

    def cancel(self) -> None:
        """Ends the walk: no more requests, no callback."""
        self._finish()
        for call in self._calls:
            call.cancel()
        self._calls.clear()

    # the walk

    def _start(self, nodes: Iterable[Address]) -> None:
        context = self._context
        contacts = [*context.contacts(nodes), *context.table.closest(self.target)]
        if len(contacts) < K:
            contacts += context.contacts(context.bootstrap)
        if not context.table:
            contacts += context.contacts(context.known)  # as at the start: perhaps it was the network that was down
        for contact in contacts:
            if contact.address not in self._heard:
                self._consider(Candidate(contact, contact.number ^ self._number, 0, None))
        self._ask()
        if not self._calls:
            context.later(Alarm(lambda now: self._settle()))

    def _consider(self, candidate: Candidate) -> None:
        self._heard[candidate.contact.address] = candidate
        heappush(self._candidates, (candidate.distance, candidate))

    def _ask(self) -> None:
        if self._committing or self._over:
            return
        while len(self._calls) - len(self._slow) < self.concurrency:
            candidate = self._next()
            if candidate is None:
                break
            self._visit(candidate)

    def _next(self) -> Candidate | None:
        """The nearest that is worth asking now."""
        if self._visits >= self._context.limits.visits:
            self._candidates.clear()
            self._set_aside.clear()
        held_back: list[Candidate] = []
        chosen = None
        while self._candidates and chosen is None:
            distance, candidate = heappop(self._candidates)
            if not self._best.wants(distance):
                self._candidates.clear()  # all that are left are farther still
            elif self._referrers.crowded(candidate.contact) or self._referrers.unheard_of(candidate.answerable):
                self._set_aside[candidate.contact.address] = candidate
                candidate.remarkable = True
            elif self._referrers.held_back(candidate.answerable):
                held_back.append(candidate)
            else:
                chosen = candidate
        for candidate in held_back:
            heappush(self._candidates, (candidate.distance, candidate))
        return chosen or (None if held_back else self._second_choice())

    def _second_choice(self) -> Candidate | None:
        """The nearest of the candidates set aside, once no other is left and no answer is awaited."""
        if not self._set_aside or len(self._calls) > len(self._slow):
            return None
        for candidate in sorted(self._set_aside.values(), key=lambda candidate: candidate.distance):
            del self._set_aside[candidate.contact.address]
            invented = self._referrers.unheard_of(candidate.answerable)
            if len(self._best) < K if invented else self._best.wants_anyway(candidate.distance):
                return candidate
        return None

    def _visit(self, candidate: Candidate) -> None:
        self._visits += 1
        candidate.charged = candidate.answerable
        self._referrers.asked(candidate.contact, candidate.charged)
        call = self._context.call(candidate.contact.address, self._question)
        call.done = partial(self._answered, call, candidate)
        call.slow = partial(self._slowed, call, candidate)
        self._calls.add(call)

    def _slowed(self, call: Call, candidate: Candidate) -> None:
        call.slow = partial(self._slowed, call, candidate)  # every time-out counts, the first one twice
        if call not in self._slow:
            self._slow[call] = candidate
            self._referrers.silent(candidate.charged)
        self._go_on()

    def _answered(self, call: Call, candidate: Candidate, response: Response | None) -> None:
        self._calls.discard(call)
        slow = self._slow.pop(call, None) is not None
        if self._over or self._committing:
            return
        if response is None:
            self._failures += 1
            self._down.add(candidate.contact.address)
            candidate.remarkable = True
            self._report(candidate, response)
        else:
            self._referrers.answered(candidate.charged, at_last=slow)
            self._absorb(call, candidate, response)
        self._go_on()

    def _report(self, candidate: Candidate, response: Response | None) -> None:
        """Tells those who named a node that it is down, if it is."""
        if response is None:
            for referrer in candidate.referrers:
                self._hint(referrer, candidate.contact)

    def _absorb(self, call: Call, candidate: Candidate, response: Response) -> None:
        contact = candidate.contact
        proved = response.id == contact.id
        if response.error:
            self._failures += 1
        else:
            self._answers += 1
        reply = Reply(
            contact.address,
            contact.id if proved else None,
            response.to,
            response.token,
            response.value,
            call.rtt,
            candidate.hops,
        )
        if proved and not response.error:
            self._best.add(candidate.distance, contact.place, reply)
        heard = self._heard
        for address in response.closer[:K]:
            known = heard.get(address)
            if known is None:
                self._consider_named(address, contact, candidate.hops + 1)
            elif known.remarkable:
                self._named_again(known, contact)
            elif len(known.referrers) < K:
                known.referrers.append(contact.address)
        if not response.error and self._on_reply is not None:
            self._on_reply(reply)

    def _named_again(self, known: Candidate, referrer: Contact) -> None:
        address = known.contact.address
        if address in self._down:
            self._hint(referrer.address, known.contact)
        elif len(known.referrers) < K:
            known.referrers.append(referrer.address)
            if self._set_aside.pop(address, None) is not None:
                known.remarkable = False
                heappush(self._candidates, (known.distance, known))  # somebody else knows it too

    def _consider_named(self, address: Address, referrer: Contact, hops: int) -> None:
        contact = contact_at(address)
        if contact.scope is Scope.NOWHERE or contact.scope < referrer.scope or contact.id == self._context.table.own:
            return
        distance = contact.number ^ self._number
        if self._best.wants(distance) and len(self._heard) < self._context.limits.candidates:
            self._consider(Candidate(contact, distance, hops, referrer.address))

    def _hint(self, referrer: Address, down: Contact) -> None:
        if self._walks.may_hint():
            self._context.call(referrer, Ask(DOWN_HINT, internal=True, value=down.wire, tries=1))

    def _go_on(self) -> None:
        self._ask()
        self._settle()

    def _settle(self) -> None:
        """Ends the walk if there is nothing to wait for."""
        if self._committing or self._over or self._candidates or self._set_aside:
            return
        if len(self._calls) > len(self._slow):
            return
        if len(self._best) < K and any(call.sent <= PATIENCE for call in self._slow):
            return  # in a small network every answer counts, but the dead are not waited for
        self._committing = True
        for call, candidate in self._slow.items():
            if self._referrers.unheard_of(candidate.answerable):
                call.cancel()  # invented, by all that we know: whoever lives there has nothing to do with us
            else:
                call.slow = None
                call.done = partial(self._report, candidate)
        self._slow.clear()
        self._calls.clear()
        if self._commit is not None:
            for reply in self.closest:
                self._write(reply, again=True)
        if not self._calls:
            self._end()

    # the commit phase

    def _write(self, reply: Reply, *, again: bool) -> None:
        commit = self._commit(reply) if self._commit is not None else None
        if commit is None:
            return
        ask = Ask(commit.command, target=self.target, value=commit.value, token=reply.token)
        call = self._context.call(reply.address, ask)
        call.done = partial(self._written, call, reply, again)
        self._calls.add(call)

    def _written(self, call: Call, reply: Reply, again: bool, response: Response | None) -> None:
        self._calls.discard(call)
        if self._over:
            return
        if response is not None and not response.error:
            self._committed += 1
        elif response is not None and response.error == INVALID_TOKEN and response.token and again:
            # the walk took longer than the token lived: it came with a fresh one
            self._write(reply._replace(token=response.token), again=False)
        if not self._calls:
            self._end()

    def _end(self) -> None:
        done = self._on_done
        self._finish()
        if done is not None:
            closest = self.closest
            hops = max((reply.hops for reply in closest), default=0)
            done(Outcome(closest, self._answers, self._failures, self._committed, hops))

    def _finish(self) -> None:
        """Nobody is called any more; callbacks often hold the walk, which holds them."""
        self._over = True
        self._walks.forget(self)
        self._on_reply = self._on_done = self._commit = None


class Walks:
    """The walks of one node that are under way.  `started(target)` is called before each begins."""

    def __init__(self, context: DhtContext, started: Callable[[bytes], None]) -> None:
        self.context = context
        self.hints = 0  # about dead nodes, since the last tick
        self._started = started
        self._queries: dict[int, Query] = {}

    def __len__(self) -> int:
        return len(self._queries)

    def start(
        self,
        ask: Ask,
        *,
        commit: MakeCommit | None = None,
        on_reply: OnReply | None = None,
        on_done: OnDone | None = None,
        nodes: Iterable[Address] = (),
        concurrency: int = 0,
    ) -> Query:
        """A walk to the target of `ask`, which every node on the way is asked, starting also from `nodes`.

        Raises ValueError where `ask` has no target.
        """
        if ask.target is None:
            raise ValueError("a walk needs a target")
        limits = self.context.limits
        self._started(ask.target)
        query = Query(
            self,
            replace(ask, tries=ask.tries or limits.query_tries),
            ask.target,
            commit=commit,
            on_reply=on_reply,
            on_done=on_done,
            nodes=nodes,
            concurrency=concurrency or limits.concurrency,
        )
        self._queries[id(query)] = query
        return query

    def forget(self, query: Query) -> None:
        """`query` is over."""
        self._queries.pop(id(query), None)

    def may_hint(self) -> bool:
        """Whether this tick has room for one more hint about a dead node."""
        self.hints += 1
        return self.hints <= self.context.limits.hints
