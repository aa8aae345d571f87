"""Keeps a listening key findable: three DHT nodes near its hash relay handshakes to us, and are asked every 3 s.

`docs/protocol.md`, "Announcing".  A pong says where the relay sees us now.  If that is not the address that we
announced, our NAT has lost its mapping or changed it, and the relay sends handshakes to an address where nobody is: so
we announce again at once.  The npm stack does not compare, and stays unreachable until its next round some five minutes
later.
"""

from __future__ import annotations

from collections.abc import Callable

from identity.keys import SigningKey
from netstack.connect.rpc import answer_of, dialable
from netstack.connect.tasks import Promise, Task, Tasks
from netstack.dht.ask import Ask
from netstack.dht.datagram import ANNOUNCE, FIND_PEER, PING, UNANNOUNCE
from netstack.dht.hyper import encode_unannounce
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome, Query, Reply
from netstack.dht.records import PeerRecord, encode_announce, encode_peer, hashed, sign_announce
from netstack.udp.port import Address

RELAYS = 3
PING_EVERY = 3.0
ROUNDS = 100  # of pings between two full announcements: about 5 min
RESTLESS = 1.0  # at least so long between two announcements, however often our address changes,
RESTLESS_MOST = 30.0  # and up to so long where one after the other
SETTLED = 30.0  # did not last so long: a relay may claim at every ping that we have moved
PING_TRIES = 3


class Announcer:
    """One key.  `relays` are (relay, our address as it sees us), the newest announcement's.

    `on_moved()`: a relay sees us elsewhere than before.
    """

    def __init__(self, node: DhtNode, tasks: Tasks, key: SigningKey, on_moved: Callable[[], None]) -> None:
        self.key = key
        self.target = hashed(key.public)
        self.relays: tuple[tuple[Address, Address], ...] = ()
        self.announced: Promise[None] = Promise()  # the first round is over
        self.rounds = 0
        self._node = node
        self._tasks = tasks
        self._on_moved = on_moved
        self._closest: tuple[Address, ...] = ()
        self._past: list[set[Address]] = [set(), set()]  # relays of the last two announcements
        self._moved: Promise[None] = Promise()
        node.store.own[self.target] = encode_peer(PeerRecord(key.public))
        self._task: Task = tasks.spawn(self._run())

    @property
    def relay_addresses(self) -> tuple[Address, ...]:
        """Where others may ask for us: ourselves first, where strangers reach us."""
        node = self._node
        own = (node.address,) if node.reachable and node.address is not None else ()
        return tuple(dict.fromkeys((*own, *(relay for relay, _ in self.relays))))[:RELAYS]

    def is_relay(self, address: Address) -> bool:
        """Whether it relays for this key, by the newest announcement or the two before."""
        return any(address == relay for relay, _ in self.relays) or any(address in past for past in self._past)

    def refresh(self) -> None:
        """Announces again soon: the network has changed, or the machine has slept."""
        self._moved.keep(None)

    def close(self) -> None:
        """Stops, and takes the announcement back as far as one message each does."""
        self._task.cancel()
        self._node.store.own.pop(self.target, None)
        for relay in sorted({relay for relay, _ in self.relays}.union(*self._past)):
            self._tasks.spawn(self._withdraw(relay))
        self.relays = ()

    async def _run(self) -> None:
        gap = RESTLESS
        while True:
            self._moved = Promise()
            await self._announce()
            self.announced.keep(None)
            since = self._tasks.now
            await self._keep()
            gap = RESTLESS if self._tasks.now - since >= SETTLED else min(2 * gap, RESTLESS_MOST)
            self._moved = Promise()
            await self._tasks.within(gap, self._moved)

    async def _keep(self) -> None:
        """Returns when it is time to announce again."""
        for _ in range(ROUNDS):
            await self._tasks.within(PING_EVERY, self._moved)
            if self._moved.done:
                return
            pongs: list[bool] = []
            await self._tasks.together([self._ping(relay, here, pongs) for relay, here in self.relays])
            if self._moved.done or len(pongs) < len(self.relays) or not self.relays:
                return

    async def _ping(self, relay: Address, here: Address, pongs: list[bool]) -> None:
        answer = await answer_of(self._node, relay, Ask(PING, internal=True, tries=PING_TRIES))
        if answer is not None:
            pongs.append(True)
            if answer.to != here:
                self._moved.keep(None)
                self._on_moved()

    async def _announce(self) -> None:
        done: Promise[Outcome] = Promise()
        walk: Query = self._node.query(Ask(FIND_PEER, target=self.target), on_done=done.keep, nodes=self._closest)
        try:
            outcome = await done
        finally:
            walk.cancel()
        relays: list[tuple[Address, Address]] = []
        chosen = [reply for reply in outcome.closest if reply.token is not None and reply.id is not None][:RELAYS]
        await self._tasks.together([self._commit(reply, relays) for reply in chosen])
        self._closest = tuple(reply.address for reply in outcome.closest)
        dropped = self._past[0] - {relay for relay, _ in relays}
        self._past = [{relay for relay, _ in self.relays}, {relay for relay, _ in relays}]
        self.relays = tuple(relays)
        self.rounds += 1
        for relay in dropped:
            self._tasks.spawn(self._withdraw(relay))

    async def _commit(self, reply: Reply, relays: list[tuple[Address, Address]]) -> None:
        if reply.token is None or reply.id is None or not dialable(reply.to):
            return
        value = encode_announce(sign_announce(self.key, self.target, reply.id, reply.token))
        answer = await answer_of(
            self._node, reply.address, Ask(ANNOUNCE, target=self.target, value=value, token=reply.token)
        )
        if answer is not None and not answer.error:
            relays.append((reply.address, answer.to))

    async def _withdraw(self, relay: Address) -> None:
        answer = await answer_of(self._node, relay, Ask(FIND_PEER, target=self.target, tries=1))
        if answer is None or answer.token is None or answer.id is None or not answer.value:
            return
        value = encode_unannounce(self.key, self.target, answer.id, answer.token)
        await answer_of(
            self._node, relay, Ask(UNANNOUNCE, target=self.target, value=value, token=answer.token, tries=1)
        )
