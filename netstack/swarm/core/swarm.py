"""Whom to dial, when, and which connections to keep: all decisions of a swarm but those about topics.  Sans-IO.

`docs/protocol.md`, "Swarm".  `shell_swarm.py`, or a test, drives it:

    core.found(topic, key, now, relays=...)     a record of that topic
    core.opened(key, conn, initiator, now)      a connection of ours or theirs is open
    core.failed(key, now)                       what `Dial` asked for came to nothing
    core.closed(key, conn, now)                 an open connection is over
    core.wake(now)                              when `next_wake` has come
    for effect in core.effects(): ...           after any of these: Dial, Abandon, Take, Drop

Tables: at most `Limits.known` peers, of which the least useful goes for a new one; two connections a peer.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from identity.keys import Random
from netstack.swarm.core.duplicate import PATIENCE, SPARE, Held, Keep, closes_loser, keep
from netstack.swarm.core.effects import Abandon, Dial, Drop, Effect, Limits, Status, Take
from netstack.swarm.core.peer import Peer, PeerInfo, Priority
from netstack.swarm.core.peer_link import Bond
from netstack.swarm.core.peer_table import Roster
from netstack.udp.port import Address

SLOW = 3.0  # seconds after which a dial makes room for the next one
MAX_EXPECTED = 256  # answered dials that are waited for


class SwarmCore:
    """All peers of one key.  Keys of 32 bytes; connections are named by the owner's numbers."""

    def __init__(self, key: bytes, rng: Random, limits: Limits | None = None) -> None:
        self.key = key
        self.limits = limits or Limits()
        self._rng = rng
        self._bonds: dict[bytes, Bond] = {}
        self._roster = Roster(self.limits.known, self._bonds)
        self._dialling = self._slow = 0  # all dials, and those among them that are slow
        self._queue: list[tuple[int, bytes, bytes]] = []  # (-priority, draw, key)
        self._expected: dict[bytes, float] = {}  # whose dial we answered: until when to wait for it
        self._effects: list[Effect] = []
        self._suspended = False

    # what the owner wants

    def want(self, topic: bytes, wanted: bool) -> None:
        """Whether peers of this topic are to be dialled.  Connections that there are stay."""
        if wanted:
            self._roster.wanted.add(topic)
            return
        self._roster.wanted.discard(topic)
        for peer in self._roster:
            peer.topics.discard(topic)
            self._roster.tidy(peer)

    def join_peer(self, key: bytes, now: float) -> None:
        """Stay connected to that peer, topic or not."""
        if key == self.key:
            return
        peer = self._roster.know(key)
        if peer is None:
            return
        peer.explicit = True
        if peer.retry_at is None:
            self._enqueue(peer)
        self._dial(now)

    def leave_peer(self, key: bytes) -> None:
        """No more than any other peer.  A connection that there is stays."""
        peer = self._roster.get(key)
        if peer is not None:
            peer.explicit = False
            self._roster.tidy(peer)

    def ban(self, key: bytes, now: float) -> None:
        """Close what there is, dial and accept no more."""
        peer = self._roster.know(key)
        if peer is None:
            return
        peer.banned = True
        peer.retry_at = None
        self._sever(key)
        self._dial(now)

    def unban(self, key: bytes) -> None:
        peer = self._roster.get(key)
        if peer is not None:
            peer.banned = False
            self._roster.tidy(peer)

    def suspend(self) -> None:
        """Closes everything and dials nobody until `resume`."""
        self._suspended = True
        self._queue.clear()
        for key in list(self._bonds):
            self._sever(key)
        for peer in self._roster:
            peer.queued = False
            peer.retry_at = None
            peer.attempts = 0
            self._roster.tidy(peer)

    def resume(self, now: float) -> None:
        self._suspended = False
        for peer in self._roster:
            if peer.explicit:
                self._enqueue(peer)
        self._dial(now)

    def hurry(self, now: float) -> None:
        """The network changed: waits that are running have lost their reason."""
        for peer in self._roster:
            if peer.retry_at is not None:
                peer.retry_at = None
                self._enqueue(peer)
        self._dial(now)

    # what happens

    def accepts(self, key: bytes, now: float) -> bool:
        """Whether a dialler with this key gets an answer at all.  It asks again, every half second and more slowly."""
        if self._suspended or key == self.key:
            return False
        peer = self._roster.get(key)
        if peer is not None and peer.banned:
            return False
        bond = self._bonds.get(key)
        if bond is not None and bond.dialling and bond.active is None and self.key > key and now < bond.dial_until:
            return False  # ours wins, and is on its way
        if bond is None and self._weight >= self.limits.peers and not (peer is not None and peer.explicit):
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
        """Somebody is there, or says so: on the DHT with `relays`, or on our own network at `addresses`."""
        if key == self.key or topic not in self._roster.wanted or self._suspended:
            return
        peer = self._roster.know(key)
        if peer is None:
            return
        if not peer.found(topic, relays, addresses) and peer.retry_at is not None:
            return
        self._go_now(peer, now)

    def located(self, key: bytes, addresses: tuple[Address, ...], now: float) -> None:
        """A peer joined by key is on our own network."""
        peer = self._roster.get(key)
        if peer is not None and peer.explicit and peer.moved((), addresses):
            self._go_now(peer, now)

    def opened(self, key: bytes, conn: int, initiator: bool, now: float) -> None:
        """A connection is open.  One that we dialled ends the dial."""
        peer = self._roster.get(key)
        bond = self._bonds.get(key)
        if self._suspended or (peer is not None and peer.banned) or (initiator and (bond is None or not bond.dialling)):
            self._effects.append(Drop(conn))
            return
        if bond is None:
            bond = self._bonds[key] = Bond()
        new = Held(conn, initiator, now)
        if initiator:
            self._dial_over(bond)
        larger = self.key > key
        self._expected.pop(key, None)
        if bond.dialling and larger:
            self._spare(bond, new, now)  # ours wins if it comes to be
        elif bond.active is not None:
            self._settle(key, bond, bond.active, new, now)
        elif bond.spare is not None:
            spare, bond.spare, bond.spare_until = bond.spare, None, inf
            self._settle(key, bond, spare, new, now)
        else:
            self._take(key, bond, new)
        self._dial(now)

    def failed(self, key: bytes, now: float) -> None:
        bond = self._bonds.get(key)
        if bond is None or not bond.dialling:
            return
        self._dial_over(bond)
        peer = self._roster.get(key)
        if peer is not None and bond.active is None and bond.spare is None:
            if bond.dialled != (peer.relays, peer.addresses):  # it said something new in the meantime
                del self._bonds[key]
                self._go_now(peer, now)
                return
            peer.addresses = ()
        self._after_loss(key, bond, now, None)

    def closed(self, key: bytes, conn: int, now: float) -> None:
        bond = self._bonds.get(key)
        if bond is None:
            return
        if bond.spare is not None and bond.spare.conn == conn:
            bond.spare, bond.spare_until = None, inf
            self._tidy(key, bond)
        elif bond.active is not None and bond.active.conn == conn:
            lasted = now - bond.active.since
            bond.active = None
            self._after_loss(key, bond, now, lasted)

    def wake(self, now: float) -> None:
        for key, bond in list(self._bonds.items()):
            if bond.spare is not None and now >= bond.spare_until:
                self._spare_is_over(key, bond)
            if bond.dialling and bond.active is not None and now >= bond.dial_until:
                self._abandon(key, bond)
            if bond.dialling and not bond.slow and now >= bond.slow_at and self._slow < self.limits.slow:
                bond.slow = True
                self._slow += 1
        for peer in self._roster:
            if peer.retry_at is not None and now >= peer.retry_at:
                peer.retry_at = None
                self._enqueue(peer)
        self._dial(now)

    def next_wake(self) -> float:
        """When `wake` is due; infinity: not before something else happens."""
        ends = (min(bond.spare_until, bond.yields_at) for bond in self._bonds.values())
        waits = (peer.retry_at for peer in self._roster if peer.retry_at is not None)
        return min(min(ends, default=inf), min(waits, default=inf), self._room_at())

    def effects(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # what is known

    def pending(self) -> set[bytes]:
        """Those in the queue or being dialled."""
        dialled = {key for key, bond in self._bonds.items() if bond.dialling and bond.active is None}
        return dialled | {peer.key for peer in self._roster if peer.queued}

    def info(self, key: bytes) -> PeerInfo | None:
        return self._roster.info(key)

    def keys(self) -> set[bytes]:
        """All peers known or connected."""
        return self._roster.keys()

    def status(self) -> Status:
        peers = self._roster
        return Status(
            known=len(peers),
            banned=sum(peer.banned for peer in peers),
            queued=sum(peer.queued for peer in peers),
            waiting=sum(peer.retry_at is not None for peer in peers),
            dialling=self._dialling,
            connected=sum(bond.active is not None for bond in self._bonds.values()),
        )

    # inner: dialling

    def _go_now(self, peer: Peer, now: float) -> None:
        """There is a reason to dial.  A dial that knows no address of our own network gives way to one that does."""
        bond = self._bonds.get(peer.key)
        if bond is not None and bond.dialling and bond.active is None and bond.spare is None:
            if not peer.addresses or bond.dialled[1]:
                return
            self._abandon(peer.key, bond)
            del self._bonds[peer.key]
        peer.retry_at = None
        self._enqueue(peer)
        self._dial(now)

    def _enqueue(self, peer: Peer) -> None:
        if peer.queued or peer.banned or peer.key in self._bonds or self._suspended:
            return
        peer.queued = True
        urgency = len(Priority) if peer.explicit else peer.priority
        heappush(self._queue, (-urgency, self._rng(4), peer.key))

    def _dial(self, now: float) -> None:
        while self._queue and self._dialling - self._slow < self.limits.parallel:
            entry = heappop(self._queue)
            peer = self._roster.get(entry[2])
            if peer is None or not peer.queued:
                continue
            if peer.banned or peer.key in self._bonds or not self._roster.reason(peer):
                peer.queued = False
                self._roster.tidy(peer)
                continue
            if self._expected.get(peer.key, 0.0) > now:
                peer.queued = False
                peer.retry_at = self._expected[peer.key]  # it dials us already
                continue
            if self._weight >= self.limits.peers and not peer.explicit:
                heappush(self._queue, entry)  # until somebody goes; explicit ones come before it
                return
            peer.queued = False
            self._bonds[peer.key] = Bond(
                dialling=True,
                dialled=(peer.relays, peer.addresses),
                slow_at=now + SLOW,
                dial_until=now + SPARE,
            )
            self._dialling += 1
            self._effects.append(Dial(peer.key, peer.relays, peer.addresses))

    def _room_at(self) -> float:
        """When a dial becomes slow and thereby makes room for who waits in the queue."""
        if not self._queue or self._slow >= self.limits.slow:
            return inf
        return min((bond.slow_at for bond in self._bonds.values() if bond.dialling and not bond.slow), default=inf)

    @property
    def _weight(self) -> int:
        """Those connected or being dialled, but for slow dials: strangers who answer nothing keep nobody out."""
        return len(self._bonds) - self._slow

    def _dial_over(self, bond: Bond) -> None:
        bond.dialling = False
        self._dialling -= 1
        self._slow -= bond.slow
        bond.slow = False

    def _abandon(self, key: bytes, bond: Bond) -> None:
        self._dial_over(bond)
        self._effects.append(Abandon(key))

    def _expect(self, key: bytes, now: float) -> None:
        """Their dial was answered: for a moment there is no reason to dial them."""
        if len(self._expected) >= MAX_EXPECTED:
            self._expected = {one: until for one, until in self._expected.items() if until > now}
        if len(self._expected) < MAX_EXPECTED:
            self._expected[key] = now + PATIENCE

    # inner: connections

    def _take(self, key: bytes, bond: Bond, held: Held) -> None:
        bond.active = held
        bond.dial_until = held.since + PATIENCE
        peer = self._roster.get(key)
        if peer is not None:
            peer.proven = True
            peer.retry_at = None
            peer.queued = False
        self._effects.append(Take(key, held.conn, frozenset(peer.topics) if peer else frozenset()))

    def _settle(self, key: bytes, bond: Bond, old: Held, new: Held, now: float) -> None:
        larger = self.key > key
        winner, loser = (new, old) if keep(old, new, larger=larger, now=now) is Keep.NEW else (old, new)
        if bond.spare is not None:  # a third one: the two before it have not been decided yet
            self._effects.append(Drop(bond.spare.conn))
            bond.spare, bond.spare_until = None, inf
        if closes_loser(old, new, larger=larger, now=now):
            self._effects.append(Drop(loser.conn))
        else:
            self._spare(bond, loser, now)
        if winner is not bond.active:
            self._take(key, bond, winner)

    def _spare(self, bond: Bond, held: Held, now: float) -> None:
        if bond.spare is not None:
            self._effects.append(Drop(bond.spare.conn))
        bond.spare, bond.spare_until = held, now + SPARE

    def _spare_is_over(self, key: bytes, bond: Bond) -> None:
        spare, bond.spare, bond.spare_until = bond.spare, None, inf
        if spare is None:
            return
        if bond.active is not None:
            self._effects.append(Drop(spare.conn))
            return
        if bond.dialling:  # it should have won, but takes too long
            self._abandon(key, bond)
        self._take(key, bond, spare)

    def _after_loss(self, key: bytes, bond: Bond, now: float, lasted: float | None) -> None:
        """A dial or the application's connection came to its end."""
        if bond.active is None and bond.spare is not None and not bond.dialling:
            spare, bond.spare, bond.spare_until = bond.spare, None, inf
            self._take(key, bond, spare)
        elif bond.active is None and not bond.dialling:
            del self._bonds[key]
            peer = self._roster.get(key)
            if peer is not None and not peer.banned:
                peer.ended(self._rng, now, lasted)
                self._roster.tidy(peer)
        self._dial(now)

    def _sever(self, key: bytes) -> None:
        bond = self._bonds.pop(key, None)
        if bond is None:
            return
        if bond.dialling:
            self._abandon(key, bond)
        self._effects += [Drop(held.conn) for held in (bond.active, bond.spare) if held is not None]

    def _tidy(self, key: bytes, bond: Bond) -> None:
        if bond.idle:
            del self._bonds[key]
