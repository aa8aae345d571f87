"""The side of an invite that was given the text: it dials I and speaks first."""

from __future__ import annotations

from enum import Enum

from identity.codec import Reader, Writer
from identity.device import DeviceKeys
from identity.device_set import active_devices
from identity.errors import DecodeError
from identity.inner import BROKEN, REFUSE, SESSION, Failed, Send, failed, hear, read_refusal, say, say_refusal
from identity.invite import (
    MAX_EXTRA,
    MAX_JOIN,
    UNPROVED,
    DirectSpace,
    InviteDone,
    InviteeEffect,
    InviteMessage,
    Person,
    SpaceOffered,
    encode_person,
    read_person,
)
from identity.invite_code import InvitePayload, encode_invite
from identity.keys import Random, check_point, to_agreement
from identity.labels import Label
from identity.noise import IKPSK1, NoiseSession
from identity.proof import INITIATOR, RESPONDER, device_proof, same
from identity.transitions import Call, Event, Handshake, Position


class State(Enum):
    """What an invitee waits for."""

    START = "nothing was sent"
    NOISE = "waits for Noise 2"
    OFFER = "waits for OFFER"
    OFFERED = "waits for its shell to make a writer"
    DONE = "waits for DONE"
    OVER = "nothing more will come"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.START, Call.START): State.NOISE,
    (State.NOISE, Handshake.NOISE_2): State.OFFER,
    (State.OFFER, InviteMessage.OFFER): State.OFFERED,
    (State.OFFERED, Call.JOIN): State.DONE,
    (State.OFFERED, Call.DECLINE): State.OVER,
    (State.DONE, InviteMessage.DONE): State.OVER,
}


class Invitee:
    """The side that was given the text.  `start`, `receive`, then `join`."""

    def __init__(self, payload: InvitePayload, *, keys: DeviceKeys, me: Person, outer_hash: bytes, rng: Random) -> None:
        self._payload, self._keys, self._me = payload, keys, me
        self._noise = NoiseSession.initiate(
            IKPSK1,
            encode_invite(payload) + outer_hash,
            keys.agreement,
            rng,
            remote_static=to_agreement(payload.key),
            psk=payload.secret,
        )
        self._position = Position(TRANSITIONS, State.START)
        self._until = 0.0
        self._them = self._secret = b""

    def start(self, now: float) -> list[InviteeEffect]:
        """The first message, unless the invite is our own or has expired.  Raises KithkinError as `Inviter.offer`."""
        if not self._position.takes(Call.START):
            return []
        if self._payload.identity == self._me.identity:
            return self._end(failed("own_code"))
        if now > self._payload.expires:
            return self._end(failed("expired"))
        self._position.go(Call.START)
        self._until = now + SESSION
        return [Send(self._noise.write(encode_person(self._me)))]

    def receive(self, message: bytes, now: float) -> list[InviteeEffect]:
        """What a message of the other side leads to.  Never raises; nothing once the session is over."""
        if self._position.state is State.OVER:
            return []
        if now > self._until:
            return self._end(failed("timeout"))
        try:
            if self._position.takes(Handshake.NOISE_2):
                return self._noise_2(message)
            kind, reader = hear(self._noise, message)
            if kind == REFUSE:
                return self._end(read_refusal(reader))
            self._position.check(kind)
            match kind:
                case InviteMessage.OFFER:
                    return self._offer(reader)
                case _:
                    return self._done(reader)
        except DecodeError:
            return self._end(BROKEN)

    def join(self, answer: bytes, now: float) -> list[InviteeEffect]:
        """Our writer and consent for the space, in the form that the layer above gave it; at most 4 KiB."""
        if not self._position.takes(Call.JOIN):
            return []
        if len(answer) > MAX_JOIN:
            raise ValueError("the answer to an offer is too long")
        self._position.go(Call.JOIN)
        proof = device_proof(Label.INVITE, self._secret, self._noise.hash, INITIATOR, self._me.device, self._them)
        return [say(self._noise, InviteMessage.JOIN, Writer().raw(proof).buffer(answer).finish())]

    def decline(self) -> list[InviteeEffect]:
        """In place of `join`."""
        if not self._position.takes(Call.DECLINE):
            return []
        return [say_refusal(self._noise, "not_allowed"), *self._end(Failed("not_allowed", "You declined."))]

    def closed(self) -> list[InviteeEffect]:
        """The connection is gone."""
        return [] if self._position.state is State.OVER else self._end(failed("timeout"))

    def _noise_2(self, message: bytes) -> list[InviteeEffect]:
        if self._noise.read(message):
            raise DecodeError("nothing was to be said yet")
        self._position.go(Handshake.NOISE_2)
        return []

    def _offer(self, reader: Reader) -> list[InviteeEffect]:
        proof = reader.fixed(32)
        space, writer, z = reader.fixed(32), check_point(reader.fixed(32)), reader.fixed(32)
        person = read_person(reader)
        offered = DirectSpace(space, writer, z, reader.buffer(MAX_EXTRA))
        reader.end()
        active = {d.id: d for d in active_devices(person.statements, person.identity)}
        if person.identity != self._payload.identity or person.device not in active:
            return self._end(UNPROVED)
        self._secret = self._keys.agreement.agree(active[person.device].agreement)
        self._them = person.device
        expected = device_proof(Label.INVITE, self._secret, self._noise.hash, RESPONDER, person.device, self._me.device)
        if not same(proof, expected):
            return self._end(UNPROVED)
        self._position.go(InviteMessage.OFFER)
        return [SpaceOffered(person, offered)]

    def _done(self, reader: Reader) -> list[InviteeEffect]:
        reader.end()
        self._position.go(InviteMessage.DONE)
        return [InviteDone()]

    def _end(self, last: Failed) -> list[InviteeEffect]:
        self._position.state = State.OVER
        return [last]
