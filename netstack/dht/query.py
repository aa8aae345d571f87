"""An iterative query: ask ever closer nodes until the k closest that answer are known, then perhaps write to them.

    start      the closest nodes of our table, and bootstrap nodes where these are too few
    ask        always the nearest not asked yet, 10 at a time; a node that did not answer its first try is *slow* and
               gives its place to another
    answer     whoever proved its id joins the k closest; whom it names joins the candidates if nearer than the k-th
    end        nothing left to ask, or only slow nodes left and k answers held
    commit     each of the k closest is sent what `commit` makes of its answer (it carries the token)

Nodes that never answer are reported to those that named them.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from netstack.dht.contact import Contact, Scope, contact_at
from netstack.dht.datagram import DOWN_HINT, INVALID_TOKEN, Response
from netstack.dht.rpc import Call
from netstack.dht.table import K
from netstack.dht.timers import Alarm
from netstack.udp import Address

if TYPE_CHECKING:
    from netstack.dht.node import DhtNode


@dataclass(frozen=True, slots=True)
class Reply:
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


class Query:
    """Made by `DhtNode.query`.  `on_done` is called once, or never after `cancel`; never before `query` returns."""

    def __init__(
        self,
        node: DhtNode,
        target: bytes,
        command: int,
        *,
        internal: bool,
        value: bytes | None,
        commit: MakeCommit | None,
        on_reply: OnReply | None,
        on_done: OnDone | None,
        nodes: Iterable[Address],
        concurrency: int,
    ) -> None:
        self.node = node
        self.target = target
        self.command = command
        self.internal = internal
        self.value = value
        self.concurrency = concurrency
        self._commit = commit
        self._on_reply = on_reply
        self._on_done = on_done
        self._number = int.from_bytes(target, "big")
        self._seen: dict[Address, list[Address]] = {}  # who named them
        self._down: set[Address] = set()
        self._candidates: list[tuple[int, Contact, int]] = []  # a heap by distance; and hops
        self._best: list[tuple[int, Reply]] = []
        self._calls: set[Call] = set()
        self._slow: set[Call] = set()
        self._answers = self._failures = self._committed = 0
        self._committing = self._over = False
        self._start(nodes)

    # what the owner sees

    @property
    def closest(self) -> tuple[Reply, ...]:
        return tuple([reply for _, reply in self._best])

    @property
    def over(self) -> bool:
        return self._over

    def cancel(self) -> None:
        """Asks nobody any more and calls nobody back."""
        self._over = True
        self.node.forget(self)
        for call in self._calls:
            call.cancel()
        self._calls.clear()

    # the walk

    def _start(self, nodes: Iterable[Address]) -> None:
        node = self.node
        contacts = [*node.contacts(nodes), *node.table.closest(self.target)]
        if len(contacts) < K:
            contacts += node.contacts(node.bootstrap)
        for contact in contacts:
            if contact.address not in self._seen:
                self._seen[contact.address] = []
                heappush(self._candidates, (contact.number ^ self._number, contact, 0))
        self._ask()
        if not self._calls:
            node.later(Alarm(lambda now: self._settle()))

    def _closer(self, distance: int) -> bool:
        return len(self._best) < K or distance < self._best[-1][0]

    def _ask(self) -> None:
        if self._committing or self._over:
            return
        candidates = self._candidates
        while candidates and len(self._calls) - len(self._slow) < self.concurrency:
            distance, contact, hops = heappop(candidates)
            if not self._closer(distance):
                candidates.clear()  # all that are left are farther still
                break
            self._visit(contact, hops)

    def _visit(self, contact: Contact, hops: int) -> None:
        node = self.node
        call = node.call(
            contact.address,
            self.command,
            internal=self.internal,
            target=self.target,
            value=self.value,
            tries=node.limits.query_tries,
        )
        call.done = partial(self._answered, call, contact, hops)
        call.slow = partial(self._slowed, call)
        self._calls.add(call)

    def _slowed(self, call: Call) -> None:
        self._slow.add(call)
        self._go_on()

    def _answered(self, call: Call, contact: Contact, hops: int, response: Response | None) -> None:
        self._calls.discard(call)
        self._slow.discard(call)
        if self._over or self._committing:
            return
        if response is None:
            self._failures += 1
            self._down.add(contact.address)
            for informer in self._seen[contact.address]:
                self._hint(informer, contact)
            self._go_on()
            return
        self._absorb(call, contact, hops, response)

    def _absorb(self, call: Call, contact: Contact, hops: int, response: Response) -> None:
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
            hops,
        )
        if proved and not response.error:
            distance = contact.number ^ self._number
            if self._closer(distance):
                insort(self._best, (distance, reply), key=lambda ranked: ranked[0])
                del self._best[K:]
        for address in response.closer:
            self._named(address, contact, hops + 1)
        if not response.error and self._on_reply is not None:
            self._on_reply(reply)
        self._go_on()

    def _named(self, address: Address, informer: Contact, hops: int) -> None:
        informers = self._seen.get(address)
        if informers is not None:
            if address in self._down:
                self._hint(informer.address, contact_at(address))
            elif len(informers) < K:
                informers.append(informer.address)
            return
        contact = contact_at(address)
        if contact.scope is Scope.NOWHERE or contact.scope < informer.scope or contact.id == self.node.table.own:
            return
        distance = contact.number ^ self._number
        if self._closer(distance) and len(self._seen) < self.node.limits.candidates:
            self._seen[address] = [informer.address]
            heappush(self._candidates, (distance, contact, hops))

    def _hint(self, informer: Address, down: Contact) -> None:
        if self.node.may_hint():
            self.node.call(informer, DOWN_HINT, internal=True, value=down.wire, tries=1)

    def _go_on(self) -> None:
        self._ask()
        self._settle()

    def _settle(self) -> None:
        """Ends the walk if there is nothing to wait for."""
        if self._committing or self._over or self._candidates:
            return
        if len(self._calls) > len(self._slow) or (self._slow and len(self._best) < K):
            return
        self._committing = True
        for call in self._calls:
            call.cancel()
        self._calls.clear()
        if self._commit is not None:
            for _, reply in self._best:
                self._write(reply, again=True)
        if not self._calls:
            self._end()

    # the commit phase

    def _write(self, reply: Reply, *, again: bool) -> None:
        commit = self._commit(reply) if self._commit is not None else None
        if commit is None:
            return
        call = self.node.call(reply.address, commit.command, target=self.target, value=commit.value, token=reply.token)
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
            self._write(
                Reply(reply.address, reply.id, reply.to, response.token, reply.value, reply.rtt, reply.hops),
                again=False,
            )
        if not self._calls:
            self._end()

    def _end(self) -> None:
        self._over = True
        self.node.forget(self)
        if self._on_done is not None:
            closest = self.closest
            hops = max((reply.hops for reply in closest), default=0)
            self._on_done(Outcome(closest, self._answers, self._failures, self._committed, hops))
