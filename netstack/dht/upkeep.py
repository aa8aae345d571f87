"""The routing table over time: which nodes get in, which are asked whether they still live, what is refreshed when.

A tick is 5 s.  A node that stays silent is removed, unless nobody answers: then our own network is down.  A full bucket
asks its stalest node before a new one gets its place, so that old nodes, which live longest, stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from netstack.dht.ask import Ask
from netstack.dht.contact import ID_BITS, Contact, Scope
from netstack.dht.context import DhtContext
from netstack.dht.datagram import FIND_NODE, PING, Response
from netstack.dht.events import NetworkChanged, Woken
from netstack.dht.health import Health, HealthMonitor
from netstack.dht.query import Outcome, Reply, Walks
from netstack.dht.reachability import Reachability
from netstack.dht.rpc import Call
from netstack.dht.table import Entry, K
from netstack.dht.timers import Alarm
from netstack.udp.port import Address


class Upkeep:
    """`sweep(now)` is called once a tick: what is kept for others and has lived long enough goes then."""

    def __init__(
        self, context: DhtContext, walks: Walks, reach: Reachability, sweep: Callable[[float], None], now: float
    ) -> None:
        self._context = context
        self._walks = walks
        self._reach = reach
        self._sweep = sweep
        self.health = HealthMonitor()
        # offsets at random, so that nodes that start together do not tick together
        self.tick = 50 + context.rng(1)[0] % 50
        self._refresh_in = context.limits.refresh - context.rng(1)[0] % (context.limits.refresh // 2)
        self._last_tick = now
        self._ticking = Alarm(self._on_tick)
        self._checks = 0
        self._repings = 0
        self._visitors = 0
        self.started = False
        self.last_asked = float("-inf")  # when somebody last asked us something

    def start(self, now: float) -> None:
        """Begins to tick."""
        self._last_tick = now
        self._context.timers.set(self._ticking, now + self._context.limits.tick)

    # which nodes are in the table

    def heard(self, contact: Contact, to: Address, *, sample: bool) -> None:
        """A node answered us under its id; `to` is where it sees us, to be believed if `sample`."""
        context = self._context
        entry = context.table.get(contact.id)
        if entry is None:
            entry = Entry(contact, self.tick)
            if not self._add(entry):
                return
        if sample and (entry.sampled < 0 or self.tick - entry.sampled >= context.limits.old):
            entry.sampled = self.tick
            self._reach.sample(contact.address, to)
        entry.pinged = entry.seen = self.tick

    def asked_by(self, contact: Contact) -> None:
        """Somebody who asks us says that it is a node.

        The source of a datagram is anybody's claim, so this proves nothing: who may get a place is asked, and gets it
        by its answer (`heard`).  Nor does a claim keep a dead node alive, or say where we are.
        """
        context = self._context
        if self._visitors >= context.limits.visitors or context.table.get(contact.id) is not None:
            return
        bucket = context.table.bucket(contact)
        if len(bucket) >= K and context.table.crowd(contact) is None and self._stalest(bucket) is None:
            return
        self._visitors += 1
        call = context.call(contact.address, Ask(PING, internal=True, tries=2))
        call.stranger = True
        call.done = self._visited

    def _visited(self, response: Response | None) -> None:
        self._visitors -= 1

    def add(self, contact: Contact) -> None:
        """Adds a node of an earlier run without asking it first."""
        self._add(Entry(contact, self.tick))

    def _add(self, entry: Entry) -> bool:
        context = self._context
        if entry.contact.scope is Scope.NOWHERE:
            return False
        if context.table.add(entry):
            return True
        bucket = context.table.bucket(entry.contact)
        if len(bucket) < K or context.table.get(entry.contact.id) is not None:
            return False
        if (crowd := context.table.crowd(entry.contact)) is not None:
            context.table.remove(crowd.contact.id)
            return context.table.add(entry)
        self._contest(entry, bucket)
        return False

    def _stalest(self, bucket: list[Entry]) -> Entry | None:
        """Of a full bucket, the one whose place may be contested now."""
        limits = self._context.limits
        if not self.started or self._repings >= limits.repings:
            return None
        stale = [entry for entry in bucket if entry.pinged != self.tick]
        if not stale:
            return None
        oldest = min(stale, key=lambda entry: (entry.pinged, entry.added))
        if self.tick - oldest.pinged < limits.recent and self.tick - oldest.added > limits.old:
            return None
        return oldest

    def _contest(self, newcomer: Entry, bucket: list[Entry]) -> None:
        """Pings the stalest and gives its place away if it is silent."""
        oldest = self._stalest(bucket)
        if oldest is None:
            return
        self._repings += 1

        def verdict(lives: bool) -> None:
            self._repings -= 1
            if not lives and self._context.table.get(oldest.contact.id) is None:
                newcomer.added = self.tick
                self._context.table.add(newcomer)

        self._ask(oldest, verdict)

    def _ask(self, entry: Entry, verdict: Callable[[bool], None]) -> None:
        entry.pinged = self.tick
        call = self._context.call(entry.address, Ask(PING, internal=True))
        call.done = partial(self._pinged, call, entry, entry.seen, verdict)

    def _pinged(
        self, call: Call, entry: Entry, seen: int, verdict: Callable[[bool], None], response: Response | None
    ) -> None:
        # an answer from that address without that id is somebody else: the node behind it changed
        lives = response is not None and response.id == entry.contact.id
        if not lives and not self._deaf(call):
            self._context.table.remove(entry.contact.id)
        verdict(lives)

    def check(self, entry: Entry) -> None:
        """Asks whether it still lives; forgets it otherwise."""
        self._checks += 1

        def verdict(lives: bool) -> None:
            self._checks -= 1

        self._ask(entry, verdict)

    def hinted(self, id: bytes) -> None:
        """Somebody says that a node that we named is down."""
        entry = self._context.table.get(id)
        if entry is None or self._checks >= self._context.limits.checks:
            return
        if entry.pinged < self.tick or entry.hints == 0:
            entry.hints += 1
            self.check(entry)

    def unanswered(self, call: Call) -> None:
        """A call that nobody answered."""
        contacts = self._context.contacts([call.to])
        if contacts and not self._deaf(call):
            self._context.table.remove(contacts[0].id)

    def _deaf(self, call: Call) -> bool:
        """Whether no datagram at all came since `call` began: then its silence says nothing about the asked node.

        Questions count as much as answers: in a quiet network the dead node may be the only one that we asked.
        """
        return max(self._context.rpc.last_answer, self.last_asked) <= call.started

    # the tick

    def _on_tick(self, now: float) -> None:
        context = self._context
        limits = context.limits
        slept = now - self._last_tick > limits.sleep
        self._last_tick = now
        context.timers.set(self._ticking, now + limits.tick)
        if slept:
            self.woken()
        else:
            self.tick += 1
        self._walks.hints = 0
        self._sweep(now)
        if not self.started:
            return
        self._reach.tick()
        if self.tick % limits.ping_every == 0:
            self._ping_some()
        self._refresh_in -= 1
        # alone we look for others every 10 s: the machine may have started before its network did
        few = self.tick % 64 == 0 and len(context.table) < K
        alone = not len(context.table) or not context.rpc.answers
        if self._refresh_in <= 0 or few or (alone and self.tick % 2 == 0):
            self.refresh()
        self._check_health()

    def _check_health(self) -> None:
        rpc = self._context.rpc
        before = self.health.state
        state = self.health.update(rpc.answers, rpc.timeouts)
        if (state is Health.OFFLINE) != (before is Health.OFFLINE):
            self._context.tell(NetworkChanged(self._reach.address, online=state is not Health.OFFLINE))

    def woken(self) -> None:
        """The machine slept: everything that we know is old, and nobody should rely on us until it proves true."""
        limits = self._context.limits
        self.tick += 2 * limits.old
        self.tick += (
            -self.tick % limits.ping_every + limits.ping_every - 2
        )  # pings in two ticks, when the network is up
        self._refresh_in = 1
        self.health.reset()
        self._reach.start_over()
        self._context.tell(Woken())

    def _ping_some(self) -> None:
        table = self._context.table
        if not len(table):
            self.refresh()
            return
        oldest = sorted(table, key=lambda entry: entry.seen)
        count = 3 if len(self._context.rpc) > 2 else 5
        if self.tick - oldest[0].pinged < self._context.limits.recent:
            count = 2
        for entry in oldest[:count]:
            if entry.pinged != self.tick:
                self.check(entry)

    # refreshing

    def walked(self, target: bytes) -> None:
        """A walk begins: every one freshens the table, except that to ourselves."""
        if target != self._context.table.own:
            self._refresh_in = self._context.limits.refresh

    def refresh_soon(self) -> None:
        """Refreshes the table at the next tick."""
        self._refresh_in = 1

    def rebased(self, own: bytes) -> None:
        """We have another id: the walk that follows tells the new neighbours."""
        if self.started:
            self.refresh_soon()

    def refresh(self) -> None:
        """A walk, unhurried, to a gap in the table, else to a node drawn at random, or to ourselves."""
        table = self._context.table
        if gaps := table.gaps():
            self.walk(self._inside(gaps[0]))
            return
        entries = list(table)
        drawn = int.from_bytes(self._context.rng(4), "little")
        self.walk(entries[drawn % len(entries)].contact.id if entries else table.own)

    def mend(self, after: int = -1) -> None:
        """Fills the gaps beyond `after`, one walk after the other, once each: there may be no nodes there."""
        at = next((at for at in self._context.table.gaps() if at > after), None)
        if at is not None:
            self.walk(self._inside(at), on_done=lambda outcome: self.mend(at))

    def _inside(self, at: int) -> bytes:
        """An id, drawn at random, that shares exactly `at` leading bits with ours."""
        rest = ID_BITS - 1 - at
        prefix = (int.from_bytes(self._context.table.own, "big") >> rest) ^ 1
        drawn = int.from_bytes(self._context.rng(32), "big") & ((1 << rest) - 1)
        return (prefix << rest | drawn).to_bytes(32, "big")

    def walk(
        self,
        target: bytes,
        on_reply: Callable[[Reply], None] = lambda reply: None,
        on_done: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        """A walk in the background: few requests at a time while others are under way."""
        limits = self._context.limits

        def replied(reply: Reply) -> None:
            # yields to other traffic, hurries when alone
            query.concurrency = limits.concurrency if len(self._context.rpc) < 3 else limits.background
            on_reply(reply)

        ask = Ask(FIND_NODE, internal=True, target=target)
        query = self._walks.start(ask, on_reply=replied, on_done=on_done, concurrency=limits.background)
