"""Which peers to dial, when, and which connections to keep: every decision of a swarm except topics.  Sans-IO.

`docs/protocol.md`, "Swarm".  `shell/swarm.py`, or a test, drives it:

    core.found(topic, key, now, relays=...)     a record of that topic
    core.opened(key, conn, initiator, now)      a connection of ours or theirs is open
    core.failed(key, now)                       the dial that `Dial` ordered failed
    core.closed(key, conn, now)                 an open connection ended
    core.wake(now)                              when `next_wake` has come
    for effect in core.take_effects(): ...      after any of these: Dial, Abandon, Take, Drop

Tables: at most `SwarmLimits.known` peers, of which a new one replaces the least useful; two connections a peer.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from identity.keys import Random
from netstack.swarm.core.duplicate import PATIENCE, SPARE, Keep, OpenConnection, closes_loser, keep
from netstack.swarm.core.effects import Abandon, Dial, Drop, Effect, PeerCounts, SwarmLimits, Take
from netstack.swarm.core.peer import Peer, PeerInfo, Priority
from netstack.swarm.core.peer_link import PeerLink
from netstack.swarm.core.peer_table import PeerTable
from netstack.udp.port import Address

SLOW = 3.0  # seconds after which a dial makes room for the next one
MAX_EXPECTED = 256  # dials that we answered and whose connections we expect


class SwarmCore:
    """The peers of one key.  Keys have 32 bytes, the owner numbers connections.

    `now` is in seconds of one monotonic clock; `rng(size)` draws jitter and the order of equal priorities.
    """

    def __init__(self, key: bytes, rng: Random, limits: SwarmLimits | None = None) -> None:
        self.key = key
        self.limits = limits or SwarmLimits()
        self._rng = rng
        self._links: dict[bytes, PeerLink] = {}
        self._table = PeerTable(self.limits.known, self._links)
        self._dialling = self._slow = 0  # all dials, and those among them that are slow
        self._queue: list[tuple[int, bytes, bytes]] = []  # (-priority, draw, key)
        self._expected: dict[bytes, float] = {}  # peer whose dial we answered -> until when to expect its connection
        self._effects: list[Effect] = []
        self._suspended = False

    # what the owner wants

    def dial_for(self, topic: bytes, wanted: bool) -> None:
        """Whether peers of this topic are to be dialled.  Open connections stay."""
        if wanted:
            self._table.wanted.add(topic)
            return
        self._table.wanted.discard(topic)
        for peer in self._table:
            peer.topics.discard(topic)
            self._table.prune(peer)

    def join_peer(self, key: bytes, now: float) -> None:
        """Stay connected to that peer, whatever its topics."""
        if key == self.key:
            return
        peer = self._table.get_or_add(key)
        if peer is None:
            return
        peer.explicit = True
        if peer.retry_at is None:
            self._enqueue(peer)
        self._dial(now)

    def leave_peer(self, key: bytes) -> None:
        """Ends `join_peer`.  An open connection stays."""
        peer = self._table.get(key)
        if peer is not None:
            peer.explicit = False
            self._table.prune(peer)

    def ban(self, key: bytes, now: float) -> None:
        """Closes the connection; dials and accepts that peer no more until `unban`."""
        peer = self._table.get_or_add(key)
        if peer is None:
            return
        peer.banned = True
        peer.retry_at = None
        self._disconnect(key)
        self._dial(now)

    def unban(self, key: bytes) -> None:
        """Ends `ban`."""
        peer = self._table.get(key)
        if peer is not None:
            peer.banned = False
            self._table.prune(peer)

    def suspend(self) -> None:
        """Closes every connection and dials no peer until `resume`."""
        self._suspended = True
        self._queue.clear()
        for key in list(self._links):
            self._disconnect(key)
        for peer in self._table:
            peer.queued = False
            peer.retry_at = None
            peer.attempts = 0
            self._table.prune(peer)

    def resume(self, now: float) -> None:
        """Ends `suspend`: dials the peers of `join_peer`; others are found again by their topics."""
        self._suspended = False
        for peer in self._table:
            if peer.explicit:
                self._enqueue(peer)
        self._dial(now)

    def retry_now(self, now: float) -> None:
        """The network changed: retries every waiting peer now."""
        for peer in self._table:
            if peer.retry_at is not None:
                peer.retry_at = None
                self._enqueue(peer)
        self._dial(now)

    # what happens

    def accepts(self, key: bytes, now: float) -> bool:
        """Whether to answer a dialler with this key.  Without an answer it repeats after half a second, then slower."""
        if self._suspended or key == self.key:
            return False
        peer = self._table.get(key)
        if peer is not None and peer.banned:
            return False
        link = self._links.get(key)
        if link is not None and link.dialling and link.active is None and self.key > key and now < link.dial_until:
            return False  # our own dial wins and is under way
        if link is None and self._weight >= self.limits.peers and not (peer is not None and peer.explicit):
            return False
        self._expect(key, now)
        return True

    def found(
        self,
        topic: bytes,
        key: bytes,
        now: float,
        *,
        relays: tuple[Address, ...] = (),
        addresses: tuple[Address, ...] = (),
    ) -> None:
        """A record of a peer, which is a claim: from the DHT with `relays`, or from our network with `addresses`."""
        if key == self.key or topic not in self._table.wanted or self._suspended:
            return
        peer = self._table.get_or_add(key)
        if peer is None:
            return
        if not peer.found(topic, relays, addresses) and peer.retry_at is not None:
            return
        self._dial_at_once(peer, now)

    def located(self, key: bytes, addresses: tuple[Address, ...], now: float) -> None:
        """A peer of `join_peer` is on our own network at these addresses."""
        peer = self._table.get(key)
        if peer is not None and peer.explicit and peer.moved((), addresses):
            self._dial_at_once(peer, now)

    def opened(self, key: bytes, conn: int, initiator: bool, now: float) -> None:
        """A connection is open; `initiator`: we dialled it, and the dial is over."""
        peer = self._table.get(key)
        link = self._links.get(key)
        if self._suspended or (peer is not None and peer.banned) or (initiator and (link is None or not link.dialling)):
            self._effects.append(Drop(conn))
            return
        if link is None:
            link = self._links[key] = PeerLink()
        new = OpenConnection(conn, initiator, now)
        if initiator:
            self._dial_over(link)
        larger = self.key > key
        self._expected.pop(key, None)
        if link.dialling and larger:
            self._spare(link, new, now)  # our own dial wins if it succeeds
        elif link.active is not None:
            self._resolve(key, link, link.active, new, now)
        elif link.spare is not None:
            spare, link.spare, link.spare_until = link.spare, None, inf
            self._resolve(key, link, spare, new, now)
        else:
            self._take(key, link, new)
        self._dial(now)

    def failed(self, key: bytes, now: float) -> None:
        """A dial failed; retried after a back-off, at once where the peer published other addresses meanwhile."""
        link = self._links.get(key)
        if link is None or not link.dialling:
            return
        self._dial_over(link)
        peer = self._table.get(key)
        if peer is not None and link.active is None and link.spare is None:
            if link.dialled != (peer.relays, peer.addresses):  # it published other addresses meanwhile
                del self._links[key]
                self._dial_at_once(peer, now)
                return
            peer.addresses = ()
        self._after_loss(key, link, now, None)

    def closed(self, key: bytes, conn: int, now: float) -> None:
        """A connection ended; the peer is dialled again after a back-off if we still want it."""
        link = self._links.get(key)
        if link is None:
            return
        if link.spare is not None and link.spare.conn == conn:
            link.spare, link.spare_until = None, inf
            self._forget_if_idle(key, link)
        elif link.active is not None and link.active.conn == conn:
            lasted = now - link.active.since
            link.active = None
            self._after_loss(key, link, now, lasted)

    def wake(self, now: float) -> None:
        """Runs the timers that are due."""
        for key, link in list(self._links.items()):
            if link.spare is not None and now >= link.spare_until:
                self._spare_is_over(key, link)
            if link.dialling and link.active is not None and now >= link.dial_until:
                self._abandon(key, link)
            if link.dialling and not link.slow and now >= link.slow_at and self._slow < self.limits.slow:
                link.slow = True
                self._slow += 1
        for peer in self._table:
            if peer.retry_at is not None and now >= peer.retry_at:
                peer.retry_at = None
                self._enqueue(peer)
        self._dial(now)

    def next_wake(self) -> float:
        """When `wake` is due, in seconds of the same clock; math.inf: never."""
        ends = (min(link.spare_until, link.yields_at) for link in self._links.values())
        waits = (peer.retry_at for peer in self._table if peer.retry_at is not None)
        return min(min(ends, default=inf), min(waits, default=inf), self._room_at())

    def take_effects(self) -> list[Effect]:
        """The effects ordered since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # what is known

    def pending(self) -> set[bytes]:
        """Keys of peers that wait for a dial or are being dialled."""
        dialled = {key for key, link in self._links.items() if link.dialling and link.active is None}
        return dialled | {peer.key for peer in self._table if peer.queued}

    def info(self, key: bytes) -> PeerInfo | None:
        """What is known of a peer, None if nothing is."""
        return self._table.info(key)

    def keys(self) -> set[bytes]:
        """All peers known or connected."""
        return self._table.keys()

    def status(self) -> PeerCounts:
        """How many peers are in which state."""
        peers = self._table
        return PeerCounts(
            known=len(peers),
            banned=sum(peer.banned for peer in peers),
            queued=sum(peer.queued for peer in peers),
            waiting=sum(peer.retry_at is not None for peer in peers),
            dialling=self._dialling,
            connected=sum(link.active is not None for link in self._links.values()),
        )

    # inner: dialling

    def _dial_at_once(self, peer: Peer, now: float) -> None:
        """Dials without waiting for the back-off; replaces a running dial that knew no address of our own network."""
        link = self._links.get(peer.key)
        if link is not None and link.dialling and link.active is None and link.spare is None:
            if not peer.addresses or link.dialled[1]:
                return
            self._abandon(peer.key, link)
            del self._links[peer.key]
        peer.retry_at = None
        self._enqueue(peer)
        self._dial(now)

    def _enqueue(self, peer: Peer) -> None:
        if peer.queued or peer.banned or peer.key in self._links or self._suspended:
            return
        peer.queued = True
        urgency = len(Priority) if peer.explicit else peer.priority
        heappush(self._queue, (-urgency, self._rng(4), peer.key))

    def _dial(self, now: float) -> None:
        while self._queue and self._dialling - self._slow < self.limits.parallel:
            entry = heappop(self._queue)
            peer = self._table.get(entry[2])
            if peer is None or not peer.queued:
                continue
            if peer.banned or peer.key in self._links or not self._table.wants(peer):
                peer.queued = False
                self._table.prune(peer)
                continue
            if self._expected.get(peer.key, 0.0) > now:
                peer.queued = False
                peer.retry_at = self._expected[peer.key]  # it is dialling us
                continue
            if self._weight >= self.limits.peers and not peer.explicit:
                heappush(self._queue, entry)  # until a peer leaves; explicit peers come first in the queue
                return
            peer.queued = False
            self._links[peer.key] = PeerLink(
                dialling=True,
                dialled=(peer.relays, peer.addresses),
                slow_at=now + SLOW,
                dial_until=now + SPARE,
            )
            self._dialling += 1
            self._effects.append(Dial(peer.key, peer.relays, peer.addresses))

    def _room_at(self) -> float:
        """When the next dial becomes slow and thereby frees a slot for the queue."""
        if not self._queue or self._slow >= self.limits.slow:
            return inf
        return min((link.slow_at for link in self._links.values() if link.dialling and not link.slow), default=inf)

    @property
    def _weight(self) -> int:
        """Peers connected or being dialled, slow dials excepted: peers that never answer take no place from others."""
        return len(self._links) - self._slow

    def _dial_over(self, link: PeerLink) -> None:
        link.dialling = False
        self._dialling -= 1
        self._slow -= link.slow
        link.slow = False

    def _abandon(self, key: bytes, link: PeerLink) -> None:
        self._dial_over(link)
        self._effects.append(Abandon(key))

    def _expect(self, key: bytes, now: float) -> None:
        """We answered their dial: for `PATIENCE` seconds there is no need to dial them."""
        if len(self._expected) >= MAX_EXPECTED:
            self._expected = {one: until for one, until in self._expected.items() if until > now}
        if len(self._expected) < MAX_EXPECTED:
            self._expected[key] = now + PATIENCE

    # inner: connections

    def _take(self, key: bytes, link: PeerLink, held: OpenConnection) -> None:
        link.active = held
        link.dial_until = held.since + PATIENCE
        peer = self._table.get(key)
        if peer is not None:
            peer.proven = True
            peer.retry_at = None
            peer.queued = False
        self._effects.append(Take(key, held.conn, frozenset(peer.topics) if peer else frozenset()))

    def _resolve(self, key: bytes, link: PeerLink, old: OpenConnection, new: OpenConnection, now: float) -> None:
        larger = self.key > key
        winner, loser = (new, old) if keep(old, new, larger=larger, now=now) is Keep.NEW else (old, new)
        if link.spare is not None:  # a third connection while the first two are still undecided
            self._effects.append(Drop(link.spare.conn))
            link.spare, link.spare_until = None, inf
        if closes_loser(old, new, larger=larger, now=now):
            self._effects.append(Drop(loser.conn))
        else:
            self._spare(link, loser, now)
        if winner is not link.active:
            self._take(key, link, winner)

    def _spare(self, link: PeerLink, held: OpenConnection, now: float) -> None:
        if link.spare is not None:
            self._effects.append(Drop(link.spare.conn))
        link.spare, link.spare_until = held, now + SPARE

    def _spare_is_over(self, key: bytes, link: PeerLink) -> None:
        spare, link.spare, link.spare_until = link.spare, None, inf
        if spare is None:
            return
        if link.active is not None:
            self._effects.append(Drop(spare.conn))
            return
        if link.dialling:  # it would have won, but takes too long
            self._abandon(key, link)
        self._take(key, link, spare)

    def _after_loss(self, key: bytes, link: PeerLink, now: float, lasted: float | None) -> None:
        """A dial failed or the application's connection ended."""
        if link.active is None and link.spare is not None and not link.dialling:
            spare, link.spare, link.spare_until = link.spare, None, inf
            self._take(key, link, spare)
        elif link.active is None and not link.dialling:
            del self._links[key]
            peer = self._table.get(key)
            if peer is not None and not peer.banned:
                peer.ended(self._rng, now, lasted)
                self._table.prune(peer)
        self._dial(now)

    def _disconnect(self, key: bytes) -> None:
        link = self._links.pop(key, None)
        if link is None:
            return
        if link.dialling:
            self._abandon(key, link)
        self._effects += [Drop(held.conn) for held in (link.active, link.spare) if held is not None]

    def _forget_if_idle(self, key: bytes, link: PeerLink) -> None:
        if link.idle:
            del self._links[key]
