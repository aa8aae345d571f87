"""Replication of the profile's spaces over its connections: replicators' effects in, changes out.

One `SpaceLink` for each space on each proved connection.  Within a tick ranges are absorbed as they come; after the
commit `propagate` acknowledges what is durable and tells every other connection.  `docs/protocol.md`, "Replication".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import groupby
from math import inf

from crdt.log.entry import Kind, decode_plaintext
from crdt.log.item import Item, reseal
from crdt.log.pack import decode_pack, open_pack
from crdt.space.rendezvous import capability, channel_id, channel_proof
from crdt.space.slot import open_text, seal_text
from identity.errors import DecodeError
from identity.labels import Label
from identity.proof import same
from sync.engine import history
from sync.engine.effects import ChatChanged, Progress
from sync.engine.fetching import Fetching
from sync.engine.peer import Peer, SpaceLink
from sync.engine.profile import Profile
from sync.engine.twins import came_along
from sync.replicate.effects import (
    Acked,
    Append,
    CaughtUp,
    Effect,
    FetchAnswered,
    ForkFound,
    HistoryAnswered,
    HistoryAsked,
    PackArrived,
    PackWanted,
    ProofAnswered,
    SendMessage,
    StoreRecord,
    StretchAnswered,
    TipsTold,
    Violation,
)
from sync.replicate.messages import MAX_FEEDS, Span
from sync.replicate.replicator import Replicator
from sync.space.delta import SpaceDelta
from sync.space.inbound import spans as spans_in
from sync.space.space import Space

PROTOCOL = "kithkin/space/1"
PAUSE = 0.02  # seconds between two slices of the work for one history request
LOOKED = 8  # how often requests of one connection may have all of a space looked through
LOOKED_ANYWAY = 65_536  # entries beside that
GATE = 60.0  # seconds without a pack after which another peer is asked for the history
PACE = 8 * 1024  # bytes of packs a second: who is slower holds nothing up beyond that time
PARKED = 64 << 20  # bytes of items of one space that wait here for their feeds, other than from devices of mine
MAX_SPANS = min(MAX_FEEDS, 1024)
FEW = 256  # entries that wait for items are looked through at every change, more of them once in
ITEM_GAP = 1.0  # seconds


class Replication:
    """All space links of a profile."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.links: dict[bytes, dict[int, tuple[Peer, SpaceLink]]] = {}  # space -> conn -> link
        self._woken = 0.0  # when `wake` was called last: what was due then has been done
        self.due: list[bytes] = []  # spaces whose links look again at what they may open
        self.fetching = Fetching(profile, self.links, self.perform)
        self._items_due: dict[bytes, float] = {}  # space -> Unix seconds when to look for items of unread entries
        self._items_after: dict[bytes, float] = {}  # space -> and not before

    # -- channels ---------------------------------------------------------------------------------------------

    def offer(self, peer: Peer, space: Space, now: float) -> None:
        """Opens the channel of a space that the peer's device belongs to."""
        z = shared_z(peer, space)
        if z is None or peer.device is None:
            return
        cap = capability(z)
        name = channel_id(cap, peer.hash)
        link = peer.links.get(space.id)
        if link is not None:
            if link.id == name:
                return
            self.close_link(peer, link)
        number = peer.mux.open(PROTOCOL, name, channel_proof(cap, peer.hash, int(not peer.initiator)))
        link = SpaceLink(space.id, number, name, channel_proof(cap, peer.hash, int(peer.initiator)))
        peer.links[space.id] = link
        peer.by_channel[number] = link
        peer.offers.discard(name)

    def opened(self, peer: Peer, link: SpaceLink, proof: bytes, now: float) -> None:
        """Both sides have opened the channel: replication starts, if the peer knows the capability."""
        space = self.profile.spaces.get(link.space)
        if space is None:
            return
        if not same(proof, link.proof):
            peer.drop(self.profile.effects, "a space channel without its proof")
            return
        link.open = True
        replicator = link.replicator = Replicator(
            space.feed_store, admits=space.members.admits, verify_record=space.records.verify, claims=space.claims
        )
        self.links.setdefault(space.id, {})[peer.conn] = (peer, link)
        self.perform(peer, link, replicator.start(), now)
        if any(other.gate for _, other in self.links[space.id].values()):
            self.perform(peer, link, replicator.hold_blocks(True, now), now)
        elif self._fresh(space):
            self._gate(peer, link, space, now)

    def _fresh(self, space: Space) -> bool:
        """Whether this device does not know yet what the space is: history comes first."""
        mine = space.mine
        return mine is None or mine.core not in space.state.writers

    def _without_past(self, space: Space) -> bool:
        """Whether this device was linked without history: what it asks for then is control entries alone."""
        return not self.profile.account.history and not space.personal

    def _gate(self, peer: Peer, link: SpaceLink, space: Space, now: float) -> None:
        """Asks a peer for the history; blocks wait until it is here."""
        if link.replicator is None or any(other.gate for _, other in self.links[space.id].values()):
            return
        request, effects = link.replicator.ask_history(() if self._without_past(space) else None, self._prekey)
        link.gate, link.gate_from, link.gate_until, link.gate_size = request, now, now + GATE, 0
        link.asked.add(request)
        self.perform(peer, link, effects, now)
        for one, other in list(self.links[space.id].values()):
            if other.replicator is not None:
                self.perform(one, other, other.replicator.hold_blocks(True, now), now)

    def _open_gate(self, link: SpaceLink, space: Space, now: float) -> None:
        """The history is here, or does not come: blocks are asked for again."""
        link.gate = None
        for one, other in list(self.links.get(space.id, {}).values()):
            if other.replicator is not None:
                self.perform(one, other, other.replicator.hold_blocks(False, now), now)

    def close_link(self, peer: Peer, link: SpaceLink) -> None:
        """Our end of the channel is over."""
        peer.mux.close(link.channel)
        self.forget_link(peer, link)

    def forget_link(self, peer: Peer, link: SpaceLink) -> None:
        """The channel is gone."""
        peer.links.pop(link.space, None)
        peer.by_channel.pop(link.channel, None)
        found = self.links.get(link.space, {})
        if found.pop(peer.conn, None) is not None and link.replicator is not None:
            link.replicator.close()
            self.fetching.lost(link, peer.conn)
            self.due.append(link.space)

    def after_loss(self, now: float) -> None:
        """What a link that went away leaves to the others: its claims, and the history it was asked for."""
        due, self.due = self.due, []
        for id_ in dict.fromkeys(due):
            space, links = self.profile.spaces.get(id_), list(self.links.get(id_, {}).values())
            if space is None or not links:
                continue
            self.fetching.look_at(id_, now)
            gated = any(link.gate for _, link in links)
            if not gated and self._fresh(space):
                self._gate(*links[0], space, now)
            for peer, link in links:
                if link.replicator is not None:
                    held = gated or any(other.gate for _, other in links)
                    self.perform(peer, link, link.replicator.hold_blocks(held, now), now)
                    self.perform(peer, link, link.replicator.wake(now), now)

    def receive(self, peer: Peer, link: SpaceLink, type: int, body: bytes, now: float) -> None:
        if link.replicator is not None:
            self.perform(peer, link, link.replicator.receive(type, body, now), now)

    # -- effects ----------------------------------------------------------------------------------------------

    def perform(self, peer: Peer, link: SpaceLink, effects: Iterable[Effect], now: float) -> None:
        space = self.profile.spaces.get(link.space)
        if space is None:
            return
        for effect in effects:
            match effect:
                case SendMessage(type, body):
                    peer.mux.send(link.channel, type, body)
                case Append(writer, start, blocks, leaves, tree, nodes, head):
                    space.inbound.absorb(writer, start, blocks, leaves, tree, nodes, head, int(now * 1000))
                case StoreRecord(writer, counter, data):
                    space.records.hear(writer, counter, data, int(now * 1000))
                case Acked():
                    pass  # what counts as delivered is what a device says it has opened: its record
                case ForkFound(writer, proof):
                    space.keep_fork(writer, proof)
                    # Another copy of this store wrote on: neither may go on under these keys.
                    mine = space.mine
                    self.profile.copied = self.profile.copied or (mine is not None and mine.writer == writer)
                case CaughtUp():
                    self.fetching.look_at(space.id, now)
                    self._look_for_items(space, now)
                case HistoryAsked(request, spans, prekey):
                    link.prekeys[request] = prekey
                    self._asked(peer, link, space, request, spans, now)
                case PackWanted(request):
                    self._give(peer, link, space, request, now)
                case PackArrived(request, told, sealed):
                    self._pack(peer, link, space, request, told, sealed, now)
                case HistoryAnswered(request, done, spans):
                    self._answered(peer, link, space, request, done, spans, now)
                case FetchAnswered(fetched, ends):
                    if self.fetching.answered(link, fetched.point, now):
                        space.take_block(fetched, ends, int(now * 1000))
                case ProofAnswered(proved, ends):
                    if self.fetching.answered(link, proved.question, now) and proved.proof is not None:
                        space.take_proof(proved, ends)
                case StretchAnswered(answer):
                    asked = self.fetching.answered(link, answer.stretch, now)
                    if asked and not space.take_stretch(answer, int(now * 1000)):
                        peer.drop(self.profile.effects, "blocks of a branch that do not lead to its end")
                case TipsTold(points):
                    self.fetching.told(link, points, now)
                case Violation(rule):
                    peer.drop(self.profile.effects, f"replication: {rule.sentence}")

    # -- history ----------------------------------------------------------------------------------------------

    def _member(self, peer: Peer, space: Space) -> bool:
        """Whether the device at the other end is of this space now."""
        if peer.identity == self.profile.account.identity:
            return peer.device is not None and self.profile.directory.is_active(peer.device)
        return any(w.device == peer.device and w.open and not w.out for w in space.state.writers.values())

    def _asked(
        self, peer: Peer, link: SpaceLink, space: Space, request: int, spans: tuple[Span, ...] | None, now: float
    ) -> None:
        if link.replicator is None or peer.device is None:
            return
        if not self._member(peer, space):
            link.prekeys.pop(request, None)
            self.perform(peer, link, link.replicator.answer_history(request, (), now, done=True), now)
            return
        link.serving[request] = history.begin(space, spans)
        link.looked += len(space.graph)
        self._give(peer, link, space, request, now)

    def _give(self, peer: Peer, link: SpaceLink, space: Space, request: int, now: float) -> None:
        """One pack at a time: the next is made when the last is on its way."""
        serving, replicator = link.serving.get(request), link.replicator
        if serving is None or replicator is None or peer.device is None:
            return
        serving.resume = inf
        here = sum(feed.length for feed in space.feed_store.feeds.values()) + len(space.graph)
        if not self._member(peer, space) or link.looked > LOOKED * here + LOOKED_ANYWAY:
            serving.left.clear()
            serving.control.clear()
            serving.items.clear()
        own = peer.identity == self.profile.account.identity
        key = self.profile.rng(32)
        along = came_along(self.profile, space, peer.identity)
        sealed = history.next_pack(space, serving, peer.device, own, key, along)
        link.looked, serving.looked = link.looked + serving.looked, 0
        if sealed is history.Pause.PAUSE:
            serving.resume = now + PAUSE
            return
        told = self._seal_key(peer, space, link.prekeys.get(request, b""), key) if sealed is not None else None
        if sealed is not None and told is not None:
            self.perform(peer, link, replicator.give_pack(request, told, sealed, now), now)
            return
        del link.serving[request]
        link.prekeys.pop(request, None)
        denied = history.denied(serving, MAX_SPANS)
        self.perform(peer, link, replicator.answer_history(request, denied, now, done=True), now)

    @property
    def _prekey(self) -> bytes:
        return self.profile.account.keys.prekey.public

    def _seal_key(self, peer: Peer, space: Space, prekey: bytes, key: bytes) -> bytes | None:
        """The key of a pack for that device alone, so that the recorded connection does not give it to anybody later;
        None where nothing can be sealed to the prekey that it told."""
        device = self.profile.directory.device(peer.device) if peer.device is not None else None
        if device is None:
            return None
        context, own = self.profile.context, self.profile.account.keys.agreement
        place = peer.hash + space.id
        try:
            return seal_text(context.rng, context.kem, own, device.agreement, prekey, Label.PACK_KEY, place, key)
        except DecodeError:
            return None

    def _open_key(self, peer: Peer, space: Space, told: bytes) -> bytes:
        """The inverse.  Raises DecodeError."""
        device = self.profile.directory.device(peer.device) if peer.device is not None else None
        if device is None:
            raise DecodeError("nobody is known to have sealed that")
        keys, place = self.profile.account.keys, peer.hash + space.id
        prekeys = [prekey.key for prekey in reversed(keys.prekeys)]
        kem = self.profile.kem
        return open_text(kem, keys.agreement, prekeys, device.agreement, Label.PACK_KEY, place, told)

    def _pack(
        self, peer: Peer, link: SpaceLink, space: Space, request: int, told: bytes, sealed: bytes, now: float
    ) -> None:
        replicator, batch = link.replicator, self.profile.context.batch
        if replicator is None:
            return
        try:
            items = decode_pack(open_pack(sealed, self._open_key(peer, space, told)))
        except DecodeError:
            peer.drop(self.profile.effects, "a pack that does not open")
            return
        link.gate_size += len(sealed)
        link.gate_until = min(now, link.gate_from + link.gate_size / PACE) + GATE
        own = peer.identity == self.profile.account.identity
        if self._fresh(space):
            # Whose feeds these are is not known before the control entries among them are folded.
            space.members.vouch({item.core for item in items})
        now_ms = int(now * 1000)
        past = space.members.admitted if self._without_past(space) else None
        for item in items:
            try:
                block = reseal(item, space.id)
                old = past is not None and is_past(item, past)
            except ValueError:
                continue  # too long for an entry, or no entry at all: no feed holds it
            feed = space.feed_store.feeds.get(item.core)
            if old:
                if feed is not None:
                    space.inbound.skip(feed, item.seq, item.seq + 1)
                continue
            if feed is not None and item.seq < feed.length:
                if not space.inbound.unlock_item(feed, item.seq, item.key, block, now_ms):
                    space.inbound.unlock_beside(item.core, item.seq, item.key, block, now_ms)
            elif item.core not in space.state.writers and item.core not in space.members.vouched:
                continue  # of nobody who writes here
            elif own or space.feed_store.parked + len(block) + len(item.key) <= PARKED:
                space.feed_store.put_item(batch, item.core, item.seq, item.key, block)
        link.received += len(items)
        self.profile.effects.append(Progress("history", link.received, 0, space.id))
        self.perform(peer, link, replicator.pack_taken(request, now), now)
        self.perform(peer, link, replicator.admission_changed(now), now)

    def _answered(
        self, peer: Peer, link: SpaceLink, space: Space, request: int, done: bool, spans: tuple[Span, ...], now: float
    ) -> None:
        for writer, group in groupby(spans, key=lambda span: span[0]):
            feed = space.feed_store.by_writer.get(writer)
            if feed is not None and request in link.asked:
                own = peer.identity == self.profile.account.identity
                space.inbound.deny(feed, [(start, end) for _, start, end in group], own=own)
        if not done:
            return
        link.asked.discard(request)
        if link.gate == request:
            self._open_gate(link, space, now)
        self._look_for_items(space, now)

    def ask(self, now: float) -> None:
        """Once a tick: asks for blocks that are lacking, and for items of entries that no key opens."""
        self.fetching.run(now)
        for id_ in [id_ for id_, at in self._items_due.items() if at <= now]:
            del self._items_due[id_]
            space = self.profile.spaces.get(id_)
            waiting = space.inbound.unreadable() if space is not None else {}
            if space is None or not waiting:
                continue
            # Every look goes through all that waits: much of it is looked through once a second.
            self._items_after[id_] = now + (ITEM_GAP if sum(map(len, waiting.values())) > FEW else 0.0)
            for peer, link in list(self.links.get(id_, {}).values()):
                self._ask_items(peer, link, space, waiting, now)

    def _look_for_items(self, space: Space, now: float) -> None:
        self._items_due[space.id] = max(now, self._items_after.get(space.id, 0.0))

    def _ask_items(
        self, peer: Peer, link: SpaceLink, space: Space, waiting: Mapping[bytes, AbstractSet[int]], now: float
    ) -> None:
        """Entries that are here and that no key opens: this peer may have them as items.

        Asked for once what the peer's record says that it has opened, and again after its next record: it may have
        opened or learned something since.  Without a record that opens here it may have any.
        """
        if link.replicator is None or link.asked or not link.replicator.caught_up:
            return
        counter, report = space.records.newest_of(peer.device)
        if counter != link.told_at:
            link.told_at, link.told = counter, {}
        written = {w.core for w in space.state.writers.values() if w.device == peer.device}
        spans: list[Span] = []
        for core in sorted(waiting):
            seqs = waiting[core] - link.told.get(core, frozenset())
            if report is not None:
                if core not in written:
                    stored = max((head.length for head in report.stored if head.core8 == core[:8]), default=0)
                    seqs = {seq for seq in seqs if seq < stored}
                seqs -= covered(seqs, [(gap.start, gap.end) for gap in report.missing if gap.core8 == core[:8]])
            writer = space.feed_store.feeds[core].writer
            found = [(writer, start, end) for _, start, end in spans_in({core: sorted(seqs)}, MAX_SPANS - len(spans))]
            for _, start, end in found:
                link.told.setdefault(core, set()).update(seq for seq in range(start, end))
            spans += found
        if spans:
            request, effects = link.replicator.ask_history(tuple(sorted(spans)), self._prekey)
            link.asked.add(request)
            self.perform(peer, link, effects, now)

    # -- after a commit ---------------------------------------------------------------------------------------

    def propagate(self, delta: SpaceDelta, now: float) -> None:
        """Tells every link of a space what the commit changed.  What is durable is acknowledged here."""
        space, membership = self.profile.spaces[delta.space], delta.membership
        moved, records, forks = sorted(delta.grown), sorted(delta.records), sorted(delta.forks)
        lengths = {writer: space.feed_store.by_writer[writer].length for writer in moved}
        mine = space.mine.writer if space.mine is not None else b""
        told = {writer: length for writer, length in lengths.items() if writer != mine}
        for peer, link in list(self.links.get(space.id, {}).values()):
            replicator = link.replicator
            if replicator is None:
                continue
            if told:
                self.perform(peer, link, replicator.stored(told, now, durable=True), now)
            if membership:
                self.perform(peer, link, replicator.admission_changed(now), now)
                self.perform(peer, link, replicator.tips_changed(now), now)
            if moved:
                self.perform(peer, link, replicator.local_changed(moved, now), now)
            if records:
                self.perform(peer, link, replicator.records_changed(records, now), now)
            if forks:
                self.perform(peer, link, replicator.forks_changed(forks, now), now)
        self._look_for_items(space, now)
        if membership or delta.frontier:
            self.fetching.look_at(space.id, now)
        if membership:
            self.profile.effects.append(ChatChanged(space.id))

    def admission_changed(self, space: Space, now: float) -> None:
        """Feeds are awaited in a space that were not before: what peers told of them is heard."""
        for peer, link in list(self.links.get(space.id, {}).values()):
            if link.replicator is not None:
                self.perform(peer, link, link.replicator.admission_changed(now), now)

    def wake(self, now: float) -> None:
        """Feeds that another connection claimed and let lie, and history that does not come."""
        self._woken = now
        for id_, links in list(self.links.items()):
            space = self.profile.spaces.get(id_)
            late = [link for _, link in links.values() if link.gate and link.gate_until <= now]
            if space is None or not late:
                continue
            self._open_gate(late[0], space, now)
            others = [pair for pair in links.values() if pair[1] is not late[0] and not pair[1].tried]
            late[0].tried = True
            if others and self._fresh(space):
                self._gate(*others[0], space, now)
        for id_, links in list(self.links.items()):
            for peer, link in list(links.values()):
                replicator, space = link.replicator, self.profile.spaces.get(id_)
                if replicator is None or space is None:
                    continue
                for request in [request for request, serving in link.serving.items() if serving.resume <= now]:
                    self._give(peer, link, space, request, now)
                if replicator.next_wake() <= now:
                    self.perform(peer, link, replicator.wake(now), now)

    def next_wake(self) -> float:
        """Unix seconds at which `wake` is due; infinity if nothing waits."""
        times = [link.gate_until for links in self.links.values() for _, link in links.values() if link.gate]
        times += [
            serving.resume
            for links in self.links.values()
            for _, link in links.values()
            for serving in link.serving.values()
        ]
        times += [
            at
            for links in self.links.values()
            for _, link in links.values()
            if link.replicator is not None and (at := link.replicator.next_wake()) > self._woken
        ]
        return min([*times, *self._items_due.values(), self.fetching.next_wake()])


