"""The side of an invite that made the text: it answers under I, on any device of its identity."""

from __future__ import annotations

from enum import Enum, auto

from identity.codec import Reader, Writer
from identity.device import DeviceKeys
from identity.errors import DecodeError
from identity.inner import REFUSE, Failed, Send, Stray, failed, hear, read_refusal, say, say_refusal
from identity.invite import (
    BROKEN,
    DONE,
    JOIN,
    MAX_EXTRA,
    MAX_JOIN,
    OFFER,
    SESSION,
    UNPROVED,
    Asked,
    DirectSpace,
    InviterEffect,
    Joined,
    Met,
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


class State(Enum):
    NOISE = auto()  # waits for Noise 1
    ASKED = auto()  # waits for our shell
    JOIN = auto()  # waits for JOIN
    JOINED = auto()  # waits for our shell
    OVER = auto()


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
        self._state = State.NOISE
        self._until = 0.0
        self._person: Person | None = None
        self._secret = b""

    def receive(self, message: bytes, now: float) -> list[InviterEffect]:
        if self._state is State.OVER:
            return []
        try:
            if self._state is State.NOISE:
                return self._noise_1(message, now)
            if now > self._until:
                return self._refuse("timeout")
            kind, reader = hear(self._noise, message)
            if kind == REFUSE:
                return self._end(read_refusal(reader))
            if kind != JOIN or self._state is not State.JOIN:
                raise DecodeError("message out of turn")
            return self._join(reader)
        except DecodeError:
            if self._state is State.NOISE:
                self._state = State.OVER
                return [Stray("It does not hold the invite.")]
            return self._end(BROKEN)

    def offer(self, space: DirectSpace, now: float) -> list[InviterEffect]:
        """After `Asked`.  Raises KithkinError where we have more statements than one message takes."""
        if self._state is not State.ASKED or self._person is None:
            return []
        them = self._person.device
        proof = device_proof(Label.INVITE, self._secret, self._noise.hash, RESPONDER, self._me.device, them)
        if len(space.extra) > MAX_EXTRA:
            raise ValueError("too much beside the offer")
        out = Writer().raw(proof).raw(space.space).raw(space.writer).raw(space.z)
        write_person(out, self._me)
        self._state = State.JOIN
        return [say(self._noise, OFFER, out.buffer(space.extra).finish())]

    def finish(self, now: float) -> list[InviterEffect]:
        """After `Joined` was stored."""
        if self._state is not State.JOINED:
            return []
        self._state = State.OVER
        return [say(self._noise, DONE), Met()]

    def refuse(self, code: str) -> list[InviterEffect]:
        """In place of `offer` or `finish`: `already_used`, `not_allowed`, …"""
        return self._refuse(code) if self._state in (State.ASKED, State.JOINED) else []

    def closed(self) -> list[InviterEffect]:
        """The connection is gone."""
        if self._state in (State.OVER, State.NOISE):
            return []
        return self._end(failed("timeout"))

    def _noise_1(self, message: bytes, now: float) -> list[InviterEffect]:
        person = decode_person(self._noise.read(message))
        answer = Send(self._noise.write())
        self._until = now + SESSION
        self._person = person
        self._secret = self._keys.agreement.agree(self._noise.remote_static)
        self._state = State.ASKED
        if not speaks_for(person, self._noise.remote_static):
            return [answer, *self._refuse("not_allowed")]
        if person.identity == self._me.identity:
            return [answer, *self._refuse("own_code")]
        if now > self._code.payload.expires:
            return [answer, *self._refuse("expired")]
        if self._used_by not in (None, person.identity):
            return [answer, *self._refuse("already_used")]
        return [answer, Asked(person)]

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
        self._state = State.JOINED
        return [Joined(self._person, answer)]

    def _refuse(self, code: str) -> list[InviterEffect]:
        return [say_refusal(self._noise, code), *self._end(failed(code))]

    def _end(self, last: Failed) -> list[InviterEffect]:
        self._state = State.OVER
        return [last]
