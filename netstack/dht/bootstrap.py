"""The first minute of a node: a walk to its own id, and a quick look at its firewall meanwhile.

1. Walk to our own id.  The first node that answers is asked to answer to the server port as well (PING_NAT).
2. If that answer comes: the firewall test (`reachability.py`), then a second walk, from the id that we have now.
3. If it does not come in time: ready.  Should it come later, the test follows then.
4. Once ready: walks in the background to parts of the id space where the table knows nobody.
"""

from __future__ import annotations

from math import inf

from netstack.dht.ask import Ask
from netstack.dht.context import DhtContext
from netstack.dht.datagram import PING_NAT, Response
from netstack.dht.events import Mode, Ready
from netstack.dht.query import Outcome, Reply
from netstack.dht.reachability import Reachability
from netstack.dht.timers import Alarm
from netstack.dht.upkeep import Upkeep
from netstack.ports import SERVER

PATIENCE = 0.25  # s from asking that first node, for which a walk that ended sooner waits


class Bootstrap:
    """Made when the server port is bound; `start` begins the walk."""

    def __init__(self, context: DhtContext, upkeep: Upkeep, reach: Reachability) -> None:
        self._context = context
        self._upkeep = upkeep
        self._reach = reach
        self._asked = False
        self._reached = False
        self._walked = False
        self._patience = Alarm(lambda now: self._examine())

    def start(self, now: float) -> None:
        """Begins the walk.  Called once, at the first `wake` after the server port was bound."""
        context, upkeep = self._context, self._upkeep
        upkeep.start(now)
        for contact in context.contacts(context.known):
            upkeep.add(contact)
        upkeep.walk(context.table.own, self._replied, self._done)

    def _replied(self, reply: Reply) -> None:
        context = self._context
        bound = context.bound_to(SERVER)
        if self._asked or bound is None or not self._reach.firewalled:
            return
        self._asked = True
        ask = Ask(PING_NAT, internal=True, value=bound[1].to_bytes(2, "little"))
        context.request(reply.address, ask, self._ponged)
        context.timers.set(self._patience, context.now + PATIENCE)

    def _ponged(self, response: Response | None) -> None:
        self._reached = response is not None
        if not self._reached:
            return
        if self._upkeep.started:
            self._reach.examine(lambda passed: None, firewall_only=True)
        else:
            self._examine()

    def _done(self, outcome: Outcome) -> None:
        self._walked = True
        if self._reached or self._patience.due == inf:
            self._examine()

    def _examine(self) -> None:
        """After the walk, and once there is an answer or no more patience."""
        self._patience.stop()
        if not self._walked or self._upkeep.started:
            return
        reach = self._reach
        forced = reach.mode is Mode.PERSISTENT
        if reach.ephemeral and (self._reached or forced):
            reach.examine(self._tested, firewall_only=not forced)
        else:
            self._ready()

    def _tested(self, passed: bool) -> None:
        if passed:
            self._upkeep.walk(self._context.table.own, on_done=lambda outcome: self._ready())
        else:
            self._ready()

    def _ready(self) -> None:
        if not self._upkeep.started:
            self._upkeep.started = True
            self._context.tell(Ready())
            self._upkeep.mend()
