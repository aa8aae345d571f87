"""A node's first minute: the walk to its own neighbourhood, and at once a first look at its firewall.

walk to our own id; the first node that answers is asked to answer to the server port too
it did: the firewall test proper (`reachability.py`), then a second walk, from the id that we have now
it did not, so far: ready; should its answer come late, the test follows then
ready: parts of the id space where the table knows nobody are walked to, in the background
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from netstack.dht.datagram import PING_NAT, Response
from netstack.dht.events import Mode, Ready
from netstack.dht.query import Outcome, Reply
from netstack.dht.timers import Alarm
from netstack.ports import SERVER

if TYPE_CHECKING:
    from netstack.dht.node import DhtNode

PATIENCE = 0.25  # s from asking that first node, for which a walk that ended sooner waits


class Bootstrap:
    def __init__(self, node: DhtNode) -> None:
        self._node = node
        self._asked = False
        self._reached = False
        self._walked = False
        self._patience = Alarm(lambda now: self._examine())

    def start(self, now: float) -> None:
        node = self._node
        node.upkeep.start(now)
        for contact in node.contacts(node.known):
            node.upkeep.add(contact)
        node.upkeep.walk(node.table.own, self._replied, self._done)

    def _replied(self, reply: Reply) -> None:
        node = self._node
        bound = node.bound_to(SERVER)
        if self._asked or bound is None or not node.reach.firewalled:
            return
        self._asked = True
        node.request(reply.address, PING_NAT, self._ponged, internal=True, value=bound[1].to_bytes(2, "little"))
        node.timers.set(self._patience, node.now + PATIENCE)

    def _ponged(self, response: Response | None) -> None:
        self._reached = response is not None
        if not self._reached:
            return
        if self._node.upkeep.started:
            self._node.reach.examine(lambda passed: None, firewall_only=True)
        else:
            self._examine()

    def _done(self, outcome: Outcome) -> None:
        self._walked = True
        if self._reached or self._patience.due == inf:
            self._examine()

    def _examine(self) -> None:
        """After the walk, and once there is an answer or no more patience."""
        self._patience.stop()
        node = self._node
        if not self._walked or node.upkeep.started:
            return
        forced = node.reach.mode is Mode.PERSISTENT
        if node.reach.ephemeral and (self._reached or forced):
            node.reach.examine(self._tested, firewall_only=not forced)
        else:
            self._ready()

    def _tested(self, passed: bool) -> None:
        if passed:
            self._node.upkeep.walk(self._node.table.own, on_done=lambda outcome: self._ready())
        else:
            self._ready()

    def _ready(self) -> None:
        if not self._node.upkeep.started:
            self._node.upkeep.started = True
            self._node.tell(Ready())
            self._node.upkeep.mend()
