"""Replication of the profile's spaces over its connections: replicators' effects in, changes out.

One `SpaceLink` for each space on each proved connection.  Within a tick ranges are absorbed as they come; after the
commit `propagate` acknowledges what is durable and tells every other connection.  `docs/protocol.md`, "Replication".
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from crdt.log.entry import Kind, decode_plaintext
from crdt.log.item import Item, reseal
from crdt.log.pack import decode_pack, open_pack
from crdt.space.rendezvous import capability, channel_id, channel_proof
from identity.errors import DecodeError
from identity.proof import same
from sync.engine import history
from sync.engine.effects import ChatChanged, Progress
from sync.engine.peer import Peer, SpaceLink
from sync.engine.profile import Profile
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
    SendMessage,
    StoreRecord,
    Violation,
)
from sync.replicate.messages import MAX_FEEDS, Span
from sync.replicate.replicator import Replicator
from sync.space.delta import SpaceDelta
from sync.space.space import Space

PROTOCOL = "kithkin/space/1"
GATE = 60.0  # seconds without a pack after which another peer is asked for the history
PARKED = 64 << 20  # bytes of items of one space that wait here for their feeds, other than from devices of mine
MAX_SPANS = min(MAX_FEEDS, 1024)


class Replication:
    """All space links of a profile."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.links: dict[bytes, dict[int, tuple[Peer, SpaceLink]]] = {}  # space -> conn -> link
        self._woken = 0.0  # when `wake` was called last: what was due then has been done
        self.due: list[bytes] = []  # spaces whose links look again at what they may open

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
        request, effects = link.replicator.ask_history(() if self._without_past(space) else None)
        link.gate, link.gate_until = request, now + GATE
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
            self.due.append(link.space)

    def after_loss(self, now: float) -> None:
        """What a link that went away leaves to the others: its claims, and the history it was asked for."""
        due, self.due = self.due, []
        for id_ in dict.fromkeys(due):
            space, links = self.profile.spaces.get(id_), list(self.links.get(id_, {}).values())
            if space is None or not links:
                continue
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
                case CaughtUp():
                    self._ask_missing(peer, link, space, now)
                case HistoryAsked(request, spans):
                    self._asked(peer, link, space, request, spans, now)
                case PackWanted(request):
                    self._give(peer, link, space, request, now)
                case PackArrived(request, key, sealed):
                    self._pack(peer, link, space, request, key, sealed, now)
                case HistoryAnswered(request, done, spans):
                    self._answered(peer, link, space, request, done, spans, now)
                case FetchAnswered():
                    pass  # blocks of other branches: asked for once forks are acted on
                case Violation(rule):
                    peer.drop(self.profile.effects, f"replication: {rule.sentence}")

    # -- history ----------------------------------------------------------------------------------------------

    def _member(self, peer: Peer, space: Space) -> bool:
        """Whether the device at the other end is of this space now."""
        if peer.identity == self.profile.account.identity:
            return peer.device is not None and self.profile.directory.is_active(peer.device)
        return any(w.device == peer.device and w.open and not w.revoked for w in space.state.writers.values())

    def _asked(
        self, peer: Peer, link: SpaceLink, space: Space, request: int, spans: tuple[Span, ...] | None, now: float
    ) -> None:
        if link.replicator is None or peer.device is None:
            return
        if not self._member(peer, space):
            self.perform(peer, link, link.replicator.answer_history(request, (), now, done=True), now)
            return
        link.serving[request] = history.begin(space, spans)
        self._give(peer, link, space, request, now)

    def _give(self, peer: Peer, link: SpaceLink, space: Space, request: int, now: float) -> None:
        """One pack at a time: the next is made when the last is on its way."""
        serving, replicator = link.serving.get(request), link.replicator
        if serving is None or replicator is None or peer.device is None:
            return
        if not self._member(peer, space):
            serving.left.clear()
            serving.control.clear()
        own = peer.identity == self.profile.account.identity
        key = self.profile.rng(32)
        sealed = history.next_pack(space, serving, peer.device, own, key)
        if sealed is not None:
            self.perform(peer, link, replicator.give_pack(request, key, sealed, now), now)
            return
        del link.serving[request]
        denied = tuple(serving.denied[:MAX_SPANS])
        self.perform(peer, link, replicator.answer_history(request, denied, now, done=True), now)

    def _pack(
        self, peer: Peer, link: SpaceLink, space: Space, request: int, key: bytes, sealed: bytes, now: float
    ) -> None:
        replicator, batch = link.replicator, self.profile.context.batch
        if replicator is None:
            return
        try:
            items = decode_pack(open_pack(sealed, key))
        except DecodeError:
            peer.drop(self.profile.effects, "a pack that does not open")
            return
        link.gate_until = now + GATE
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
                space.inbound.unlock_item(feed, item.seq, item.key, block, now_ms)
            elif item.core not in space.state.writers and item.core not in space.members.vouched:
                continue  # of nobody who writes here
            elif own or space.feed_store.parked + len(block) + len(item.key) <= PARKED:
                space.feed_store.put_item(batch, item.core, item.seq, item.key, block)
        space.look_again()  # a pack is news even where it brings nothing: who waited for it may go on
        link.received += len(items)
        self.profile.effects.append(Progress("history", link.received, 0, space.id))
        self.perform(peer, link, replicator.pack_taken(request, now), now)
        self.perform(peer, link, replicator.admission_changed(now), now)

    def _answered(
        self, peer: Peer, link: SpaceLink, space: Space, request: int, done: bool, spans: tuple[Span, ...], now: float
    ) -> None:
        for writer, start, end in spans:
            feed = space.feed_store.by_writer.get(writer)
            if feed is not None and request in link.asked:
                own = peer.identity == self.profile.account.identity
                space.inbound.deny(feed, start, min(end, feed.length), own=own)
                space.look_again()  # an answer is news even where it denies nothing
        if not done:
            return
        link.asked.discard(request)
        if link.gate == request:
            self._open_gate(link, space, now)
        self._ask_missing(peer, link, space, now)

    def _ask_missing(self, peer: Peer, link: SpaceLink, space: Space, now: float) -> None:
        """Entries that are here and that no key opens: this peer may have them as items.

        Asked for once what the peer's record says that it has opened, and again after its next record: it may have
        opened or learned something since.  Without a record that opens here it may have any.
        """
        if link.replicator is None or not space.inbound.sealed or link.asked or not link.replicator.caught_up:
            return
        counter, report = space.records.newest_of(peer.device)
        if counter != link.told_at:
            link.told_at, link.told = counter, frozenset()
        sealed = {(core, seq) for core, seqs in space.inbound.sealed.items() for seq in seqs}
        if report is not None:
            stored = {head.core8: head.length for head in report.stored}
            closed = [(gap.core8, gap.start, gap.end) for gap in report.missing]
            written = {w.core for w in space.state.writers.values() if w.device == peer.device}
            sealed = {
                (core, seq)
                for core, seq in sealed
                if (core in written or seq < stored.get(core[:8], 0))
                and not any(core8 == core[:8] and start <= seq < end for core8, start, end in closed)
            }
        if sealed <= link.told:
            return
        spans = spans_of(space, sealed - link.told)[:MAX_SPANS]
        request, effects = link.replicator.ask_history(tuple(spans))
        asked = {(writer, seq) for writer, start, end in spans for seq in range(start, end)}
        link.told |= {(core, seq) for core, seq in sealed if (space.feed_store.feeds[core].writer, seq) in asked}
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
            if moved:
                self.perform(peer, link, replicator.local_changed(moved, now), now)
            if records:
                self.perform(peer, link, replicator.records_changed(records, now), now)
            if forks:
                self.perform(peer, link, replicator.forks_changed(forks, now), now)
            self._ask_missing(peer, link, space, now)
        if membership:
            self.profile.effects.append(ChatChanged(space.id))

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
        for links in list(self.links.values()):
            for peer, link in list(links.values()):
                replicator = link.replicator
                if replicator is None:
                    continue
                if replicator.next_wake() <= now:
                    self.perform(peer, link, replicator.wake(now), now)

    def next_wake(self) -> float:
        """Unix seconds at which `wake` is due; infinity if nothing waits."""
        times = [link.gate_until for links in self.links.values() for _, link in links.values() if link.gate]
        times += [
            at
            for links in self.links.values()
            for _, link in links.values()
            if link.replicator is not None and (at := link.replicator.next_wake()) > self._woken
        ]
        return min(times, default=inf)


def shared_z(peer: Peer, space: Space) -> bytes | None:
    """Under which Z to meet a peer: that of the lowest epoch known on both sides.

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


def spans_of(space: Space, entries: Iterable[tuple[bytes, int]]) -> list[Span]:
    """(core, seq) pairs as spans by W."""
    spans: list[Span] = []
    for core, seq in sorted(entries):
        writer = space.feed_store.feeds[core].writer
        if spans and spans[-1][0] == writer and spans[-1][2] == seq:
            spans[-1] = (writer, spans[-1][1], seq + 1)
        else:
            spans.append((writer, seq, seq + 1))
    return spans


def is_past(item: Item, admitted: int) -> bool:
    """Whether an item is older than this device's admission (a stamp) and no control entry.  Raises DecodeError."""
    text = decode_plaintext(item.plaintext)
    return text.kind is not Kind.CONTROL and text.stamp < admitted
