"""Invites: given to people, answered when they come, and accepted from them.  `docs/protocol.md`, "Invite".

The cores are `identity.inviter` and `identity.invitee`; here is what they need stored, and what follows: a direct space
and a contact.  All is durable before the message that promises it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crdt.docs.own import OwnChat, OwnContact, OwnInvite, OwnWriter
from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent, verify_consent
from crdt.space.control import Add, SpaceKind
from crdt.space.rendezvous import space_id
from identity.errors import DecodeError, KithkinError
from identity.hints import Address
from identity.inner import Failed, Send, Stray
from identity.invite import PROTOCOL as INVITE
from identity.invite import DirectSpace, InviteAsked, InviteDone, InviteeJoined, Person, SpaceOffered, person_of
from identity.invite_code import InviteCode, decode_invite, encode_invite, new_invite, read_invite
from identity.invitee import Invitee
from identity.inviter import Inviter
from identity.keys import SigningKey
from sync.account.context import new_writer
from sync.engine.dialling import Dialling
from sync.engine.effects import ChatChanged, ContactChanged, ContactMet, Listen, Unlisten
from sync.engine.hello import DeviceHandshake
from sync.engine.joining import GRACE, Joining, drop_joining, put_joining
from sync.engine.onboarding.conversation import PATIENCE, Conversation, Conversations
from sync.engine.onboarding.messages import decode_answer, decode_profile, encode_answer, encode_profile
from sync.engine.peer import Peer, Purpose
from sync.engine.profile import Profile
from sync.space.epochs import found_space, open_epoch
from sync.space.obligations import SHUT_OUT
from sync.space.space import Space


@dataclass(slots=True)
class Answering:
    """An invite of ours that somebody is using on a connection."""

    inviter: Inviter
    key: bytes  # I
    writer: SigningKey | None = field(default=None, repr=False)  # of a direct space to be founded
    z: bytes = field(default=b"", repr=False)
    space: bytes = b""


class Invites:
    """Both sides of the invites of one profile."""

    def __init__(
        self, profile: Profile, handshake: DeviceHandshake, dialling: Dialling, conversations: Conversations
    ) -> None:
        self._profile = profile
        self._handshake = handshake
        self._dialling = dialling
        self._conversations = conversations
        self._answering: dict[int, Answering] = {}  # by connection
        self.forgotten: list[bytes] = []  # offered spaces that came to nothing, whose links are to be closed
        self._listening: dict[bytes, InviteCode] = {}

    # -- given ------------------------------------------------------------------------------------------------

    def create(self, now: float, lifetime: int, hints: Iterable[Address]) -> InviteCode:
        """A new invite, kept in the personal space so that any of my devices answers it."""
        profile = self._profile
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
        """Answers every invite of mine that has not expired, and ends what this device answered itself; called whenever
        my personal space or a membership changed, and now and then."""
        self._end_joinings(now)
        live: dict[bytes, InviteCode] = {}
        for key, invite in self._profile.view.invites.items() if not self._profile.out else ():
            if invite.seed is None or invite.payload is None or (invite.expires or 0) < now:
                continue
            try:
                payload = decode_invite(invite.payload)
            except DecodeError:
                continue
            if payload.key == key:
                live[key] = InviteCode(payload, SigningKey.from_seed(invite.seed))
        for key in sorted(self._listening.keys() - live.keys()):
            self._profile.effects.append(Unlisten(key))
        for key in sorted(live.keys() - self._listening.keys()):
            self._profile.effects.append(Listen(live[key].key))
        self._listening = live

    def forget_listening(self) -> None:
        """The port is a new one: `listen` tells it everything."""
        self._listening = {}

    def answers(self, local: bytes) -> bool:
        """Whether this key is that of an invite of ours."""
        return local in self._listening

    def answering(self, conn: int) -> bool:
        """Whether somebody is using an invite of ours on this connection."""
        return conn in self._answering

    def answer(self, peer: Peer, now: float) -> None:
        """A connection under one of our invites."""
        code = self._listening[peer.local]
        used_by = self._profile.view.invites[peer.local].used_by
        inviter = Inviter(
            code,
            keys=self._profile.account.keys,
            me=self.me(),
            used_by=used_by,
            outer_hash=peer.hash,
            rng=self._profile.rng,
        )
        self._answering[peer.conn] = Answering(inviter, peer.local)
        peer.main = peer.mux.open(INVITE)

    def me(self) -> Person:
        """Who this device says to be, with its profile and where it is reached."""
        account = self._profile.account
        told = encode_profile(self._profile.view.profile.name or "", self._dialling.where)
        return person_of(account.identity, self._profile.directory.sent(account.identity), account.keys, told)

    def receive_answer(self, peer: Peer, body: bytes, now: float) -> None:
        """One message of somebody who uses an invite of ours."""
        answering = self._answering[peer.conn]
        for effect in answering.inviter.receive(body, now):
            match effect:
                case Send(data):
                    peer.mux.send(peer.main, 0, data)
                case Stray(sentence):
                    peer.drop(self._profile.effects, sentence)
                case Failed(_, sentence):
                    peer.drop(self._profile.effects, sentence)
                case InviteAsked(person):
                    self._asked(peer, answering, person, now)
                case InviteeJoined(person, answer):
                    self._joined(peer, answering, person, answer, now)
                case InviteDone():
                    pass

    def _asked(self, peer: Peer, answering: Answering, person: Person, now: float) -> None:
        contact = self._profile.view.contacts.get(person.identity)
        if contact is not None and contact.blocked:
            peer.drop(self._profile.effects, "an invite used by somebody who is blocked")  # and told nothing
            return
        space = self.chat_of(person)
        if space is not None and space.mine is not None and space.z is not None:
            offered = DirectSpace(space.id, space.mine.writer, space.z)
            answering.space = space.id
        else:
            answering.writer, answering.z = new_writer(self._profile.rng), self._profile.rng(32)
            answering.space = space_id(core_key(answering.writer.public))
            offered = DirectSpace(answering.space, answering.writer.public, answering.z)
        self._send(peer, answering.inviter.offer(offered, now))

    def _joined(self, peer: Peer, answering: Answering, person: Person, answer: bytes, now: float) -> None:
        """The invitee is proved: its use is stored, its writer added, and only then it is told."""
        profile, now_ms = self._profile, int(now * 1000)
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
            elif not any(w.writer == writer for w in space.state.writers.values()):
                # Its identity is in already by another device, which will admit this one.
                space.members.vouch([core_key(writer)])
        if space is None:
            return
        self.befriend(space, person, now_ms)
        profile.note(now_ms, OwnInvite(answering.key, used_by=person.identity))
        profile.commit(now_ms)
        self._send(peer, answering.inviter.finish(now))
        self._promote(peer, person.device, now)

    def direct(self, identity: bytes) -> Space | None:
        """The direct space with somebody; of several the one with the lowest id."""
        found = sorted(
            chat.space
            for chat in self._profile.view.chats.values()
            if chat.kind == "direct" and chat.peer == identity and chat.space in self._profile.spaces
        )
        return self._profile.spaces[found[0]] if found else None

    def chat_of(self, person: Person) -> Space | None:
        """The direct space in which that very device writes, the lowest of several.  Any other device gets a new one,
        also where there is one with its identity: whoever writes there may be lost, and nobody could let it in."""
        found = [
            space
            for id_, space in sorted(self._profile.spaces.items())
            if (chat := self._profile.view.chats.get(id_)) is not None
            and (chat.kind, chat.peer) == ("direct", person.identity)
            and space.may_write
            and any(
                writer.open and writer.device == person.device
                for writer in space.state.writers.values()
                if space.state.members[writer.member].identity == person.identity
            )
        ]
        return found[0] if found else None

    def befriend(self, space: Space, person: Person, now_ms: int, *, accepted: bool = False) -> None:
        """Contact and chat in the personal space, and my feed there for my other devices to see.

        accepted: this person accepted an invite, and so takes back a deletion; answering one carries nothing that a
        person sets, so that an answer by a device that has not heard of a deletion undoes none.
        """
        profile, mine = self._profile, space.mine
        name, where = decode_profile(person.profile)
        profile.note(
            now_ms,
            OwnContact(
                person.identity,
                on=True,
                profile=name,
                pending=False,
                deleted=False if accepted else None,
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
            self._dialling.remember(person.device, where)
        profile.effects += [ContactChanged(person.identity), ChatChanged(space.id)]

    def _end_joinings(self, now: float) -> None:
        """Offered spaces: where this device was let in the invite has its end, as if DONE had come; where nothing came
        in time the space goes."""
        profile, now_ms = self._profile, int(now * 1000)
        for id_, joining in list(profile.joinings.items()):
            space = profile.spaces.get(id_)
            if space is not None and self._let_in(space, joining.person.identity):
                self._meet(space, joining.person, now_ms)
            elif space is None or now > joining.until:
                self._forget(id_)

    def _let_in(self, space: Space, identity: bytes) -> bool:
        return space.may_write and space.members.is_direct(self._profile.account.identity, identity)

    def _forget(self, id_: bytes) -> None:
        if id_ in self._profile.spaces and id_ not in self._profile.view.chats:
            self._profile.forget(id_)
            self.forgotten.append(id_)
        elif self._profile.joinings.pop(id_, None) is not None:
            drop_joining(self._profile.context.batch, id_)

    def _meet(self, space: Space, person: Person, now_ms: int) -> None:
        """The other side let this device in: a contact and a chat."""
        joining = self._profile.joinings.pop(space.id, None)
        drop_joining(self._profile.context.batch, space.id)
        self.befriend(space, person, now_ms, accepted=True)
        for id_, other in list(self._profile.joinings.items()):
            # What the same device offered before is not known there: it would have offered it again.
            if joining is not None and (other.invite, other.person.device) == (joining.invite, person.device):
                self._forget(id_)

    # -- accepted ---------------------------------------------------------------------------------------------

    def accept(self, text: str, now: float, patience: float = PATIENCE) -> int:
        """Starts to accept an invite; `OnboardingStep`s follow.  Raises what `read_invite` raises.

        patience: seconds for which it is tried again where nobody answers or the line breaks.
        """
        payload = read_invite(text, now, self._profile.account.identity)
        if self._profile.out:
            raise KithkinError("not_allowed", SHUT_OUT)
        one = self._conversations.begin(now, patience)
        one.invite = payload
        self._conversations.dial(one, now)
        return one.id

    def dialled(self, peer: Peer, one: Conversation, now: float) -> None:
        """The connection to the inviter is open.  Raises KithkinError where the invite cannot be used on it."""
        if one.invite is None:
            return
        peer.main = peer.mux.open(INVITE)
        one.invitee = Invitee(
            one.invite,
            keys=self._profile.account.keys,
            me=self.me(),
            outer_hash=peer.hash,
            rng=self._profile.rng,
        )
        self._perform(peer, one, one.invitee.start(now), now)

    def receive(self, peer: Peer, one: Conversation, body: bytes, now: float) -> None:
        """One message of the inviter."""
        if one.invitee is not None:
            self._perform(peer, one, one.invitee.receive(body, now), now)

    def lost(self, peer: Peer) -> None:
        """A connection is gone."""
        self._answering.pop(peer.conn, None)

    def _perform(self, peer: Peer, one: Conversation, effects: Iterable[object], now: float) -> None:
        for effect in effects:
            match effect:
                case Send(data):
                    peer.mux.send(peer.main, 0, data)
                case Failed():
                    if effect.code != "timeout" or not self._conversations.begin_again(one, now):
                        self._conversations.fail(one, effect)
                    peer.drop(self._profile.effects, effect.sentence)
                case SpaceOffered(person, offered):
                    self._offered(peer, one, person, offered, now)
                case InviteDone():
                    self._met(peer, one, now)

    def _offered(self, peer: Peer, one: Conversation, person: Person, offered: DirectSpace, now: float) -> None:
        profile, account, now_ms = self._profile, self._profile.account, int(now * 1000)
        if not self._is_direct(person.identity, offered):
            self._conversations.fail(
                one, Failed("not_allowed", "The other side offers something else than a chat of you two.")
            )
            peer.drop(self._profile.effects, "an offer of another space")
            return
        profile.learn(person.statements)
        one.person, one.space = person, offered.space
        if offered.space not in profile.view.chats and one.invite is not None:
            joining = Joining(one.invite.key, one.invite.expires + GRACE, person)
            profile.joinings[offered.space] = joining
            put_joining(profile.context.batch, offered.space, joining)
        space = profile.space(offered.space)
        key = profile.own_feed(space)
        if space.state.creator is None:
            space.epoch_keys.set_z(offered.z)
        space.members.vouch([core_key(offered.writer)])
        consent = sign_consent(
            key,
            space.id,
            core_key(offered.writer),
            identity=account.identity,
            device=account.device,
            prekey=account.keys.prekey.public,
        )
        profile.commit(now_ms)
        if one.invitee is not None:
            self._perform(peer, one, one.invitee.join(encode_answer(key.public, consent), now), now)

    def _is_direct(self, identity: bytes, offered: DirectSpace) -> bool:
        """Whether an offered space can be the direct one with this identity.

        A known one must be just that; of a new one the id follows from the feed of its creator, unless another device
        of mine told us of it.  Once its create is here, `Space.is_direct` asks again before anything is written.
        """
        known, chat = self._profile.spaces.get(offered.space), self._profile.view.chats.get(offered.space)
        if known is not None and known.state.creator is not None:
            return known.members.is_direct(self._profile.account.identity, identity)
        if chat is not None:
            return chat.kind == "direct" and chat.peer == identity
        return space_id(core_key(offered.writer)) == offered.space

    def _met(self, peer: Peer, one: Conversation, now: float) -> None:
        space, now_ms = self._profile.spaces.get(one.space), int(now * 1000)
        if space is None or one.person is None:
            return
        self._meet(space, one.person, now_ms)
        self._profile.commit(now_ms)
        met = ContactMet(one.id, one.person.identity, one.person.device, one.space)
        self._conversations.end(one, met)
        self._promote(peer, one.person.device, now)

    def _promote(self, peer: Peer, device: bytes, now: float) -> None:
        """Both ends were proved inside the invite: from now on it is an ordinary connection of two devices."""
        self._answering.pop(peer.conn, None)
        peer.purpose = Purpose.HELLO
        peer.main = peer.mux.open("kithkin/hello/1")
        self._handshake.proved(peer, device, now)

    def _send(self, peer: Peer, effects: Iterable[object]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                peer.mux.send(peer.main, 0, effect.data)
            elif isinstance(effect, Failed):
                peer.drop(self._profile.effects, effect.sentence)
