"""The side of pairing that scans: an active device that certifies a new one once its person says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from identity.code_exchange import ELEMENT, MAC, TRIES, CodeExchange, code_mac, draw_code
from identity.codec import Reader, Writer
from identity.device import DeviceKeys, device_id
from identity.device_set import MAX_DEVICES, active_devices, generation_of, sendable
from identity.errors import DecodeError
from identity.inner import BROKEN, REFUSE, SESSION, Failed, Send, failed, hear, read_refusal, say, say_refusal
from identity.keys import Random, to_agreement
from identity.labels import Label
from identity.noise import XKPSK0, NoiseSession
from identity.pairing import (
    DECLINED,
    MAX_JOIN,
    ApproverEffect,
    AskApproval,
    Certified,
    DeviceJoined,
    NewDevice,
    PairingDone,
    PairingGrant,
    PairingMessage,
    ShowCode,
    decode_new_device,
    encode_pairing_grant,
)
from identity.pairing_code import PairPayload, encode_pair
from identity.proof import INITIATOR, RESPONDER, device_proof, same
from identity.statement import Statement, certificate_body, issue
from identity.transitions import Call, Event, Handshake, Position, Verdict


class State(Enum):
    """What an approver waits for."""

    START = "nothing was sent"
    NOISE_2 = "waits for Noise 2"
    ASKED = "waits for its person"
    ANSWERED = "waits for ANSWER"
    COUNTERED = "waits for COUNTER"
    STORING = "waits for its shell to store the certificate"
    JOINING = "waits for JOIN"
    ADMITTING = "waits for its shell to admit the writer"
    OVER = "nothing more will come"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.START, Call.START): State.NOISE_2,
    (State.NOISE_2, Handshake.NOISE_2): State.ASKED,
    (State.ASKED, Call.APPROVE): State.ANSWERED,
    (State.ASKED, Call.DECLINE): State.OVER,
    (State.ANSWERED, PairingMessage.ANSWER): State.COUNTERED,
    (State.ANSWERED, Verdict.WRONG_CODE): State.ANSWERED,  # three times, then OVER
    (State.COUNTERED, PairingMessage.COUNTER): State.STORING,
    (State.STORING, Call.GRANT): State.JOINING,
    (State.JOINING, PairingMessage.JOIN): State.ADMITTING,
    (State.ADMITTING, Call.FINISH): State.OVER,
}
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
        self._position = Position(TRANSITIONS, State.START)
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
        if not self._position.takes(Call.START):
            return []
        active = active_devices(self._statements, self._identity)
        if now > self._payload.expires:
            return self._end(failed("expired"))
        if self._keys.id not in {d.id for d in active}:
            return self._end(Failed("not_allowed", "This device was revoked; it cannot approve another."))
        if len(active) >= MAX_DEVICES:
            return self._end(failed("too_many_devices"))
        self._position.go(Call.START)
        self._until = now + SESSION
        return [Send(self._noise.write())]

    def receive(self, message: bytes, now: float) -> list[ApproverEffect]:
        """What a message of the other side leads to.  Never raises; nothing once the session is over."""
        if self._position.state is State.OVER:
            return []
        if now > self._until:
            return self._refuse("expired")
        try:
            if self._position.takes(Handshake.NOISE_2):
                return self._noise_2(message)
            kind, reader = hear(self._noise, message)
            if kind == REFUSE:
                return self._end(read_refusal(reader))
            self._position.check(kind)
            match kind:
                case PairingMessage.ANSWER:
                    return self._answer(reader, now)
                case PairingMessage.COUNTER:
                    return self._counter(reader)
                case _:
                    return self._join(reader)
        except DecodeError:
            return self._end(BROKEN)

    def approve(self, now: float, *, history: bool) -> list[ApproverEffect]:
        """The person agrees.  Only now does the new device learn who we are, and only its person sees the digits."""
        if not self._position.takes(Call.APPROVE):
            return []
        if now > self._until:
            return self._end(failed("expired"))
        self._history = history
        self._code = draw_code(self._rng)
        try:
            last = Send(self._noise.write())
        except DecodeError:
            return self._end(BROKEN)
        self._position.go(Call.APPROVE)
        return [last, self._commit(), ShowCode(self._code)]

    def decline(self) -> list[ApproverEffect]:
        """The person says no: nothing that names this device is sent."""
        if not self._position.takes(Call.DECLINE):
            return []
        return [Send(DECLINED), *self._end(Failed("not_allowed", "You declined."))]

    def grant(self, grant: PairingGrant, now: float) -> list[ApproverEffect]:
        """After `Certified` was stored: what the new device gets.  Its statements must hold the new certificate.

        Raises KithkinError where there are more statements than one message takes.
        """
        if not self._position.takes(Call.GRANT):
            return []
        body = encode_pairing_grant(replace(grant, statements=sendable(grant.statements, self._identity)))
        self._position.go(Call.GRANT)
        return [say(self._noise, PairingMessage.GRANT, body)]

    def finish(self, now: float) -> list[ApproverEffect]:
        """After `DeviceJoined` was acted on."""
        if not self._position.takes(Call.FINISH):
            return []
        self._position.go(Call.FINISH)
        return [say(self._noise, PairingMessage.DONE), PairingDone()]

    def closed(self) -> list[ApproverEffect]:
        """The connection is gone.  A certificate that was issued stands: the person sees the device and may revoke."""
        return [] if self._position.state is State.OVER else self._end(failed("timeout"))

    def _noise_2(self, message: bytes) -> list[ApproverEffect]:
        self._new = decode_new_device(self._noise.read(message))
        self._device = device_id(self._new.signing, self._new.agreement)
        if self._device == self._keys.id:
            raise DecodeError("that is this device")
        self._position.go(Handshake.NOISE_2)
        return [AskApproval(self._device, self._new.name)]

    def _commit(self) -> Send:
        """The first message of a try."""
        self._run = CodeExchange(self._code, self._noise.hash, self._rng)
        return say(self._noise, PairingMessage.COMMIT, self._run.element)

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
            wrong = say(self._noise, PairingMessage.WRONG)
            if self._attempt == TRIES:
                return [wrong, *self._end(failed("wrong_code"))]
            self._position.go(Verdict.WRONG_CODE)
            return [wrong, self._commit()]
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
        self._position.go(PairingMessage.ANSWER)
        body = Writer().raw(code_mac(key, INITIATOR, self._attempt, hashed)).raw(proof).buffer(self._body).finish()
        return [say(self._noise, PairingMessage.CONFIRM, body)]

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
        self._position.go(PairingMessage.COUNTER)
        return [Certified(certificate, self._new, self._history)]

    def _join(self, reader: Reader) -> list[ApproverEffect]:
        answer = reader.buffer(MAX_JOIN)
        reader.end()
        self._position.go(PairingMessage.JOIN)
        return [DeviceJoined(self._device, answer)]

    def _refuse(self, code: str) -> list[ApproverEffect]:
        sent: list[ApproverEffect] = [say_refusal(self._noise, code)] if self._position.state in PROVED else []
        return sent + self._end(failed(code))

    def _end(self, last: Failed) -> list[ApproverEffect]:
        self._position.state = State.OVER
        return [last]
