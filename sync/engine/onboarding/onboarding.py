"""People and devices coming in: invites given and accepted, and approving a new device of mine.

The cores are in `identity`; here is what they need stored, and what follows: a direct space, a contact, an admission
in the personal space.  All is durable before the message that promises it.  `docs/protocol.md`, "Invite", "Pairing".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from crdt.docs.own import DeviceName, OwnChat, OwnContact, OwnInvite, OwnWriter
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Add, Admit, SpaceKind
from crdt.space.rendezvous import space_id
from identity.approver import Approver
from identity.codec import Reader, Writer
from identity.device_set import MAX_DEVICES
from identity.errors import DecodeError, KithkinError
from identity.hints import Address
from identity.inner import Failed, Send, Stray
from identity.invite import PROTOCOL as INVITE
from identity.invite import DirectSpace, InviteAsked, InviteDone, InviteeJoined, Person, SpaceOffered, person_of
from identity.invite_code import InviteCode, InvitePayload, decode_invite, encode_invite, new_invite, read_invite
from identity.invitee import Invitee
from identity.inviter import Inviter
from identity.keys import SigningKey, check_point
from identity.pairing import PROTOCOL as PAIR
from identity.pairing import AskApproval, Certified, DeviceJoined, NewDevice, PairingDone, PairingGrant, ShowCode
from identity.pairing_code import PairPayload, read_pair_code
from identity.statement import PREFIX
from sync.account.context import new_writer
from sync.engine.dialling import Dialling, Want, Whereabouts, decode_whereabouts, encode_whereabouts, hint_of
from sync.engine.effects import ChatChanged, ContactChanged, DeviceChanged, Disconnect, FlowStep, Listen, Unlisten
from sync.engine.hello import DeviceHandshake
from sync.engine.peer import Peer, Purpose
from sync.engine.profile import Profile
from sync.space.epochs import found_space, open_epoch
from sync.space.space import Space

MAX_PROFILE = 512
MAX_CLAIM = 60  # characters of a claimed name that are kept
PATIENCE = 120.0  # seconds that a flow dials again and again: what it dials may be announced only now
AGAIN = 1.0  # seconds between two of its dials
WAITED = Failed("timeout", "Nobody answered in time; is the other side still showing it, and is it reachable?")


@dataclass(slots=True)
class Flow:
    """One pairing or invite of ours under way.  until: Unix time to which it dials again; again: when next."""

    id: int
    until: float
    again: float | None = None
    peer: int | None = None
    approver: Approver | None = None
    invitee: Invitee | None = None
    pair: PairPayload | None = None
    invite: InvitePayload | None = field(default=None, repr=False)
    history: bool = True
    space: bytes = b""
    person: Person | None = None
    device: bytes = b""
    new: NewDevice | None = None


@dataclass(slots=True)
class Answering:
    """An invite of ours that somebody is using on a connection."""

    inviter: Inviter
    key: bytes  # I
    writer: SigningKey | None = field(default=None, repr=False)  # of a direct space to be founded
    z: bytes = field(default=b"", repr=False)
    space: bytes = b""


class Onboarding:
    """Invites and approvals of a profile."""

    def __init__(self, profile: Profile, meeting: DeviceHandshake, dialling: Dialling) -> None:
        self.profile = profile
        self.handshake = meeting
        self.dialling = dialling
        self.where: Whereabouts | None = None  # how this node is reached
        self._flows: dict[int, Flow] = {}
        self._answering: dict[int, Answering] = {}  # by connection
        self._listening: dict[bytes, InviteCode] = {}
        self._last = 0

    # -- invites given ----------------------------------------------------------------------------------------

    def invite(self, now: float, lifetime: int, hints: Iterable[Address]) -> InviteCode:
        """A new invite, kept in the personal space so that any of my devices answers it."""
        profile = self.profile
        name = profile.view.profile.name or ""
        code = new_invite(profile.rng, profile.account.identity, now, lifetime=lifetime, hints=hints, name=name)
        payload = code.payload
        profile.note(
            int(now * 1000),
            OwnInvite(
                payload.key,
                on=True,
                seed=code.key.seed,
                secret=payload.secret,
                created=int(now),
                expires=payload.expires,
                payload=encode_invite(payload),
            ),
        )
        return code

    def listen(self, now: float) -> None:
        """Answers every invite of mine that has not expired; called whenever my personal space changed."""
        live: dict[bytes, InviteCode] = {}
        for key, invite in self.profile.view.invites.items():
            if invite.seed is None or invite.payload is None or (invite.expires or 0) < now:
                continue
            try:
                payload = decode_invite(invite.payload)
            except DecodeError:
                continue
            if payload.key == key:
                live[key] = InviteCode(payload, SigningKey.from_seed(invite.seed))
        for key in sorted(self._listening.keys() - live.keys()):
            self.profile.effects.append(Unlisten(key))
        for key in sorted(live.keys() - self._listening.keys()):
            self.profile.effects.append(Listen(live[key].key))
        self._listening = live

    def forget_listening(self) -> None:
        """The port is a new one: `listen` tells it everything."""
        self._listening = {}

    def purpose(self, local: bytes) -> Purpose:
        """What a connection that came in under this key is for."""
        return Purpose.INVITE if local in self._listening else Purpose.HELLO

    def answer(self, peer: Peer, now: float) -> None:
        """A connection under one of our invites."""
        code = self._listening[peer.local]
        used_by = self.profile.view.invites[peer.local].used_by
        inviter = Inviter(
            code,
            keys=self.profile.account.keys,
            me=self.me(),
            used_by=used_by,
            outer_hash=peer.hash,
            rng=self.profile.rng,
        )
        self._answering[peer.conn] = Answering(inviter, peer.local)
        peer.main = peer.mux.open(INVITE)

    def me(self) -> Person:
        account, view = self.profile.account, self.profile.view
        out = Writer().string((view.profile.name or "")[:128]).buffer(b"")
        if self.where is not None:
            out = Writer().string((view.profile.name or "")[:128]).buffer(encode_whereabouts(self.where))
        statements = self.profile.directory.sent(account.identity)
        return person_of(account.identity, statements, account.keys, out.finish())

    def _answered(self, peer: Peer, answering: Answering, body: bytes, now: float) -> None:
        for effect in answering.inviter.receive(body, now):
            match effect:
                case Send(data):
                    peer.mux.send(peer.main, 0, data)
                case Stray(sentence):
                    self._drop(peer, sentence)
                case Failed(_, sentence):
                    self._drop(peer, sentence)
                case InviteAsked(person):
                    self._asked(peer, answering, person, now)
                case InviteeJoined(person, answer):
                    self._joined(peer, answering, person, answer, now)
                case InviteDone():
                    pass

    def _asked(self, peer: Peer, answering: Answering, person: Person, now: float) -> None:
        space = self.direct(person.identity)
        if space is not None and space.mine is not None and space.z is not None:
            offered = DirectSpace(space.id, space.mine.writer, space.z)
            answering.space = space.id
        else:
            answering.writer, answering.z = new_writer(self.profile.rng), self.profile.rng(32)
            answering.space = space_id(core_key(answering.writer.public))
            offered = DirectSpace(answering.space, answering.writer.public, answering.z)
        self._send(peer, answering.inviter.offer(offered, now))

    def _joined(self, peer: Peer, answering: Answering, person: Person, answer: bytes, now: float) -> None:
        """The invitee is proved: its use is stored, its writer added, and only then it is told."""
        profile, now_ms = self.profile, int(now * 1000)
        used_by = profile.view.invites[answering.key].used_by if answering.key in profile.view.invites else None
        if used_by not in (None, person.identity):
            self._send(peer, answering.inviter.refuse("already_used"))
            return
        statements = tuple(statement.encoded for statement in person.statements)
        try:
            writer, consent = decode_answer(answer)
        except DecodeError:
            self._send(peer, answering.inviter.refuse("not_allowed"))
            return
        add = Add(person.identity, writer, person.device, statements, person.prekey, consent)
        profile.learn(person.statements)
        space = profile.spaces.get(answering.space)
        if space is None and answering.writer is not None:
            if not verify_consent(answering.space, core_key(answering.writer.public), add):
                self._send(peer, answering.inviter.refuse("not_allowed"))
                return
            space = found_space(profile.context, SpaceKind.DIRECT, "", now_ms, key=answering.writer, z=answering.z)
            profile.keep(space)
            open_epoch(space, now_ms, [add])
        elif space is not None and space.mine is not None:
            if space.graph.can(space.mine.core, add) and verify_consent(space.id, space.mine.core, add):
                open_epoch(space, now_ms, [add])
                profile.touch(space)
            elif not any(w.writer == writer for w in space.state.writers.values()):
                # Its identity is in already by another device, which will admit this one.
                space.members.vouch([core_key(writer)])
        if space is None:
            return
        self.befriend(space, person, now_ms)
        profile.note(now_ms, OwnInvite(answering.key, used_by=person.identity))
        profile.commit(now_ms)
        self._send(peer, answering.inviter.finish(now))
        self.promote(peer, person.device, now)

    def direct(self, identity: bytes) -> Space | None:
        """The direct space with somebody; of several the one with the lowest id."""
        found = sorted(
            chat.space
            for chat in self.profile.view.chats.values()
            if chat.kind == "direct" and chat.peer == identity and chat.space in self.profile.spaces
        )
        return self.profile.spaces[found[0]] if found else None

    def befriend(self, space: Space, person: Person, now_ms: int) -> None:
        """Contact and chat in the personal space, and my feed there for my other devices to see."""
        profile, mine = self.profile, space.mine
        name, where = decode_profile(person.profile)
        profile.note(
            now_ms,
            OwnContact(
                person.identity,
                on=True,
                profile=name,
                pending=False,
                space=space.id,
                statements=tuple(statement.encoded for statement in person.statements)[:64],
            ),
            OwnChat(space.id, on=True, kind="direct", state="active", peer=person.identity, rendezvous=space.z),
        )
        if mine is not None:
            account = profile.account
            profile.note(
                now_ms,
                OwnWriter(space.id, mine.writer, on=True, device=account.device, prekey=account.keys.prekey.public),
            )
        if where is not None:
            self.dialling.remember(person.device, where)
        profile.effects += [ContactChanged(person.identity), ChatChanged(space.id)]

    # -- an invite accepted -----------------------------------------------------------------------------------

    def accept(self, text: str, now: float) -> int:
        """Starts to accept an invite; `FlowStep`s follow.  Raises what `read_invite` raises."""
        profile = self.profile
        payload = read_invite(text, now, profile.account.identity)
        flow = self._new_flow(now)
        flow.invite = payload
        self._dial(flow, now)
        return flow.id

    def _offered(self, peer: Peer, flow: Flow, person: Person, offered: DirectSpace, now: float) -> None:
        profile, account, now_ms = self.profile, self.profile.account, int(now * 1000)
        if not self._is_direct(person.identity, offered):
            self._end(flow, Failed("not_allowed", "The other side offers something else than a chat of you two."))
            self._drop(peer, "an offer of another space")
            return
        profile.learn(person.statements)
        flow.person, flow.space = person, offered.space
        space = profile.space(offered.space)
        key = profile.own_feed(space)
        if space.state.creator is None:
            space.epoch_keys.set_z(offered.z)
        space.members.vouch([core_key(offered.writer)])
        profile.touch(space)
        consent = sign_consent(
            key,
            space.id,
            core_key(offered.writer),
            identity=account.identity,
            device=account.device,
            prekey=account.keys.prekey.public,
        )
        profile.commit(now_ms)
        if flow.invitee is not None:
            self._flow_effects(peer, flow, flow.invitee.join(encode_answer(key.public, consent), now), now)

    def _is_direct(self, identity: bytes, offered: DirectSpace) -> bool:
        """Whether an offered space can be the direct one with this identity.

        A known one must be just that; of a new one the id follows from the feed of its creator, unless another device
        of mine told us of it.  Once its create is here, `Space.is_direct` asks again before anything is written.
        """
        known, chat = self.profile.spaces.get(offered.space), self.profile.view.chats.get(offered.space)
        if known is not None and known.state.creator is not None:
            return known.members.is_direct(self.profile.account.identity, identity)
        if chat is not None:
            return chat.kind == "direct" and chat.peer == identity
        return space_id(core_key(offered.writer)) == offered.space

    # -- a device approved ------------------------------------------------------------------------------------

    def check_approve(self, text: str, now: float) -> PairPayload:
        """What a pairing text says, if a device may be added at all.  Raises KithkinError."""
        payload = read_pair_code(text, now)
        if len(self.profile.directory.active(self.profile.account.identity)) >= MAX_DEVICES:
            raise KithkinError("too_many_devices", "There are six devices already; revoke one first.")
        return payload

    def approve(self, payload: PairPayload, history: bool, now: float) -> int:
        """Dials the device that shows the text; `FlowStep`s follow, the digits first."""
        flow = self._new_flow(now)
        flow.pair, flow.history = payload, history
        self._dial(flow, now)
        return flow.id

    def _dial(self, flow: Flow, now: float) -> None:
        """At the addresses in the text, and by the one-use key that it names."""
        local = self.profile.account.transport(now)
        if flow.pair is not None:
            hints = tuple(hint_of(address) for address in flow.pair.hints)
            self.dialling.dial(Want(Purpose.PAIR, None, local, flow.id), flow.pair.transport, hints)
        elif flow.invite is not None:
            hints = tuple(hint_of(address) for address in flow.invite.hints)
            self.dialling.dial(Want(Purpose.INVITE, None, local, flow.id), flow.invite.key, hints)

    def wake(self, now: float) -> None:
        """Flows whose dial came to nothing dial again."""
        for flow in self._flows.values():
            if flow.again is not None and flow.again <= now:
                flow.again = None
                self._dial(flow, now)

    def next_wake(self) -> float | None:
        return min((flow.again for flow in self._flows.values() if flow.again is not None), default=None)

    def _certified(self, peer: Peer, flow: Flow, effect: Certified, now: float) -> None:
        profile, personal = self.profile, self.profile.personal
        profile.learn([effect.certificate])
        profile.commit(int(now * 1000))
        if personal.mine is None or personal.z is None or flow.approver is None:
            return
        flow.device, flow.new = effect.certificate.device, effect.device
        grant = PairingGrant(
            profile.directory.sent(profile.account.identity),
            personal.id,
            personal.mine.writer,
            personal.z,
            flow.history,
            b"" if self.where is None else encode_whereabouts(self.where),
        )
        self._flow_effects(peer, flow, flow.approver.grant(grant, now), now)

    def _admit(self, peer: Peer, flow: Flow, effect: DeviceJoined, now: float) -> None:
        """The new device's writer enters the personal space, with an epoch that it can read."""
        profile, personal, now_ms = self.profile, self.profile.personal, int(now * 1000)
        try:
            writer, consent = decode_answer(effect.answer)
        except DecodeError:
            self._drop(peer, "not a writer and a consent")
            return
        new = flow.new
        if new is None:
            return
        admit = Admit(writer, effect.device, profile.directory.encoded(profile.account.identity), new.prekey, consent)
        mine = personal.mine
        if mine is None or not verify_consent(personal.id, mine.core, admit):
            self._drop(peer, "a consent that does not fit")
            return
        open_epoch(personal, now_ms, [admit], recovery=profile.recovery)
        profile.touch(personal)
        profile.note(now_ms, DeviceName(effect.device, new.name or "device"))
        profile.commit(now_ms)
        profile.effects.append(DeviceChanged(effect.device, "A new device was added to your account."))
        if flow.approver is not None:
            self._flow_effects(peer, flow, flow.approver.finish(now), now)

    # -- connections of flows ---------------------------------------------------------------------------------

    def dialled(self, peer: Peer, want: Want, now: float) -> None:
        """A connection that a flow of ours dialled is open."""
        flow = self._flows.get(want.flow)
        if flow is None:
            self._drop(peer, "nobody waits for it any more")
            return
        flow.peer = peer.conn
        profile = self.profile
        try:
            if flow.pair is not None:
                peer.main = peer.mux.open(PAIR)
                flow.approver = Approver(
                    flow.pair,
                    keys=profile.account.keys,
                    identity=profile.account.identity,
                    statements=profile.directory.sent(profile.account.identity),
                    outer_hash=peer.hash,
                    rng=profile.rng,
                )
                self._flow_effects(peer, flow, flow.approver.start(now), now)
            elif flow.invite is not None:
                peer.main = peer.mux.open(INVITE)
                flow.invitee = Invitee(
                    flow.invite, keys=profile.account.keys, me=self.me(), outer_hash=peer.hash, rng=profile.rng
                )
                self._flow_effects(peer, flow, flow.invitee.start(now), now)
        except KithkinError as error:
            self._end(flow, Failed(error.code, error.message))

    def receive(self, peer: Peer, body: bytes, now: float) -> None:
        """One message of a pairing or invite channel."""
        answering = self._answering.get(peer.conn)
        if answering is not None:
            self._answered(peer, answering, body, now)
            return
        flow = next((f for f in self._flows.values() if f.peer == peer.conn), None)
        if flow is None:
            return
        if flow.approver is not None:
            self._flow_effects(peer, flow, flow.approver.receive(body, now), now)
        elif flow.invitee is not None:
            self._flow_effects(peer, flow, flow.invitee.receive(body, now), now)

    def _flow_effects(self, peer: Peer, flow: Flow, effects: Iterable[object], now: float) -> None:
        for effect in effects:
            match effect:
                case Send(data):
                    peer.mux.send(peer.main, 0, data)
                case Failed():
                    self._end(flow, effect)
                    self._drop(peer, effect.sentence)
                case AskApproval():
                    # The person said yes to what is granted before we dialled; the digits say to which device.
                    if flow.approver is not None:
                        self._flow_effects(peer, flow, flow.approver.approve(now, history=flow.history), now)
                case ShowCode():
                    self.profile.effects.append(FlowStep(flow.id, effect))
                case Certified():
                    self._certified(peer, flow, effect, now)
                case DeviceJoined():
                    self._admit(peer, flow, effect, now)
                case PairingDone():
                    self._end(flow, effect)
                case SpaceOffered(person, offered):
                    self._offered(peer, flow, person, offered, now)
                case InviteDone():
                    self._met(peer, flow, effect, now)

    def _met(self, peer: Peer, flow: Flow, effect: InviteDone, now: float) -> None:
        space, now_ms = self.profile.spaces.get(flow.space), int(now * 1000)
        if space is None or flow.person is None:
            return
        self.befriend(space, flow.person, now_ms)
        self.profile.commit(now_ms)
        self._end(flow, effect)
        self.promote(peer, flow.person.device, now)

    def promote(self, peer: Peer, device: bytes, now: float) -> None:
        """Both ends were proved inside the invite: from now on it is an ordinary connection of two devices."""
        self._answering.pop(peer.conn, None)
        peer.purpose = Purpose.HELLO
        peer.main = peer.mux.open("kithkin/hello/1")
        self.handshake.proved(peer, device, now)

    def failed(self, want: Want, now: float) -> None:
        """A dial of a flow came to nothing."""
        flow = self._flows.get(want.flow)
        if flow is not None and now + AGAIN < flow.until:
            flow.again = now + AGAIN
        else:
            self.lost(None, want)

    def lost(self, peer: Peer | None, want: Want | None) -> None:
        """A connection, or the last attempt to have one, is over."""
        if peer is not None:
            self._answering.pop(peer.conn, None)
        for flow in list(self._flows.values()):
            if (peer is not None and flow.peer == peer.conn) or (want is not None and want.flow == flow.id):
                core = flow.approver or flow.invitee
                ends = core.closed() if core is not None else [WAITED]
                for effect in ends:
                    if isinstance(effect, Failed):
                        self._end(flow, effect)

    def cancel(self, flow: int) -> None:
        """Nobody waits for it any more."""
        found = self._flows.pop(flow, None)
        if found is not None and found.peer is not None:
            self.profile.effects.append(Disconnect(found.peer, "given up"))

    def flow(self, flow: int) -> Flow | None:
        return self._flows.get(flow)

    def _new_flow(self, now: float) -> Flow:
        self._last += 1
        flow = self._flows[self._last] = Flow(self._last, now + PATIENCE)
        return flow

    def _end(self, flow: Flow, step: object) -> None:
        if self._flows.get(flow.id) is flow:
            self.profile.effects.append(FlowStep(flow.id, (step, flow)))
            del self._flows[flow.id]

    def _send(self, peer: Peer, effects: Iterable[object]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                peer.mux.send(peer.main, 0, effect.data)
            elif isinstance(effect, Failed):
                self._drop(peer, effect.sentence)

    def _drop(self, peer: Peer, reason: str) -> None:
        peer.closing = True
        self.profile.effects.append(Disconnect(peer.conn, reason))


def encode_answer(writer: bytes, consent: bytes) -> bytes:
    """version | suite | W (32) | consent (64): what a newcomer says in a pairing or an invite."""
    return Writer().raw(PREFIX).raw(writer).raw(consent).finish()


def decode_answer(data: bytes) -> tuple[bytes, bytes]:
    """(W, consent).  Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("an answer of another version")
    writer, consent = check_point(reader.fixed(32)), reader.fixed(64)
    reader.end()
    return writer, consent


def decode_profile(data: bytes) -> tuple[str, Whereabouts | None]:
    """(claimed name, where its device is reached) of a person met by invite; what does not decode is left out."""
    try:
        reader = Reader(data)
        name, where = reader.string(MAX_PROFILE), reader.buffer(MAX_PROFILE * 2)
        reader.end()
        # A claimed name that no value may hold is as good as none; what is left is shown escaped.
        name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cs"))[:MAX_CLAIM]
        return name, decode_whereabouts(where) if where else None
    except DecodeError:
        return "", None
