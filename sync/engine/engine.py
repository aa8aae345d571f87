"""The engine of an opened profile, without I/O: connections, time and commands in; a commit and effects out.

The shell (`sync.service.node`, or the simulator) calls one method for what happened and then `settle`, which commits
everything the call changed, tells the peers, does what follows from it, and leaves effects in `take()`.  Nothing is
sent before it is durable.  `now` is Unix time in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from crdt.docs.facts import ABOUT_OFFERS, ABOUT_PROFILES
from crdt.docs.own import ReadMark
from crdt.space.control import SpaceKind
from identity.device import week_of, week_start
from identity.errors import KithkinError
from identity.hello import PROTOCOL as HELLO
from identity.hints import Address
from identity.keys import Random
from netstack.wire.protomux import ChannelClosed, ChannelOpened, Fault, Message, Offered, Protomux
from sync.engine.candidates import Candidates
from sync.engine.dialling import Dialling, Lead, Want, Whereabouts, hint_of
from sync.engine.effects import Disconnect, Effect, Listen, Meet, Part, PeerChanged, Transmit, Unlisten
from sync.engine.hello import DeviceHandshake
from sync.engine.onboarding.onboarding import Onboarding
from sync.engine.peer import Peer, Purpose
from sync.engine.profile import Profile
from sync.engine.replication import PROTOCOL as SPACE
from sync.engine.replication import Replication
from sync.engine.tasks import duties
from sync.engine.topics import Topics, missing
from sync.space.epochs import drop_keys
from sync.space.space import Space
from sync.store.port import Store

ROUNDS = 32  # what follows from what follows: a bound, never reached by honest states
RECORD_GAP = 0.1  # seconds between two records of one space
EPOCH_GAP = 2.0  # seconds until the first device opens an epoch that is lacking, and from each to the next
RECORD_LIFE = 6 * 3600.0  # a record is renewed this often even if nothing happened
BACKWARDS = 1.0  # seconds that the clock may go back without anything being due anew
HELLO_TIME = 15.0  # a connection that proves nothing in this time is closed
FLOW_TIME = 300.0  # and a pairing or an invite that comes to no end in this
MAX_UNPROVED = 64  # connections under T that others dialled and that proved nothing yet; the oldest makes room
WEEK_EDGE = 3 * 3600.0  # seconds before a UTC week ends from which the next one's key is announced too
FRAME = 400 * 1024  # bytes of a frame that we write


class Engine:
    """One profile's node.  `online` is called once the shell has an address."""

    def __init__(self, store: Store, rng: Random, now: float) -> None:
        self.profile = Profile(store, rng)
        self.peers: dict[int, Peer] = {}
        self.replication = Replication(self.profile)
        self.dialling = Dialling(self.profile, self.peers)
        self.handshake = DeviceHandshake(self.profile, self.replication, self.peers)
        self.onboarding = Onboarding(self.profile, self.handshake, self.dialling)
        self.topics = Topics(self.profile)
        self.candidates = Candidates(rng)
        self._record_due: dict[bytes, float] = {}
        self._record_last: dict[bytes, float] = {}
        self._epoch_due: dict[bytes, float] = {}
        self._listening: dict[bytes, bool] = {}  # transport keys -> whether they are announced
        self._hints: tuple[str, ...] = ()
        self.faults: list[Exception] = []
        self._undone: set[tuple[str, bytes]] = set()
        self._receipts: dict[bytes, int] = {}  # space -> Unix ms from when a receipt is owed: `duties.receipt_due`
        self._marks: Mapping[bytes, ReadMark] = {}  # as they were when that was worked out
        self._rotate_at = 0.0
        self._latest = now  # the latest time heard of
        self._started = False  # then every duty is looked at: at the start, and when the store was read again
        self._answers_due = False  # who is connected has changed, and with it who answers those that join
        self._review(self.profile.spaces.values(), now)

    # -- the shell calls ----------------------------------------------------------------------------------------

    def online(self, hints: tuple[str, ...], now: float) -> None:
        """The node accepts connections and is reached at `hints` ("host:port"; none: by its keys alone): listen, tell,
        dial, and be at its topics."""
        self._hints = self.dialling.hints = hints
        self.dialling.online = True
        # Nobody listened while there was no port: everything is said again.
        self._rotate_at = 0.0
        self._listening.clear()
        self.onboarding.forget_listening()
        self.topics.start()
        self.candidates.clear()
        self._rotate(now)
        for space in self.profile.spaces.values():
            self._record_due[space.id] = now
        self.onboarding.listen(now)
        self.settle(now)

    def opened(
        self,
        conn: int,
        *,
        attempt: int | None,
        local: bytes,
        remote: bytes,
        handshake: bytes,
        address: str,
        now: float,
    ) -> None:
        """A connection is up.  attempt: the `Dial` that it answers; None: the other side dialled."""
        want = self.dialling.opened(attempt) if attempt is not None else None
        if attempt is not None and want is None:
            self.profile.effects.append(Disconnect(conn, "nobody waits for it any more"))
            return
        purpose = want.purpose if want is not None else self.onboarding.purpose(local)
        peer = Peer(
            conn,
            purpose,
            want is not None,
            local,
            remote,
            handshake,
            address,
            Protomux(limit=FRAME),
            now,
            to=want.device if want is not None else None,
            topic=want.topic if want is not None else b"",
            z=want.z if want is not None else None,
        )
        self._make_room(peer)
        self.peers[conn] = peer
        peer.mux.pair(SPACE)
        peer.mux.pair(HELLO)
        with self._seam(peer):
            if want is not None and want.purpose is not Purpose.HELLO:
                self.onboarding.dialled(peer, want, now)
            elif purpose is Purpose.INVITE:
                self.onboarding.answer(peer, now)
            else:
                self.handshake.begin(peer, now)
            self._events(peer, now)

    def frames(self, arrived: Iterable[tuple[int, bytes]], now: float) -> None:
        """Frames that came since the last turn, in order."""
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
        self.onboarding.lost(peer, None)
        if peer.device is not None:
            self._answers_due = True
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
        want = self.dialling.failed(attempt, now)
        if want is not None:
            self.onboarding.failed(want, now)
            if want.z is not None:
                self.candidates.over(want.topic, want.key, now, refused=False)

    def found(
        self,
        topic: bytes,
        key: bytes,
        relays: tuple[Address, ...],
        now: float,
        addresses: tuple[Address, ...] = (),
    ) -> None:
        """Somebody stands at a topic of ours under a transport key: a device that we know, or anybody who knows the
        topic.  Of the latter a bounded number is dialled, to see (`strangers`)."""
        place = self.topics.at.get(topic)
        if place is None or any(key == own.public for _, own in self.profile.account.transports):
            return
        if any(peer.remote == key and not peer.closing for peer in self.peers.values()):
            return
        device = self.dialling.owner(key)
        if device is None:
            self.candidates.found(topic, key, relays, now, addresses)
        elif not any(peer.device == device and not peer.closing for peer in self.peers.values()):
            self.dialling.hurry(device, Lead(key, relays, addresses), now)

    def wake(self, now: float) -> None:
        """Something is due."""
        self._rotate(now)
        self.replication.wake(now)
        self.onboarding.wake(now)
        for peer in list(self.peers.values()):
            if peer.device is None and now > self._deadline(peer):
                self._drop(peer, "nothing proved in time")

    def next_wake(self, now: float) -> float:
        """When `wake` and `settle` are to be called at the latest."""
        times = [now + 30.0, self._rotate_at]
        if self.dialling.online:
            times += self._record_due.values()
            times += self._epoch_due.values()
        others = (
            self.onboarding.next_wake(),
            self.topics.next_wake(),
            self.candidates.next_wake(now) if self.dialling.online else None,
        )
        for at in (self.dialling.next_wake(), self.replication.next_wake(now), *others):
            if at is not None:
                times.append(at)
        times += [at / 1000 for at in self._receipts.values()]
        times += [self._deadline(p) + 0.01 for p in self.peers.values() if p.device is None and not p.closing]
        return max(min(times), now + 0.001)

    @staticmethod
    def _deadline(peer: Peer) -> float:
        """When a connection whose other end has proved nothing is given up."""
        return peer.since + (HELLO_TIME if peer.purpose is Purpose.HELLO else FLOW_TIME)

    def settle(self, now: float) -> None:
        """Commits, tells, and does what follows, until nothing more does.  Raises what the store raises; then the
        profile was read again from the store, and every connection is given up."""
        if now < self._latest - BACKWARDS:
            self._set_back(now)
        self._latest = now
        try:
            for _ in range(ROUNDS):
                if not self._turn(now):
                    break
        except BaseException:
            self.start_over()
            raise
        # A link may have gone without its connection: a channel that moved to another Z, a device that left.
        self.replication.after_loss(now)
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
            return space is not None and missing(self.profile, space, connected)

        for entry in self.candidates.due(now, worth):
            local, z = self.profile.account.transport(now), self.topics.at[entry.topic].z
            want = Want(Purpose.HELLO, None, local, topic=entry.topic, key=entry.key, z=z)
            # A stranger is worth a question where it says that it is, not a walk through the DHT.
            hints, named = tuple(map(hint_of, entry.addresses)), bool(entry.relays or entry.addresses)
            self.dialling.dial(want, entry.key, hints, relays=entry.relays, announced=not named)

    def _make_room(self, peer: Peer) -> None:
        """Strangers who connect and say nothing do not add up."""
        waiting = [p for p in self.peers.values() if not p.initiator and p.device is None and not p.closing]
        waiting = [p for p in waiting if p.purpose is Purpose.HELLO]
        if not peer.initiator and len(waiting) >= MAX_UNPROVED:
            self._drop(min(waiting, key=lambda p: p.since), "others wait too")

    def _set_back(self, now: float) -> None:
        """Somebody set the clock back: what was due by the old one would wait for as long as it went wrong."""
        self._record_due = dict.fromkeys(self.profile.spaces, now)
        self._record_last.clear()
        self._epoch_due.clear()
        self._started = False  # receipts that are owed are looked up again
        self._rotate_at = now
        self.dialling.start_afresh()
        self.topics.look_again()
        self.candidates.clear()
        for peer in self.peers.values():
            self._drop(peer, "the clock was set back")

    def take(self) -> list[Effect]:
        """Effects in order; connections are closed last, so that the last word on them is still sent."""
        effects, self.profile.effects = self.profile.effects, []
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

    def _duty(self, name: str, id_: bytes, do: Callable[[Space], None]) -> None:
        """One duty of one space.  One that cannot be done is left undone until the next start, and stops nothing."""
        space = self.profile.spaces.get(id_)
        if space is None or (name, id_) in self._undone:
            return
        try:
            do(space)
        except KithkinError:
            raise  # the store's: the whole turn is refused
        except Exception as defect:
            self.faults.append(defect)
            self._undone.add((name, id_))
            self.start_over()

    # -- a turn -----------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> bool:
        now_ms = int(now * 1000)
        if not self._started or self._answers_due:
            self._review((), now)
        self._records(now)
        self._epochs(now)
        self._tell_read(now_ms)
        if self.profile.dirty or len(self.profile.context.batch):
            self.profile.commit(now_ms)
        elif not self.profile.committed:
            return False
        changed = self.profile.take_committed()
        for space in changed:
            if space.changes.reach or space.changes.membership:
                space.changes.reach = False
                last = self._record_last.get(space.id, 0.0)
                self._record_due.setdefault(space.id, max(now, last + RECORD_GAP))
        membership = [space for space in changed if space.changes.membership]
        self._answers_due = self._answers_due or any(space.kind is SpaceKind.GROUP for space in membership)
        for space in changed:
            self.replication.propagate(space, now)
        self._review(changed, now)
        if membership or any(space.personal for space in changed):
            self.onboarding.listen(now)
            for peer in list(self.peers.values()):
                self.handshake.open_spaces(peer, now)
                self._events(peer, now)
        return True

    def _review(self, changed: Iterable[Space], now: float) -> None:
        """The duties that follow from changed spaces; at the start, and after starting over, from all of them."""
        profile, now_ms = self.profile, int(now * 1000)
        start, self._started = not self._started, True
        answers, self._answers_due = start or self._answers_due, False
        given = [(space.id, set(space.changes.news)) for space in (profile.spaces.values() if start else changed)]
        for id_, news in given:
            self._duty("first_entry", id_, lambda space: duties.first_entry(profile, space, now_ms))
            self._duty("owed", id_, lambda space: duties.owed(profile, space, now_ms))
            space = profile.spaces.get(id_)
            if space is None:
                continue
            space.changes.news.clear()
            answers = answers or ABOUT_OFFERS in news
            if space.personal:
                for one in list(profile.spaces):
                    self._duty("profiles", one, lambda space: duties.profiles(profile, space, now_ms))
            elif start or ABOUT_PROFILES in news or (space.mine is not None and space.mine.length == 1):
                self._duty("profiles", id_, lambda space: duties.profiles(profile, space, now_ms))
            turn = duties.turn_to_open(space)
            if turn is None:
                self._epoch_due.pop(id_, None)
            else:
                self._epoch_due.setdefault(id_, now + EPOCH_GAP * (1 + turn))
        if answers:
            connected = {peer.device for peer in self.peers.values() if peer.device is not None and not peer.closing}
            for id_ in [id_ for id_, space in profile.spaces.items() if space.kind is SpaceKind.DIRECT]:
                self._duty("offers", id_, lambda space: duties.offers(profile, space, connected, now_ms))
        if given:
            self._duty("own_devices", profile.personal.id, lambda space: duties.own_devices(profile, now_ms))
        self._look_at_marks([id_ for id_, _ in given], now_ms)

    def _look_at_marks(self, changed: Iterable[bytes], now_ms: int) -> None:
        """Which spaces owe a receipt, and from when: those that changed, and those whose read mark did."""
        marks, before = self.profile.view.marks, self._marks
        self._marks = marks
        moved = [id_ for id_, mark in marks.items() if before.get(id_) != mark] if marks is not before else []
        for id_ in dict.fromkeys((*changed, *moved)):
            self._receipts.pop(id_, None)
            space = self.profile.spaces.get(id_)
            due = duties.receipt_due(self.profile, space, now_ms) if space is not None and id_ in marks else None
            if due is not None:
                self._receipts[id_] = due

    def _tell_read(self, now_ms: int) -> None:
        """Receipts that are due, into the open batch."""
        for id_ in [id_ for id_, at in self._receipts.items() if at <= now_ms]:
            del self._receipts[id_]
            self._duty("receipt", id_, lambda space: duties.receipt(self.profile, space, now_ms))

    def _epochs(self, now: float) -> None:
        """Epochs for a roster that no epoch holds, into the open batch: whoever's turn comes first opens one."""
        for id_ in [id_ for id_, at in self._epoch_due.items() if at <= now and self.dialling.online]:
            del self._epoch_due[id_]
            self._duty("common_epoch", id_, lambda space: duties.common_epoch(self.profile, space, int(now * 1000)))

    def _records(self, now: float) -> None:
        """Device records that are due, into the open batch."""
        if not self.dialling.online:
            return
        account = self.profile.account
        transports = (account.transport(now).public, account.next_transport(now).public)
        for id_, at in list(self._record_due.items()):
            if at > now:
                continue
            space = self.profile.spaces.get(id_)
            del self._record_due[id_]
            if space is not None and space.records.make(
                int(now * 1000), transports, self._hints, space.inbound.missing()
            ):
                self._record_last[id_] = now
                self.profile.touch(space)

    def _rotate(self, now: float) -> None:
        """Weekly keys, and the keys that are listened for."""
        if now < self._rotate_at:
            return
        week_ends = week_start(week_of(now) + 1)
        edges = [at for at in (week_ends - WEEK_EDGE, week_ends) if at > now]
        self._rotate_at = min(now + RECORD_LIFE, *edges)
        for space in self.profile.spaces.values():
            drop_keys(space, int(now * 1000))
            if space.changes.dropped:
                space.changes.dropped = False
                self.profile.touch(space)
        rotated = self.profile.rotate(now)
        account = self.profile.account
        announced = {account.transport(now).public}
        if now >= week_ends - WEEK_EDGE:
            announced.add(account.next_transport(now).public)
        for gone in self._listening.keys() - {key.public for _, key in account.transports}:
            del self._listening[gone]
            self.profile.effects.append(Unlisten(gone))
        for _, key in account.transports:
            announce = key.public in announced
            if self._listening.get(key.public) != announce:
                self._listening[key.public] = announce
                self.profile.effects.append(Listen(key, announce))
        transports = (account.transport(now).public, account.next_transport(now).public)
        self.onboarding.where = Whereabouts(int(now * 1000), transports, self._hints)
        if rotated or self._started:
            for id_ in self.profile.spaces:
                self._record_due.setdefault(id_, now)
        self.onboarding.listen(now)

    # -- frames -----------------------------------------------------------------------------------------------

    def _events(self, peer: Peer, now: float) -> None:
        """Channel openings that our own opens completed."""
        while events := peer.mux.take_events():
            self._handle(peer, events, now)

    def _handle(self, peer: Peer, events: Iterable[object], now: float) -> None:
        for event in events:
            if peer.closing:
                return
            match event:
                case Message(channel, type, body):
                    link = peer.by_channel.get(channel)
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
        """Reads everything again from the store; links that point at the old shelves are given up."""
        self.profile.reload()
        self._started = False  # every duty is looked at again: what called for it may be forgotten
        kept = (Disconnect, Listen, Unlisten, Meet, Part, PeerChanged)
        self.profile.effects[:] = [effect for effect in self.profile.effects if isinstance(effect, kept)]
        for peer in list(self.peers.values()):
            self._drop(peer, "the store refused; starting over")
            for link in list(peer.links.values()):
                self.replication.forget_link(peer, link)
        self.replication.due.clear()
        for id_ in self.profile.spaces:
            self._record_due[id_] = 0.0
