"""The side of an invite that was given the text: it dials I and speaks first."""

from __future__ import annotations

from enum import Enum, auto

from identity.codec import Reader, Writer
from identity.device import DeviceKeys
from identity.device_set import active_devices
from identity.errors import DecodeError
from identity.inner import REFUSE, Failed, Send, failed, hear, read_refusal, say, say_refusal
from identity.invite import (
    BROKEN,
    DONE,
    JOIN,
    MAX_EXTRA,
    MAX_JOIN,
    OFFER,
    SESSION,
    UNPROVED,
    DirectSpace,
    InviteeEffect,
    Met,
    Offered,
    Person,
    encode_person,
    read_person,
)
from identity.invite_code import InvitePayload, encode_invite
from identity.keys import Random, check_point, to_agreement
from identity.labels import Label
from identity.noise import IKPSK1, NoiseSession
from identity.proof import INITIATOR, RESPONDER, device_proof, same


class State(Enum):
    START = auto()
    NOISE = auto()  # waits for Noise 2
    OFFER = auto()  # waits for OFFER
    OFFERED = auto()  # waits for our shell
    DONE = auto()  # waits for DONE
    OVER = auto()


HEARS = {State.OFFER: OFFER, State.DONE: DONE}


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
        self._state = State.START
        self._until = 0.0
        self._them = self._secret = b""

    def start(self, now: float) -> list[InviteeEffect]:
        """The first message, unless the invite is our own or has expired.  Raises KithkinError as `Inviter.offer`."""
        if self._state is not State.START:
            return []
        if self._payload.identity == self._me.identity:
            return self._end(failed("own_code"))
        if now > self._payload.expires:
            return self._end(failed("expired"))
        self._state = State.NOISE
        self._until = now + SESSION
        return [Send(self._noise.write(encode_person(self._me)))]

    def receive(self, message: bytes, now: float) -> list[InviteeEffect]:
        if self._state is State.OVER:
            return []
        if now > self._until:
            return self._end(failed("timeout"))
        try:
            if self._state is State.NOISE:
                if self._noise.read(message):
                    raise DecodeError("nothing was to be said yet")
                self._state = State.OFFER
                return []
            kind, reader = hear(self._noise, message)
            if kind == REFUSE:
                return self._end(read_refusal(reader))
            if kind != HEARS.get(self._state):
                raise DecodeError("message out of turn")
            if kind == OFFER:
                return self._offer(reader)
            reader.end()
            self._state = State.OVER
            return [Met()]
        except DecodeError:
            return self._end(BROKEN)

    def join(self, answer: bytes, now: float) -> list[InviteeEffect]:
        """Our writer and consent for the space, in the form that the layer above gave it; at most 4 KiB."""
        if self._state is not State.OFFERED:
            return []
        if len(answer) > MAX_JOIN:
            raise ValueError("the answer to an offer is too long")
        self._state = State.DONE
        proof = device_proof(Label.INVITE, self._secret, self._noise.hash, INITIATOR, self._me.device, self._them)
        return [say(self._noise, JOIN, Writer().raw(proof).buffer(answer).finish())]

    def decline(self) -> list[InviteeEffect]:
        """In place of `join`."""
        if self._state is not State.OFFERED:
            return []
        return [say_refusal(self._noise, "not_allowed"), *self._end(Failed("not_allowed", "You declined."))]

    def closed(self) -> list[InviteeEffect]:
        """The connection is gone."""
        return [] if self._state is State.OVER else self._end(failed("timeout"))

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
        self._state = State.OFFERED
        return [Offered(person, offered)]

    def _end(self, last: Failed) -> list[InviteeEffect]:
        self._state = State.OVER
        return [last]
