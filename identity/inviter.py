"""The side of an invite that made the text: it answers under I, on any device of its identity."""

from __future__ import annotations

from enum import Enum

from identity.codec import Reader, Writer
from identity.device import DeviceKeys
from identity.errors import DecodeError
from identity.inner import BROKEN, REFUSE, SESSION, Failed, Send, Stray, failed, hear, read_refusal, say, say_refusal
from identity.invite import (
    MAX_EXTRA,
    MAX_JOIN,
    UNPROVED,
    DirectSpace,
    InviteAsked,
    InviteDone,
    InviteeJoined,
    InviteMessage,
    InviterEffect,
    Person,
    decode_person,
    speaks_for,
    write_person,
)
from identity.invite_code import InviteCode, encode_invite
from identity.keys import AgreementKey, Random
from identity.labels import Label
from identity.noise import IKPSK1, NoiseSession
from identity.proof import INITIATOR, RESPONDER, device_proof, same
from identity.transitions import Call, Event, Handshake, Position


class State(Enum):
    """What an inviter waits for."""

    NOISE = "waits for Noise 1"
    ASKED = "waits for its shell to find or make the space"
    JOIN = "waits for JOIN"
    JOINED = "waits for its shell to add the writer"
    OVER = "nothing more will come"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.NOISE, Handshake.NOISE_1): State.ASKED,
    (State.ASKED, Call.OFFER): State.JOIN,
    (State.ASKED, Call.REFUSE): State.OVER,
    (State.JOIN, InviteMessage.JOIN): State.JOINED,
    (State.JOINED, Call.FINISH): State.OVER,
    (State.JOINED, Call.REFUSE): State.OVER,
}


class Inviter:
    """The side that made the text.  `receive`, then `offer`, then `finish`; or `refuse` in place of either.

    `me` is this device as the invitee will see it; `used_by` the identity that used the invite, if one did.
    """

    def __init__(
        self,
        code: InviteCode,
        *,
        keys: DeviceKeys,
        me: Person,
        used_by: bytes | None,
        outer_hash: bytes,
        rng: Random,
    ) -> None:
        self._code, self._keys, self._me, self._used_by = code, keys, me, used_by
        self._noise = NoiseSession.respond(
            IKPSK1,
            encode_invite(code.payload) + outer_hash,
            AgreementKey.from_signing(code.key),
            rng,
            psk=code.payload.secret,
        )
        self._position = Position(TRANSITIONS, State.NOISE)
        self._until = 0.0
        self._person: Person | None = None
        self._secret = b""

    def receive(self, message: bytes, now: float) -> list[InviterEffect]:
        """What a message of the other side leads to.  Never raises; nothing once the session is over."""
        if self._position.state is State.OVER:
            return []
        try:
            if self._position.takes(Handshake.NOISE_1):
                return self._noise_1(message, now)
            if now > self._until:
                return self._refuse("timeout")
            kind, reader = hear(self._noise, message)
            if kind == REFUSE:
                return self._end(read_refusal(reader))
            self._position.check(kind)
            return self._join(reader)
        except DecodeError:
            if self._position.state is State.NOISE:
                self._position.state = State.OVER
                return [Stray("It does not hold the invite.")]
            return self._end(BROKEN)

    def offer(self, space: DirectSpace, now: float) -> list[InviterEffect]:
        """After `InviteAsked`.  Raises KithkinError where we have more statements than one message takes."""
        if not self._position.takes(Call.OFFER) or self._person is None:
            return []
        them = self._person.device
        proof = device_proof(Label.INVITE, self._secret, self._noise.hash, RESPONDER, self._me.device, them)
        if len(space.extra) > MAX_EXTRA:
            raise ValueError("too much beside the offer")
        out = Writer().raw(proof).raw(space.space).raw(space.writer).raw(space.z)
        write_person(out, self._me)
        self._position.go(Call.OFFER)
        return [say(self._noise, InviteMessage.OFFER, out.buffer(space.extra).finish())]

    def finish(self, now: float) -> list[InviterEffect]:
        """After `InviteeJoined` was stored."""
        if not self._position.takes(Call.FINISH):
            return []
        self._position.go(Call.FINISH)
        return [say(self._noise, InviteMessage.DONE), InviteDone()]

    def refuse(self, code: str) -> list[InviterEffect]:
        """In place of `offer` or `finish`: `already_used`, `not_allowed`, …"""
        return self._refuse(code) if self._position.takes(Call.REFUSE) else []

    def closed(self) -> list[InviterEffect]:
        """The connection is gone."""
        if self._position.state in (State.OVER, State.NOISE):
            return []
        return self._end(failed("timeout"))

    def _noise_1(self, message: bytes, now: float) -> list[InviterEffect]:
        person = decode_person(self._noise.read(message))
        answer = Send(self._noise.write())
        self._until = now + SESSION
        self._person = person
        self._secret = self._keys.agreement.agree(self._noise.remote_static)
        self._position.go(Handshake.NOISE_1)
        if not speaks_for(person, self._noise.remote_static):
            return [answer, *self._refuse("not_allowed")]
        if person.identity == self._me.identity:
            return [answer, *self._refuse("own_code")]
        if now > self._code.payload.expires:
            return [answer, *self._refuse("expired")]
        if self._used_by not in (None, person.identity):
            return [answer, *self._refuse("already_used")]
        return [answer, InviteAsked(person)]

    def _join(self, reader: Reader) -> list[InviterEffect]:
        proof, answer = reader.fixed(32), reader.buffer(MAX_JOIN)
        reader.end()
        if self._person is None:
            raise DecodeError("message out of turn")
        them = self._person.device
        if not same(
            proof, device_proof(Label.INVITE, self._secret, self._noise.hash, INITIATOR, them, self._me.device)
        ):
            return self._end(UNPROVED)
        self._position.go(InviteMessage.JOIN)
        return [InviteeJoined(self._person, answer)]

    def _refuse(self, code: str) -> list[InviterEffect]:
        return [say_refusal(self._noise, code), *self._end(failed(code))]

    def _end(self, last: Failed) -> list[InviterEffect]:
        self._position.state = State.OVER
        return [last]
