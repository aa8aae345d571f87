"""Meeting on a new connection: who is there, one connection a pair of devices, which spaces to open on it.

Hello first (`identity.hello`); a stranger gets nothing.  Then each side opens a channel for every space that it knows
the other to be in.  A channel that the other side rejects means that one of the two is behind an epoch change or an
admission: whoever is ahead hands over the grants that the other has a slot in, on the hello channel.
`docs/protocol.md`, "Hello" and "Grants handed over".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from crdt.docs.own import OwnChat
from crdt.log.entry import (
    MAX_BLOCK,
    MAX_GRANT,
    BlockHeader,
    decode_plaintext,
    message_key,
    open_entry,
    read_block,
)
from crdt.log.manifest import core_key
from crdt.log.merkle import MAX_LENGTH, leaf_hash
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Admit, Epoch, Slots, SpaceKind, decode_control
from crdt.space.epoch import proves_z
from crdt.space.grant import MAX_CARRIERS, OpenedGrant
from crdt.space.rendezvous import capability, channel_id
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.hello import PROTOCOL as HELLO
from identity.hello import ExpectedDevice, HelloDialler, HelloEffect, HelloListener, Proved, Stranger
from identity.inner import Send
from identity.kem import check_prekey, read_prekey
from identity.keys import check_point
from identity.statement import MAX_STATEMENT, PREFIX
from sync.account.directory import Directory
from sync.engine.effects import ChatChanged, PeerChanged
from sync.engine.introduction import FOLLOWS, Introductions, encode_follows
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.engine.recovery.messages import ASK, COPY, INTRODUCE, KEEP, KEPT, REJOIN
from sync.engine.recovery.recovery import Recovery
from sync.engine.replication import PROTOCOL, Replication, newest_z, shared_z
from sync.engine.tasks.admission import retired_writers
from sync.engine.topics import needs_discovery, rendezvous_secrets
from sync.space.epochs import open_epoch
from sync.space.space import Space

SAY, GRANTS, JOIN, OUT = range(4)  # message types of the hello channel
RECOVERING = frozenset((KEEP, ASK, COPY, REJOIN, KEPT))
MAX_GRANTS = 8  # epochs handed over at once
MAX_FALLBACKS = 4  # Z that one connection tries where no epoch leads to a shared one
MAX_HANDOVER = 384 * 1024  # bytes of one: a frame has room for it
MAX_STATEMENTS = 64
MAX_CONSENTS = 6
MAX_OUT = 64  # feeds that one removal names on a connection
FAREWELL = 5.0  # seconds that a device which is out has for its own last word
MAX_SENDERS = 32  # devices that may have sealed a grant, as its statements say
SETTLED = 2.0  # seconds after which a second connection of one device means that it lost the first

Expect = Callable[[Iterable[tuple[bytes, bytes]]], list[ExpectedDevice]]  # (device id, D) -> with shared secrets


class DeviceHandshake:
    """Hello on every connection of the profile."""

    def __init__(self, profile: Profile, replication: Replication, recovery: Recovery, peers: dict[int, Peer]) -> None:
        self.profile = profile
        self.replication = replication
        self.recovery = recovery
        self.peers = peers
        self.introductions = Introductions(profile)
        self.told_by: set[bytes] = set()  # devices that know that this one is out, and whom it shut out itself

    # -- hello ------------------------------------------------------------------------------------------------

    def begin(self, peer: Peer, now: float) -> None:
        """Opens the hello channel; the dialler speaks first."""
        account = self.profile.account
        peer.main = peer.mux.open(HELLO)
        me, expect = account.device, self.profile.directory.expected
        former = self.profile.former
        if former is not None and self.introductions.as_former(peer.to):
            peer.former, me, expect = True, former.device, former.expected
        if peer.initiator:
            known = self.profile.directory.device(peer.to) if peer.to is not None else None
            to = expect([(known.id, known.agreement)]) if known is not None else []
            if peer.z is not None:
                members = self._by_topic(expect, now).get(peer.z, ())
                dialler = HelloDialler(me, peer.hash, z=peer.z, members=members)
            elif to:
                dialler = HelloDialler(me, peer.hash, to=to[0])
            else:
                self._drop(peer, "no device is known at that address")
                return
            peer.hello = dialler
            if peer.z is None:
                self._introduce(peer)
            self._hello(peer, dialler.start(), now)
        else:
            callers = [*self.known(expect), *self._gone(expect)]
            spaces = self._by_topic(expect, now)
            peer.hello = HelloListener(me, peer.hash, known=callers, spaces=spaces, rng=self.profile.rng)

    def known(self, expect: Expect) -> list[ExpectedDevice]:
        """Every active device of mine and of people I share a space with, and those just met by invite.

        expect: gives what this device, or the one whose place it took, shares with each."""
        directory, me = self.profile.directory, self.profile.account.device
        devices = {d.id: d.agreement for identity in sorted(self.people()) for d in directory.active(identity)}
        return expect((id_, agreement) for id_, agreement in devices.items() if id_ != me)

    def _gone(self, expect: Expect) -> list[ExpectedDevice]:
        """Devices that wrote in my spaces and are out: they may say which device took their place, and are told."""
        directory, me = self.profile.directory, self.profile.account.device
        writers = [w for space in self.profile.spaces.values() for w in space.state.writers.values()]
        devices = sorted({w.device for w in writers} - {me})
        known = [directory.device(device) for device in devices if not directory.is_active(device)]
        return expect((device.id, device.agreement) for device in known if device is not None)

    def people(self) -> set[bytes]:
        """Identities that may connect: mine, my contacts, members of my spaces; mine alone where this device is out."""
        if self.profile.out:
            return {self.profile.account.identity}
        found = {self.profile.account.identity, *self.profile.view.contacts}
        found.update(joining.person.identity for joining in self.profile.joinings.values())
        for space in self.profile.spaces.values():
            found.update(member.identity for member in space.state.members.values())
        return found

    def _by_topic(self, expect: Expect, now: float) -> dict[bytes, list[ExpectedDevice]]:
        """Z -> the devices of its space, of every Z that we meet under: for connections that a topic brought about."""
        directory, me = self.profile.directory, self.profile.account.device
        spaces: dict[bytes, list[ExpectedDevice]] = {}
        for space in self.profile.spaces.values():
            if not needs_discovery(self.profile, space):
                continue
            if space.state.creator is None:
                members = self.known(expect)  # whose it is was not heard yet, only that it is
            else:
                mine = [device.id for device in directory.active(self.profile.account.identity)]
                listed = sorted({*space.devices(), *(mine if space.personal else ())} - {me})
                known = [device for device in map(directory.device, listed) if device is not None]
                members = expect((device.id, device.agreement) for device in known)
            for z, _ in rendezvous_secrets(space, me, int(now * 1000)):
                spaces[z] = members
        return spaces

    def receive(self, peer: Peer, type: int, body: bytes, now: float) -> None:
        """One message of the hello channel."""
        if type == SAY and peer.hello is not None:
            self._hello(peer, peer.hello.receive(body), now)
        elif type == GRANTS and peer.device is not None:
            self._granted(peer, body, now)
        elif type == JOIN and peer.device is not None:
            self._late_join(peer, body, now)
        elif type == OUT and peer.device is not None:
            self._removed(peer, body, now)
        elif type == INTRODUCE and isinstance(peer.hello, HelloListener):
            self._introduced(peer, body)
        elif type in RECOVERING and (peer.device is not None or peer.guest is not None):
            try:
                self.recovery.receive(peer, type, body, now)
            except DecodeError:
                self._drop(peer, "a message about recovery that is none")
        elif type == FOLLOWS and (peer.device is not None or peer.guest is not None):
            self._follows(peer, body, now)

    def _introduce(self, peer: Peer) -> None:
        """A device that came back with the words is a stranger to everybody: its certificate goes before its proof."""
        introduction = self.recovery.introduction()
        if introduction is not None:
            peer.mux.send(peer.main, INTRODUCE, introduction)

    def _introduced(self, peer: Peer, body: bytes) -> None:
        try:
            self.recovery.introduced(cast(HelloListener, peer.hello), body, self.people())
        except DecodeError:
            self._drop(peer, "an introduction that is none")

    def _hello(self, peer: Peer, effects: Iterable[HelloEffect], now: float) -> None:
        for effect in effects:
            match effect:
                case Send(data):
                    if isinstance(peer.hello, HelloDialler) and peer.hello.named:
                        self._introduce(peer)
                    peer.mux.send(peer.main, SAY, data)
                case Proved(device):
                    peer.hello = None
                    self.proved(peer, device, now)
                case Stranger():
                    peer.hello = None
                    if peer.initiator:
                        self._drop(peer, "the other side does not prove to be the device dialled")

    def proved(self, peer: Peer, device: bytes, now: float) -> None:
        """The device at the other end is known: one connection stays, and spaces are opened on it."""
        known = self.profile.directory.device(device)
        if known is None or device == self.profile.account.device:
            self._drop(peer, "not a device to talk to")
            return
        peer.proved = device
        if peer.former:
            # The other side may know that the former device was shut out, and its successor with it: it says so.
            peer.leaving, peer.guest = now + SETTLED, known.identity
            self.introductions.tell(peer, known.identity, int(now * 1000))
            return
        if not self.profile.directory.is_active(device):
            peer.guest = known.identity
            self.recovery.met(peer)
            self.introductions.tell(peer, known.identity, int(now * 1000), guest=True)
            return
        self.introductions.met(device)
        peer.device, peer.identity, peer.proved_at = device, known.identity, now
        for other in [p for p in self.peers.values() if p.device == device and p is not peer and not p.closing]:
            if now - other.proved_at > SETTLED or peer.dialler_key > other.dialler_key:
                self._drop(other, "another connection to the same device")
            else:
                self._drop(peer, "another connection to the same device")
                return
        self.profile.effects.append(PeerChanged(device, True, peer.address))
        if self.profile.directory.kept(device):  # before it reads in some space that all of them were out
            self.introductions.tell(peer, known.identity, int(now * 1000), guest=True)
        self._ask_to_join(peer)
        self.open_spaces(peer, now)
        self.recovery.met(peer)
        for name in sorted(peer.offers):
            peer.mux.refuse(PROTOCOL, name)
        peer.offers.clear()

    def open_spaces(self, peer: Peer, now: float) -> None:
        """A channel for each space both are in, as far as is known here."""
        if peer.device is None or peer.identity is None or peer.closing:
            return
        if self.profile.directory.is_out(peer.device):
            self.tell_out(peer, now)
            return
        self.introductions.tell(peer, peer.identity, int(now * 1000))
        for space in list(self.profile.spaces.values()):
            if self.shares(peer, space):
                self.replication.offer(peer, space, now)
                continue
            if (link := peer.links.get(space.id)) is not None:
                self.replication.close_link(peer, link)
            self._tell_removed(peer, space)

    def shares(self, peer: Peer, space: Space) -> bool:
        """Whether the device at the other end belongs to this space, or to nobody knows what yet."""
        if self.profile.out:
            return False
        if peer.identity == self.profile.account.identity:
            return self.profile.directory.is_active(cast(bytes, peer.device))
        if space.personal or space.kind is SpaceKind.SELF:
            return False
        contact = self.profile.view.contacts.get(cast(bytes, peer.identity))
        if contact is not None and contact.blocked and space.kind is SpaceKind.DIRECT:
            return False
        if space.state.creator is None:
            return True  # not known yet: who proves its capability on the channel is of it
        if self.introductions.expects(space.id, cast(bytes, peer.device)):
            return True
        return any(w.device == peer.device and w.open and not w.out for w in space.state.writers.values())

    def offered(self, peer: Peer, name: bytes, now: float) -> None:
        """The peer opened a space channel that we have not: by a Z that is not ours now, or before its proof."""
        if peer.device is None:
            peer.offers.add(name)
            return
        for space in list(self.profile.spaces.values()):
            newest, shared = newest_z(peer, space), shared_z(peer, space)
            # Who was told our epochs and still comes by an earlier Z found no slot of its own in them.
            told = space.rendezvous if space.id in peer.granted else ()
            for z in dict.fromkeys((newest, shared, *told)):
                if z is None or channel_id(capability(z), peer.hash) != name or not self.shares(peer, space):
                    continue
                if z == newest or newest is None:
                    peer.earlier.pop(space.id, None)
                else:
                    peer.earlier[space.id] = newest, z
                self.replication.offer(peer, space, now)
                return
        peer.mux.refuse(PROTOCOL, name)

    def rejected(self, peer: Peer, space: Space, now: float) -> None:
        """The peer does not know the channel: it may lack an admission or an epoch that we know.

        One that was handed our epochs before and refuses still knows that they are superseded: we are the ones behind,
        however low their ids are, and meet where we were told.
        """
        if self.hand_over(peer, space):
            return
        if space.id in peer.known_z and space.id not in peer.outdated:
            peer.outdated.add(space.id)
            self.replication.offer(peer, space, now)
        else:
            self._fall_back(peer, space, now)

    def _fall_back(self, peer: Peer, space: Space, now: float) -> None:
        """An epoch that the other side uses has no slot for this device, as a member can make one that parts two
        others: they meet under a Z that both had before.  What one cannot open comes as items then."""
        tried, newest = peer.fallen_back.get(space.id, 0), newest_z(peer, space)
        if space.id in peer.links or newest is None or tried >= min(len(space.rendezvous), MAX_FALLBACKS):
            return
        peer.fallen_back[space.id] = tried + 1
        peer.earlier[space.id] = newest, space.rendezvous[tried]
        self.replication.offer(peer, space, now)

    # -- a removal that the removed cannot read ----------------------------------------------------------------

    def _tell_removed(self, peer: Peer, space: Space) -> None:
        """The peer's person was removed from a group of mine, under keys that no device of theirs gets: somebody who
        could have done it says so, once a connection."""
        state, mine = space.state, space.mine
        if space.kind is not SpaceKind.GROUP or mine is None or not space.may_write or space.id in peer.told_out:
            return
        gone = {member.id: member for member in state.members.values() if member.identity == peer.identity}
        mine_rank = state.rank(mine.core)
        if not gone or mine_rank is None or any(state.active(id_) for id_ in gone):
            return
        feeds = [w.writer for w in state.writers.values() if w.member in gone and gone[w.member].rank > mine_rank]
        if feeds:
            peer.told_out.add(space.id)
            peer.mux.send(peer.main, OUT, encode_out(space.id, sorted(feeds)[:MAX_OUT]))

    def _removed(self, peer: Peer, body: bytes, now: float) -> None:
        """Somebody says that I am out of a group.  Believed of whoever may remove me, and of the feed that I have
        there: a word that is older than my coming back names another."""
        try:
            id_, feeds = decode_out(body)
        except DecodeError:
            self._drop(peer, "not a removal")
            return
        space, chat = self.profile.spaces.get(id_), self.profile.view.chats.get(id_)
        if space is None or chat is None or chat.state != "active" or space.mine is None:
            return
        state, me = space.state, space.state.rank(space.mine.core)
        ranks = [m.rank for m in state.members.values() if m.identity == peer.identity and state.active(m.id)]
        if space.mine.writer not in feeds or me is None or min(ranks, default=me) >= me:
            return
        retired = retired_writers(self.profile, id_)
        self.profile.note(int(now * 1000), OwnChat(id_, state="removed", by=peer.identity), *retired)
        self.profile.effects.append(ChatChanged(id_))

    def _follows(self, peer: Peer, body: bytes, now: float) -> None:
        """A device took another's place: its feeds are awaited, and its spaces opened on its connections.  Or this one
        is out, as what it is told shows: it says whom it shut out itself, and ends the connection."""
        try:
            spaces = self.introductions.hear(body, self.people())
        except DecodeError:
            self._drop(peer, "successions that are none")
            return
        for space in spaces:
            self.replication.admission_changed(space, now)
        for other in list(self.peers.values()) if spaces else ():
            self.open_spaces(other, now)
        if peer.former:
            self._drop(peer, "this device comes back as the one that it is now")
        elif self.profile.out and peer.device is not None:
            self.told_by.add(peer.device)
            identity = self.profile.account.identity
            word = own_word(self.profile)[:MAX_STATEMENTS]
            peer.mux.send(peer.main, FOLLOWS, encode_follows(identity, word, ()))
            self._drop(peer, "this device was shut out")

    def tell_out(self, peer: Peer, now: float) -> None:
        """The device at the other end was shut out of its identity meanwhile: it is shown that, and gets nothing else.
        It may answer whom it shut out itself: that counts although it is out."""
        if peer.device is None or peer.identity is None or peer.closing or peer.leaving is not None:
            return
        peer.leaving, peer.guest = now + FAREWELL, peer.identity
        for link in list(peer.links.values()):
            self.replication.close_link(peer, link)
        self.introductions.tell(peer, peer.identity, int(now * 1000), guest=True)

    # -- a pairing that was cut short ---------------------------------------------------------------------------

    def _ask_to_join(self, peer: Peer) -> None:
        """This device was certified and the line broke before it was admitted: it asks any device of mine again."""
        profile, personal = self.profile, self.profile.awaited or self.profile.personal
        mine, account = personal.mine, profile.account
        if peer.identity != account.identity or mine is None or mine.key is None or personal.state.creator is not None:
            return
        prekey = account.keys.prekey.public
        consents = [
            (
                feed.writer,
                sign_consent(mine.key, personal.id, feed.core, identity=None, device=account.device, prekey=prekey),
            )
            for feed in personal.feed_store.feeds.values()
            if feed is not mine
        ]
        peer.mux.send(peer.main, JOIN, encode_join(mine.writer, prekey, consents[:MAX_CONSENTS]))

    def _late_join(self, peer: Peer, body: bytes, now: float) -> None:
        """A device of mine that is certified and active, and has no feed in the personal space yet."""
        profile, personal = self.profile, self.profile.personal
        mine = personal.mine
        try:
            writer, prekey, consents = decode_join(body)
        except DecodeError:
            self._drop(peer, "not a request to join")
            return
        device = cast(bytes, peer.device)
        known = any(w.device == device for w in personal.state.writers.values())
        if (
            peer.identity != profile.account.identity
            or known
            or mine is None
            or not profile.directory.is_active(device)
        ):
            return
        consent = dict(consents).get(mine.writer)
        if consent is None:
            return
        statements = profile.directory.encoded(profile.account.identity, device)
        admit = Admit(writer, device, statements, prekey, consent)
        if verify_consent(personal.id, mine.core, admit) and personal.graph.can(mine.core, admit):
            open_epoch(personal, int(now * 1000), [admit], recovery=profile.recovery)

    # -- grants handed over -----------------------------------------------------------------------------------

    def hand_over(self, peer: Peer, space: Space) -> bool:
        """Sends the grants of the epochs in use that have a slot for the peer's device, each once a connection; whether
        there was one that was not sent yet."""
        if peer.device is None or peer.device not in space.devices() or space.state.stopped:
            return False
        holding = [e for e in space.epoch_keys.live() if any(place.device == peer.device for place in e.roster)]
        told = peer.granted.get(space.id, frozenset())
        fresh = [e for e in holding if e.id not in told][:MAX_GRANTS]
        for epoch in fresh:
            writer = space.state.writers.get(epoch.core)
            if writer is None:
                continue
            member = space.state.members[writer.member]
            statements = self.profile.directory.encoded(member.identity)[:MAX_STATEMENTS]
            # Which of its entries has the slot of that device, its author alone can tell.
            for seq, block, carriers in space.epoch_keys.told_in(epoch):
                body = encode_handover(space.id, writer.writer, seq, block, carriers, statements)
                peer.mux.send(peer.main, GRANTS, body)
        peer.granted[space.id] = told | {epoch.id for epoch in fresh}
        return bool(fresh)

    def _granted(self, peer: Peer, body: bytes, now: float) -> None:
        """A grant for a space of ours.  It tells this connection under which Z to meet and nothing else: keys come with
        the entries themselves, and whether their epochs count, the fold decides."""
        try:
            id_, writer, seq, block, carriers, statements = decode_handover(body)
            header = read_block(block, seq)
        except DecodeError:
            self._drop(peer, "a grant that is none")
            return
        space = self.profile.spaces.get(id_)
        if space is None or not header.grant or not self.shares(peer, space):
            return
        sender = self.profile.directory.device(cast(bytes, peer.device))
        # Whose statements they are is not known before the space is: each set stands or falls by its own root key.
        told = Directory(self.profile.account.keys.agreement)
        told.learn(statements)
        senders = [*told.agreements(), *([sender.agreement] if sender is not None else [])][:MAX_SENDERS]
        core = core_key(writer)
        opened = space.epoch_keys.try_grant(core, seq, header, senders, dict(carriers).get)
        epoch = told_epoch(opened, core, space.id, block, header) if opened is not None else None
        held = peer.known_z.get(space.id)
        if opened is None or epoch is None:
            self._fall_back(peer, space, now)
            return
        if opened.z in space.rendezvous or epoch in space.state.epochs:
            return
        if held is None or epoch < held[0]:
            peer.known_z[space.id] = epoch, opened.z
            self.replication.offer(peer, space, now)

    def _drop(self, peer: Peer, reason: str) -> None:
        peer.drop(self.profile.effects, reason)


def own_word(profile: Profile) -> list[bytes]:
    """Encoded statements that show those devices of mine as out that this one shut out."""
    directory, account = profile.directory, profile.account
    found: dict[bytes, None] = {}
    for device in directory.shut_out_by(account.identity, account.device):
        found.update(dict.fromkeys(directory.evidence(account.identity, device)))
    return list(found)


def encode_join(writer: bytes, prekey: bytes, consents: Iterable[tuple[bytes, bytes]]) -> bytes:
    """version | suite | W | prekey | consents: W of the admitting feed, signature (64)."""
    out = Writer().raw(PREFIX).raw(writer).buffer(prekey)
    return out.array(list(consents), lambda w, c: w.raw(c[0]).raw(c[1])).finish()


def decode_join(data: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a request of another version")
    writer, prekey = check_point(reader.fixed(32)), check_prekey(read_prekey(reader))
    consents = reader.array(lambda r: (r.fixed(32), r.fixed(64)), MAX_CONSENTS)
    reader.end()
    return writer, prekey, consents


def encode_out(space: bytes, feeds: Iterable[bytes]) -> bytes:
    """version | suite | space id | W of each feed of the removed person."""
    return Writer().raw(PREFIX).raw(space).array(list(feeds), Writer.raw).finish()


def decode_out(data: bytes) -> tuple[bytes, list[bytes]]:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a removal of another version")
    space, feeds = reader.fixed(32), reader.array(lambda r: r.fixed(32), MAX_OUT)
    reader.end()
    return space, feeds


def told_epoch(opened: OpenedGrant, core: bytes, space: bytes, block: bytes, header: BlockHeader) -> bytes | None:
    """The id of the epoch that a grant entry opens or has further slots of, None where the entry is not sealed under
    what its slot held, or its Z is another than the entry says."""
    try:
        key, _ = message_key(opened.secret, core, header.seq)
        body = decode_control(decode_plaintext(open_entry(key, core, space, block, header)).body)
    except DecodeError:
        return None
    for op in body.ops:
        if isinstance(op, Epoch):
            return leaf_hash(block) if proves_z(op, opened.z) else None
        if isinstance(op, Slots):
            return op.epoch
    return None


def encode_handover(
    space: bytes,
    writer: bytes,
    seq: int,
    block: bytes,
    carriers: Iterable[tuple[int, bytes]],
    statements: Iterable[bytes],
) -> bytes:
    """version | suite | space id | W | seq | block | carriers: seq and grant | statements of its author's identity.

    carriers: the earlier grants of the feed that the block's grant names, as many as there is room for.
    """
    end = Writer().array(list(statements), Writer.buffer).finish()
    out = Writer().raw(PREFIX).raw(space).raw(writer).uint(seq).buffer(block)
    room, kept = MAX_HANDOVER - len(out) - len(end) - 1, []
    for at, grant in carriers:
        room -= len(grant) + 16
        if room >= 0:
            kept.append((at, grant))
    return out.array(kept, lambda w, c: w.uint(c[0]).buffer(c[1])).raw(end).finish()


def decode_handover(data: bytes) -> tuple[bytes, bytes, int, bytes, list[tuple[int, bytes]], list[bytes]]:
    """Raises DecodeError."""
    if len(data) > MAX_HANDOVER:
        raise DecodeError("a grant handed over is too long")
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a grant of another version")
    space, writer, seq = reader.fixed(32), reader.fixed(32), reader.uint(MAX_LENGTH - 1)
    block = reader.buffer(MAX_BLOCK)
    carriers = reader.array(lambda r: (r.uint(MAX_LENGTH - 1), r.buffer(MAX_GRANT)), MAX_CARRIERS)
    statements = reader.array(lambda r: r.buffer(MAX_STATEMENT), MAX_STATEMENTS)
    reader.end()
    return space, writer, seq, block, carriers, statements
