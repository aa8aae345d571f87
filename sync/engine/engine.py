"""The engine of an opened profile, without I/O: connections, time and commands in; a commit and effects out.

A shell calls one method for what happened and then `tick`, which commits everything the call changed, tells the peers,
does what follows from it, and leaves effects in `take_effects()`.  Nothing is
sent before it is durable.  `now` is Unix time in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf

from crdt.docs.facts import ABOUT_PROFILES
from identity.errors import KithkinError
from identity.hello import PROTOCOL as HELLO
from identity.inner import SESSION
from identity.kem import Kem
from identity.keys import Random
from netstack.wire.protomux import ChannelClosed, ChannelOpened, Fault, Message, Offered, Protomux
from sync.engine import news
from sync.engine.candidates import Candidates
from sync.engine.dialling import Dialling, PendingDial, Whereabouts, hint_of
from sync.engine.effects import DeviceChanged, Disconnect, Effect, PeerChanged, Transmit
from sync.engine.hello import DeviceHandshake
from sync.engine.inputs import ConnectionUp, FoundKey
from sync.engine.onboarding.onboarding import Onboarding
from sync.engine.peer import Peer, Purpose
from sync.engine.profile import Profile
from sync.engine.recovery.recovery import Recovery
from sync.engine.replication import PROTOCOL as SPACE
from sync.engine.replication import Replication
from sync.engine.succession import become_new_device
from sync.engine.tasks.schedule import Schedule
from sync.engine.topics import Topics, somebody_missing
from sync.engine.transport_keys import TransportKeys
from sync.space.delta import SpaceDelta
from sync.space.epochs import drop_keys
from sync.store.port import Store

ROUNDS = 32  # what follows from what follows: a bound, never reached by honest states
BACKWARDS = 1.0  # seconds that the clock may go back without anything being due anew
HELLO_TIME = 15.0  # a connection that proves nothing in this time is closed
MAX_UNPROVED = 64  # connections under T that others dialled and that proved nothing yet; the oldest makes room
HEARTBEAT = 30.0  # seconds after which `wake` is due even if nothing happened
FRAME = 400 * 1024  # bytes of a frame that we write


class Engine:
    """One profile's node.  `online` is called once the shell has an address; kem: the platform's ML-KEM-768, if any."""

    def __init__(self, store: Store, rng: Random, now: float, kem: Kem | None) -> None:
        self.profile = Profile(store, rng, kem)
        self.peers: dict[int, Peer] = {}
        self.replication = Replication(self.profile)
        self.dialling = Dialling(self.profile, self.peers)
        self.recovery = Recovery(self.profile, self.dialling, self.peers)
        self.handshake = DeviceHandshake(self.profile, self.replication, self.recovery, self.peers)
        self.handshake.told_by = self.dialling.told
        self.onboarding = Onboarding(self.profile, self.handshake, self.dialling)
        self.topics = Topics(self.profile)
        self.candidates = Candidates(rng)
        self.transport_keys = TransportKeys(self.profile)
        self.tasks = Schedule(self.profile, self.peers, self._defect)
        self._hints: tuple[str, ...] = ()
        self.faults: list[Exception] = []
        self._told = self.profile.view  # what watchers know of my lists, and of how far my feeds are opened elsewhere
        self._reaches = {id_: self._reached(id_) for id_ in self.profile.spaces}
        self._latest = now  # the latest time heard of
        self._was_out = self.profile.out
        self.tasks.review((), now)

    # -- the shell calls ----------------------------------------------------------------------------------------

    def online(self, hints: tuple[str, ...], now: float) -> None:
        """The node accepts connections and is reached at `hints` ("host:port"; none: by its keys alone): listen, tell,
        dial, and be at its topics."""
        self._hints = self.dialling.hints = hints
        self.dialling.online = True
        self._appear(now)
        self.tick(now)

    def _appear(self, now: float) -> None:
        """Says to the shell where this device listens and which topics it is at, and to every space where it is."""
        # Nobody listened while there was no port: everything is said again.
        self.transport_keys.start_over()
        self.onboarding.invites.forget_listening()
        self.topics.start()
        self.recovery.start(now)
        self.candidates.clear()
        self._rotate(now)
        self.tasks.online(now)
        self._listen(now)

    def _give_place(self, now: float) -> None:
        """Another copy of this store wrote on under its keys: this one goes on as a new device."""
        become_new_device(self.profile, int(now * 1000))
        self.start_over()
        if self.dialling.online:
            self._appear(now)

    def _moved(self, now: float) -> None:
        """This device is in another personal space now: everything begins with what stands there."""
        self.recovery.moved = False
        self.start_over()
        if self.dialling.online:
            self._appear(now)

    def opened(self, connection: ConnectionUp, now: float) -> None:
        """A connection is up."""
        conn, attempt = connection.conn, connection.attempt
        pending = self.dialling.opened(attempt) if attempt is not None else None
        if attempt is not None and pending is None:
            self.profile.effects.append(Disconnect(conn, "nobody waits for it any more"))
            return
        purpose = pending.purpose if pending is not None else self.onboarding.purpose(connection.local)
        peer = Peer(
            conn,
            purpose,
            pending is not None,
            connection.local,
            connection.remote,
            connection.handshake,
            connection.address,
            Protomux(limit=FRAME),
            now,
            to=pending.device if pending is not None else None,
            topic=pending.topic if pending is not None else b"",
            z=pending.z if pending is not None else None,
        )
        self._make_room(peer)
        self.peers[conn] = peer
        peer.mux.pair(SPACE)
        peer.mux.pair(HELLO)
        with self._seam(peer):
            if pending is not None and pending.purpose is not Purpose.HELLO:
                self.onboarding.dialled(peer, pending, now)
            elif purpose is Purpose.INVITE:
                self.onboarding.invites.answer(peer, now)
            else:
                self.handshake.begin(peer, now)
            self._events(peer, now)

    def frames(self, arrived: Iterable[tuple[int, bytes]], now: float) -> None:
        """Frames that came since the last tick, in order."""
        for conn, frame in arrived:
            peer = self.peers.get(conn)
            if peer is None or peer.closing:
                continue
            with self._seam(peer):
                self._handle(peer, peer.mux.receive(frame), now)

    def closed(self, conn: int, now: float) -> None:
        """A connection is gone."""
        peer = self.peers.pop(conn, None)
        if peer is None:
            return
        for link in list(peer.links.values()):
            self.replication.forget_link(peer, link)
        self.onboarding.lost(peer, now)
        if peer.device is not None:
            self.tasks.connection_lost()
            if not any(p.device == peer.device for p in self.peers.values() if not p.closing):
                self.profile.effects.append(PeerChanged(peer.device, False, peer.address))
                self.dialling.lost(peer.device, peer.proved_at, now)
        elif peer.to is not None:
            self.dialling.back_off(peer.to, now)
        if peer.topic and peer.device is None:
            self.candidates.over(peer.topic, peer.remote, now, refused=peer.closing)
        self.replication.after_loss(now)

    def failed(self, attempt: int, now: float) -> None:
        """A `Dial` came to nothing."""
        pending = self.dialling.failed(attempt, now)
        if pending is not None:
            self.onboarding.failed(pending, now)
            if pending.z is not None:
                self.candidates.over(pending.topic, pending.key, now, refused=False)

    def found(self, found: FoundKey, now: float) -> None:
        """Somebody stands at a topic of ours under a transport key: a device that we know, or anybody who knows the
        topic.  Of the latter a bounded number is dialled, to see (`candidates`)."""
        place = self.topics.at.get(found.topic)
        if place is None or any(found.key == own.public for _, own in self.profile.account.transports):
            return
        if any(peer.remote == found.key and not peer.closing for peer in self.peers.values()):
            return
        device = self.dialling.owner(found.key)
        if device is None:
            self.candidates.found(found, now)
        elif not any(peer.device == device and not peer.closing for peer in self.peers.values()):
            self.dialling.hurry(device, found, now)

    def sought(self, public: bytes, value: bytes, now: float) -> None:
        """A record that was asked for in the DHT."""
        self.recovery.sought(public, value, now)

    def wake(self, now: float) -> None:
        """Something is due."""
        self._rotate(now)
        self.replication.wake(now)
        self.onboarding.wake(now)
        for peer in list(self.peers.values()):
            if peer.device is None and now > self._deadline(peer):
                self._drop(peer, "nothing proved in time")
            elif peer.leaving is not None and now >= peer.leaving:
                self._drop(peer, "a device that was shut out")

    def next_wake(self) -> float:
        """Unix seconds at which `wake` and `tick` are to be called at the latest."""
        online = self.dialling.online
        times = [
            self._latest + HEARTBEAT,
            self.transport_keys.next_wake(),
            self.tasks.next_wake(online=online),
            self.onboarding.next_wake(),
            self.topics.next_wake(),
            self.recovery.next_wake(),
            self.candidates.next_wake() if online else inf,
            self.dialling.next_wake(),
            self.replication.next_wake(),
        ]
        times += [p.leaving for p in self.peers.values() if p.leaving is not None and not p.closing]
        times += [self._deadline(p) + 0.01 for p in self.peers.values() if p.device is None and not p.closing]
        return max(min(times), self._latest + 0.001)

    @staticmethod
    def _deadline(peer: Peer) -> float:
        """When a connection whose other end has proved nothing is given up."""
        return peer.since + (HELLO_TIME if peer.purpose is Purpose.HELLO else SESSION)

    def tick(self, now: float) -> None:
        """Commits, tells the peers, and does what follows, until nothing more does.  Raises what the store raises; then
        the profile was read again from the store, and every connection is given up."""
        if now < self._latest - BACKWARDS:
            self._set_back(now)
        self._latest = now
        self.tasks.begin_tick()
        try:
            self.recovery.work(now)
            for _ in range(ROUNDS):
                if not self._commit_round(now):
                    break
            if self.profile.copied:
                self._give_place(now)
            if self.recovery.moved:
                self._moved(now)
        except BaseException:
            self.start_over()
            raise
        # A link may have gone without its connection: a channel that moved to another Z, a device that left.
        self.replication.after_loss(now)
        self.replication.ask(now)
        self.dialling.wake(now)
        self._meet(now)
        for peer in self.peers.values():
            for frame in peer.mux.take_outgoing():
                self.profile.effects.append(Transmit(peer.conn, frame))

    def _meet(self, now: float) -> None:
        """Topics to join and to leave, and keys found there to look at."""
        for topic in self.topics.wake(now):
            self.candidates.leave(topic)
        if not self.dialling.online:
            return
        for peer in self.peers.values():
            if peer.topic and peer.device is not None:
                self.candidates.forget(peer.topic, peer.remote)
                peer.topic = b""
        connected = {peer.device for peer in self.peers.values() if peer.device is not None and not peer.closing}

        def worth(topic: bytes) -> bool:
            place = self.topics.at.get(topic)
            space = self.profile.spaces.get(place.space) if place is not None else None
            return space is not None and somebody_missing(self.profile, space, connected)

        for entry in self.candidates.due(now, worth):
            local, z = self.profile.account.transport(now), self.topics.at[entry.topic].z
            pending = PendingDial(Purpose.HELLO, None, local, topic=entry.topic, key=entry.key, z=z)
            # A stranger is worth a question where it says that it is, not a walk through the DHT.
            hints, named = tuple(map(hint_of, entry.addresses)), bool(entry.relays or entry.addresses)
            self.dialling.dial(pending, entry.key, hints, relays=entry.relays, announced=not named)

    def _make_room(self, peer: Peer) -> None:
        """Strangers who connect and say nothing do not add up."""
        waiting = [p for p in self.peers.values() if not p.initiator and p.device is None and not p.closing]
        waiting = [p for p in waiting if p.purpose is Purpose.HELLO]
        if not peer.initiator and len(waiting) >= MAX_UNPROVED:
            self._drop(min(waiting, key=lambda p: p.since), "others wait too")

    def _set_back(self, now: float) -> None:
        """Somebody set the clock back: what was due by the old one would wait for as long as it went wrong."""
        self.tasks.clock_set_back(now)
        self.transport_keys.look_at(now)
        self.dialling.start_afresh()
        self.topics.look_again()
        self.candidates.clear()
        for peer in self.peers.values():
            self._drop(peer, "the clock was set back")

    def take_effects(self) -> list[Effect]:
        """Effects in order; connections are closed last, so that the last word on them is still sent."""
        effects, self.profile.effects = news.once(self.profile.effects), []
        return sorted(effects, key=lambda effect: isinstance(effect, Disconnect))

    @contextmanager
    def _seam(self, peer: Peer) -> Iterator[None]:
        """Whatever a peer's message brings about that nobody foresaw costs that peer its connection and nothing else:
        what it half did is forgotten.  A defect is kept for whoever looks (`faults`); the store's refusals are not."""
        try:
            yield
        except KithkinError as refused:
            self.start_over()
            self._drop(peer, refused.message)
        except Exception as defect:
            self.faults.append(defect)
            self.start_over()
            self._drop(peer, "a message that could not be dealt with")

    def _listen(self, now: float) -> None:
        """Answers my invites, and lets go of the spaces of those that came to nothing."""
        self.onboarding.invites.listen(now)
        for id_ in self.onboarding.invites.forgotten:
            for peer in list(self.peers.values()):
                link = peer.links.get(id_)
                if link is not None:
                    self.replication.close_link(peer, link)
        self.onboarding.invites.forgotten.clear()

    def _defect(self, defect: Exception) -> None:
        """A background task raised what nobody foresaw: kept for whoever looks, and what it half did is forgotten."""
        self.faults.append(defect)
        self.start_over()

    # -- the commit loop --------------------------------------------------------------------------------------

    def _commit_round(self, now: float) -> bool:
        """One commit and what follows from it.  Whether there was anything to commit."""
        online = self.dialling.online
        self.tasks.run_due(now, hints=self._hints if online else None)
        committing = self.profile.uncommitted
        if committing:
            self.profile.commit(int(now * 1000))
        deltas = self.profile.take_deltas()
        if not committing and not deltas:
            return False
        self._tell(deltas)
        self._depart(now)
        self.tasks.note(deltas, now)
        for delta in deltas:
            self.replication.propagate(delta, now)
        self.tasks.review(deltas, now)
        if any(delta.membership or delta.space == self.profile.personal.id for delta in deltas):
            self._listen(now)
            for peer in list(self.peers.values()):
                self.handshake.open_spaces(peer, now)
                self._events(peer, now)
        return True

    def _tell(self, deltas: list[SpaceDelta]) -> None:
        """News for whoever watches."""
        profile, me = self.profile, self.profile.account
        before, self._told = self._told, profile.view
        if before is not profile.view:
            profile.effects += news.of_view(before, profile.view, me.device, partial(profile.is_out, me.identity))
            profile.effects += news.of_names(before, profile.view, profile.spaces.values())
        profile.effects += news.of_facts(deltas)
        for delta in deltas:
            if delta.records or delta.keys or delta.grown or delta.membership or ABOUT_PROFILES in delta.topics:
                old, new = self._reaches.get(delta.space, {}), self._reached(delta.space)
                self._reaches[delta.space] = new
                profile.effects += news.of_reaches(delta.space, old, new)

    def _reached(self, space: bytes) -> news.Reaches:
        return self.profile.spaces[space].delivered.reaches(self.profile.account.identity)

    def _depart(self, now: float) -> None:
        """Devices that are out since the last commit: people are told, their connections end, spaces are keyed anew."""
        profile, departed = self.profile, self.profile.directory.take_departed()
        profile.effects += news.of_departed(profile, departed)
        if profile.out and not self._was_out:
            self._listen(now)
            for peer in self.peers.values():
                self._drop(peer, "this device was shut out")
        if profile.out and departed:
            self.dialling.told.clear()
            self.dialling.start_afresh()
        if self._was_out and not profile.out:
            self.tasks.start_over()  # a later word of the phrase keeps it
            profile.effects.append(DeviceChanged(profile.account.device, news.KEPT))
        self._was_out = profile.out
        if (returned := profile.directory.take_returned()) and not profile.out:
            self.tasks.devices_out(returned)  # what was told of them may be wrong now
        if not departed or profile.out:
            return
        self.tasks.devices_out({device.identity for device in departed})
        gone = {device.id for device in departed}
        for peer in self.peers.values():
            if peer.device in gone:
                self.handshake.tell_out(peer, now)

    def _rotate(self, now: float) -> None:
        """Weekly keys, epoch keys that nobody needs any more, and where this node is reached."""
        if not self.transport_keys.due(now):
            return
        for space in self.profile.spaces.values():
            drop_keys(space, int(now * 1000))
        rotated = self.transport_keys.wake(now)
        account = self.profile.account
        transports = (account.transport(now).public, account.next_transport(now).public)
        self.dialling.where = Whereabouts(int(now * 1000), transports, self._hints)
        if rotated or not self.tasks.starting:
            self.tasks.keys_rotated(now)
        self._listen(now)

    # -- frames -----------------------------------------------------------------------------------------------

    def _events(self, peer: Peer, now: float) -> None:
        """Channel openings that our own opens completed."""
        while events := peer.mux.take_effects():
            self._handle(peer, events, now)

    def _handle(self, peer: Peer, events: Sequence[object], now: float) -> None:
        # What one event brings about may close a channel and use its number again: later events mean the one before.
        known = dict(peer.by_channel) if len(events) > 1 else peer.by_channel
        for event in events:
            if peer.closing:
                return
            match event:
                case Message(channel, type, body):
                    link = peer.by_channel.get(channel)
                    if link is not known.get(channel):
                        continue
                    if link is not None:
                        self.replication.receive(peer, link, type, body, now)
                    elif channel == peer.main and peer.purpose is Purpose.HELLO:
                        self.handshake.receive(peer, type, body, now)
                    elif channel == peer.main:
                        self.onboarding.receive(peer, body, now)
                case ChannelOpened(channel=channel, handshake=proof):
                    link = peer.by_channel.get(channel)
                    if link is not None:
                        self.replication.opened(peer, link, proof, now)
                case ChannelClosed(channel=channel, rejected=rejected):
                    if peer.by_channel.get(channel) is known.get(channel):
                        self._channel_closed(peer, channel, rejected, now)
                case Offered(protocol=protocol, id=name):
                    if protocol == SPACE:
                        self.handshake.offered(peer, name, now)
                    # hello is opened by whoever is ready for it: an offer waits until then
                case Fault(reason):
                    self._drop(peer, reason)
            self._events(peer, now)

    def _channel_closed(self, peer: Peer, channel: int, rejected: bool, now: float) -> None:
        link = peer.by_channel.get(channel)
        if link is not None:
            space = self.profile.spaces.get(link.space)
            self.replication.forget_link(peer, link)
            self.replication.after_loss(now)
            if rejected and space is not None:
                self.handshake.rejected(peer, space, now)
        elif channel == peer.main:
            self._drop(peer, "the other side ended the conversation")

    def _drop(self, peer: Peer, reason: str) -> None:
        peer.drop(self.profile.effects, reason)

    def start_over(self) -> None:
        """Reads everything again from the store; links that point at the old feed stores are given up."""
        self.profile.reload()
        # Frames alone could promise what was never stored.  Events are of commits that were; a dial promises nothing.
        self.profile.effects[:] = [effect for effect in self.profile.effects if not isinstance(effect, Transmit)]
        for peer in list(self.peers.values()):
            self._drop(peer, "the store refused; starting over")
            for link in list(peer.links.values()):
                self.replication.forget_link(peer, link)
        self.replication.due.clear()
        self.tasks.start_over()