def shared_z(peer: Peer, space: Space) -> bytes | None:
    """Under which Z to meet a peer: the one that epochs lead to, or an earlier one while that one cannot be shared."""
    z, earlier = newest_z(peer, space), peer.earlier.get(space.id)
    return earlier[1] if earlier is not None and earlier[0] == z else z


def newest_z(peer: Peer, space: Space) -> bytes | None:
    """Z of the lowest epoch known on both sides.

    Who is ahead uses its own, and hands its grants over where the peer refuses; who is behind uses the one that it was
    told.  After a close both may have drawn a new Z while apart: then both were told, and the lower epoch decides.
    """
    shared = [e for e in space.epoch_keys.live() if any(place.device == peer.device for place in e.roster)]
    told = peer.known_z.get(space.id)
    if told is not None and (told[0] in space.state.epochs or told[1] in space.rendezvous):
        del peer.known_z[space.id]
        peer.outdated.discard(space.id)
        told = None
    if told is None:
        return space.keys[shared[0].id].z if shared else space.z
    own = shared[0] if shared and space.id not in peer.outdated else None
    if own is not None and own.id < told[0] and own.id in peer.granted.get(space.id, ()):
        return space.keys[own.id].z
    return told[1]


def covered(seqs: AbstractSet[int], ranges: Iterable[tuple[int, int]]) -> set[int]:
    """Those of the places that lie in any of the ranges (start, end); ranges may overlap."""
    places, found = sorted(seqs), set[int]()
    at = 0
    for start, end in sorted(ranges):
        at = bisect_left(places, start, at)
        while at < len(places) and places[at] < end:
            found.add(places[at])
            at += 1
    return found


def is_past(item: Item, admitted: int) -> bool:
    """Whether an item is older than this device's admission (a stamp) and no control entry.  One that this version
    cannot read is kept for a later one."""
    try:
        text = decode_plaintext(item.plaintext)
    except DecodeError:
        return False
    return text.kind is not Kind.CONTROL and text.stamp < admitted
