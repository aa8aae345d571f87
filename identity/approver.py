"""The side of pairing that scans: an active device that certifies a new one once its person says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum, auto

from identity.code_exchange import ELEMENT, MAC, TRIES, CodeExchange, code_mac, draw_code
from identity.codec import Reader, Writer
from identity.device import DeviceKeys, device_id
from identity.device_set import MAX_DEVICES, active_devices, generation_of, sendable
from identity.errors import DecodeError
from identity.inner import REFUSE, Failed, Send, failed, hear, read_refusal, say, say_refusal
from identity.keys import Random, to_agreement
from identity.labels import Label
from identity.noise import XKPSK0, NoiseSession
from identity.pairing import (
    ANSWER,
    COMMIT,
    CONFIRM,
    COUNTER,
    DECLINED,
    DONE,
    GRANT,
    JOIN,
    MAX_JOIN,
    SESSION,
    WRONG,
    ApproverEffect,
    AskApproval,
    Certified,
    Grant,
    Joined,
    Linked,
    NewDevice,
    ShowCode,
    decode_new_device,
    encode_grant,
)
from identity.pairing_code import PairPayload, encode_pair
from identity.proof import INITIATOR, RESPONDER, device_proof, same
from identity.statement import Statement, certificate_body, issue


class State(Enum):
    START = auto()
    NOISE_2 = auto()
    ASKED = auto()  # waits for our person
    ANSWERED = auto()  # waits for ANSWER
    COUNTERED = auto()  # waits for COUNTER
    STORING = auto()  # waits for our shell
    JOINING = auto()  # waits for JOIN
    ADMITTING = auto()  # waits for our shell
    OVER = auto()


HEARS = {State.ANSWERED: ANSWER, State.COUNTERED: COUNTER, State.JOINING: JOIN}
PROVED = (State.ANSWERED, State.COUNTERED, State.STORING, State.JOINING, State.ADMITTING)  # the session has keys


class Approver:
    """`start`, then `receive` each channel message; `approve` or `decline`, `grant`, `finish`.

    `statements` are all of the identity's.  Each call returns effects in order; `now` is in seconds.
    """

    def __init__(
        self,
        payload: PairPayload,
        *,
        keys: DeviceKeys,
        identity: bytes,
        statements: Iterable[Statement],
        outer_hash: bytes,
        rng: Random,
    ) -> None:
        self._payload = payload
        self._keys = keys
        self._identity = identity
        self._statements = tuple(statements)
        self._rng = rng
        self._noise = NoiseSession.initiate(
            XKPSK0,
            encode_pair(payload) + outer_hash,
            keys.agreement,
            rng,
            remote_static=to_agreement(payload.transport),
            psk=payload.psk,
        )
        self._state = State.START
        self._until = 0.0
        self._new = NewDevice(b"", b"", b"", "")
        self._device = b""
        self._history = False
        self._code = ""
        self._attempt = 0
        self._run: CodeExchange | None = None
        self._body = b""

    def start(self, now: float) -> list[ApproverEffect]:
        """The first message, unless there is a reason not to."""
        if self._state is not State.START:
            return []
        active = active_devices(self._statements, self._identity)
        if now > self._payload.expires:
            return self._end(failed("expired"))
        if self._keys.id not in {d.id for d in active}:
            return self._end(Failed("not_allowed", "This device was revoked; it cannot approve another."))
        if len(active) >= MAX_DEVICES:
            return self._end(failed("too_many_devices"))
        self._state = State.NOISE_2
        self._until = now + SESSION
        return [Send(self._noise.write())]

    def receive(self, message: bytes, now: float) -> list[ApproverEffect]:
        if self._state is State.OVER:
            return []
        if now > self._until:
            return self._refuse("expired")
        try:
            if self._state is State.NOISE_2:
                return self._noise_2(message)
            return self._transport(message, now)
        except DecodeError:
            return self._end(Failed("not_allowed", "The other side said something that does not belong here."))

    def approve(self, now: float, *, history: bool) -> list[ApproverEffect]:
        """The person agrees.  Only now does the new device learn who we are, and only its person sees the digits."""
        if self._state is not State.ASKED:
            return []
        if now > self._until:
            return self._end(failed("expired"))
        self._history = history
        self._code = draw_code(self._rng)
        try:
            last = Send(self._noise.write())
        except DecodeError:
            return self._end(Failed("not_allowed", "The other side said something that does not belong here."))
        return [last, *self._commit(), ShowCode(self._code)]

    def decline(self) -> list[ApproverEffect]:
        if self._state is not State.ASKED:
            return []
        return [Send(DECLINED), *self._end(Failed("not_allowed", "You declined."))]

    def grant(self, grant: Grant, now: float) -> list[ApproverEffect]:
        """After `Certified` was stored: what the new device gets.  Its statements must hold the new certificate.

        Raises KithkinError where there are more statements than one message takes.
        """
        if self._state is not State.STORING:
            return []
        body = encode_grant(replace(grant, statements=sendable(grant.statements, self._identity)))
        self._state = State.JOINING
        return [say(self._noise, GRANT, body)]

    def finish(self, now: float) -> list[ApproverEffect]:
        """After `Joined` was acted on."""
        if self._state is not State.ADMITTING:
            return []
        self._state = State.OVER
        return [say(self._noise, DONE), Linked()]

    def closed(self) -> list[ApproverEffect]:
        """The connection is gone.  A certificate that was issued stands: the person sees the device and may revoke."""
        return [] if self._state is State.OVER else self._end(failed("timeout"))

    def _noise_2(self, message: bytes) -> list[ApproverEffect]:
        self._new = decode_new_device(self._noise.read(message))
        self._device = device_id(self._new.signing, self._new.agreement)
        if self._device == self._keys.id:
            raise DecodeError("that is this device")
        self._state = State.ASKED
        return [AskApproval(self._device, self._new.name)]

    def _commit(self) -> list[ApproverEffect]:
        self._run = CodeExchange(self._code, self._noise.hash, self._rng)
        self._state = State.ANSWERED
        return [say(self._noise, COMMIT, self._run.element)]

    def _transport(self, message: bytes, now: float) -> list[ApproverEffect]:
        kind, reader = hear(self._noise, message)
        if kind == REFUSE:
            return self._end(read_refusal(reader))
        if kind != HEARS.get(self._state):
            raise DecodeError("message out of turn")
        if kind == ANSWER:
            return self._answer(reader, now)
        if kind == COUNTER:
            return self._counter(reader)
        answer = reader.buffer(MAX_JOIN)
        reader.end()
        self._state = State.ADMITTING
        return [Joined(self._device, answer)]

    def _answer(self, reader: Reader, now: float) -> list[ApproverEffect]:
        element, mac = reader.fixed(ELEMENT), reader.fixed(MAC)
        reader.end()
        if self._run is None:
            raise DecodeError("message out of turn")
        hashed = self._noise.hash
        key = self._run.finish(element)
        self._run = None
        if not same(mac, code_mac(key, RESPONDER, self._attempt, hashed)):
            self._attempt += 1
            wrong: list[ApproverEffect] = [say(self._noise, WRONG)]
            return wrong + (self._commit() if self._attempt < TRIES else self._end(failed("wrong_code")))
        generation = generation_of(self._statements, self._identity)
        if generation is None:
            raise DecodeError("we are nobody's device")
        self._body = certificate_body(
            self._identity,
            self._new.signing,
            self._new.agreement,
            created=int(now),
            generation=generation,
            signer=(self._keys.signing.public, self._keys.agreement.public),
        )
        secret = self._keys.agreement.agree(self._new.agreement)
        proof = device_proof(Label.PAIRING, secret, hashed, INITIATOR, self._keys.id, self._device)
        self._state = State.COUNTERED
        body = Writer().raw(code_mac(key, INITIATOR, self._attempt, hashed)).raw(proof).buffer(self._body).finish()
        return [say(self._noise, CONFIRM, body)]

    def _counter(self, reader: Reader) -> list[ApproverEffect]:
        proof, counter = reader.fixed(32), reader.fixed(64)
        reader.end()
        secret = self._keys.agreement.agree(self._new.agreement)
        if not same(
            proof, device_proof(Label.PAIRING, secret, self._noise.hash, RESPONDER, self._device, self._keys.id)
        ):
            raise DecodeError("the new device does not prove its key")
        certificate = issue(self._body, counter, self._keys.signing)
        if self._device not in {d.id for d in active_devices((*self._statements, certificate), self._identity)}:
            return self._refuse("not_allowed")  # it was revoked, and stays so; or six others are older
        self._state = State.STORING
        return [Certified(certificate, self._new, self._history)]

    def _refuse(self, code: str) -> list[ApproverEffect]:
        sent: list[ApproverEffect] = [say_refusal(self._noise, code)] if self._state in PROVED else []
        return sent + self._end(failed(code))

    def _end(self, last: Failed) -> list[ApproverEffect]:
        self._state = State.OVER
        return [last]
