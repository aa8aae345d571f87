"""The side of pairing that shows the QR: a device with keys of its own and no identity yet.

One `Display` a QR; one `Joiner` a connection.  The first connection that proves to hold the QR claims it and every
other is a stray: three tries in all means three for the QR, not three for each of a hundred connections.
"""

from __future__ import annotations

from enum import Enum

from identity.code_exchange import ELEMENT, MAC, TRIES, CodeExchange, code_mac, normal_code
from identity.codec import Reader, Writer
from identity.device import DeviceKeys, device_id
from identity.device_set import active_devices
from identity.errors import DecodeError
from identity.inner import BROKEN, REFUSE, SESSION, Failed, Send, Stray, failed, hear, read_refusal, say
from identity.keys import AgreementKey, Random
from identity.labels import Label
from identity.noise import XKPSK0, NoiseSession
from identity.pairing import (
    DECLINED,
    MAX_BODY,
    MAX_JOIN,
    Claimed,
    Granted,
    JoinerEffect,
    NeedCode,
    NewDevice,
    PairingDone,
    PairingMessage,
    WrongCode,
    encode_new_device,
    read_pairing_grant,
    short_name,
)
from identity.pairing_code import PairCode, encode_pair
from identity.proof import INITIATOR, RESPONDER, device_proof, same
from identity.statement import Certificate, counter_sign, read_certificate_body, statement_id
from identity.transitions import Call, Event, Handshake, Position


class State(Enum):
    """What a joiner waits for."""

    NOISE_1 = "waits for Noise 1"
    NOISE_3 = "waits for Noise 3"
    COMMITTED = "waits for COMMIT"
    CODE = "waits for its person to type the digits"
    VERDICT = "waits for CONFIRM or WRONG"
    GRANTED = "waits for GRANT"
    WRITER = "waits for its shell to make a writer"
    LAST = "waits for DONE"
    OVER = "nothing more will come"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.NOISE_1, Handshake.NOISE_1): State.NOISE_3,
    (State.NOISE_3, Handshake.NOISE_3): State.COMMITTED,
    (State.COMMITTED, PairingMessage.COMMIT): State.CODE,
    (State.CODE, Call.SUBMIT_CODE): State.VERDICT,
    (State.VERDICT, PairingMessage.WRONG): State.COMMITTED,  # the third time OVER
    (State.VERDICT, PairingMessage.CONFIRM): State.GRANTED,
    (State.GRANTED, PairingMessage.GRANT): State.WRITER,
    (State.WRITER, Call.JOIN): State.LAST,
    (State.LAST, PairingMessage.DONE): State.OVER,
}


class Display:
    """One QR: its secrets, the keys of the device that shows it, and who claimed it.

    Make fresh `keys` for each: the counter-signature that a pairing gives away names one identity for ever, even if
    that pairing then fails, and a device must never stand under two.
    """

    def __init__(self, code: PairCode, keys: DeviceKeys, name: str, rng: Random) -> None:
        self.code, self.keys, self.rng = code, keys, rng
        self.new = NewDevice(keys.signing.public, keys.agreement.public, keys.prekey.public, short_name(name))
        self.claimed = False

    def connected(self, outer_hash: bytes) -> Joiner:
        """The core for one connection under T0; `outer_hash` is its 64-byte handshake hash."""
        return Joiner(self, outer_hash)


class Joiner:
    """`receive` each channel message, `submit_code`, `join`; each returns effects in order.  `now` is in seconds."""

    def __init__(self, display: Display, outer_hash: bytes) -> None:
        self._display = display
        self._keys = display.keys
        self._noise = NoiseSession.respond(
            XKPSK0,
            encode_pair(display.code.payload) + outer_hash,
            AgreementKey.from_signing(display.code.key),
            display.rng,
            psk=display.code.payload.psk,
        )
        self._position = Position(TRANSITIONS, State.NOISE_1)
        self._until = float(display.code.payload.expires)
        self._attempt = 0
        self._element = b""
        self._key = b""
        self._identity = self._approver = self._certificate = b""

    def receive(self, message: bytes, now: float) -> list[JoinerEffect]:
        """What a message of the other side leads to.  Never raises; nothing once the session is over."""
        if self._position.state is State.OVER:
            return []
        if now > self._until:
            return self._end(failed("expired"))
        try:
            if self._position.takes(Handshake.NOISE_1):
                return self._noise_1(message, now)
            if self._position.takes(Handshake.NOISE_3):
                return self._noise_3(message)
            kind, reader = hear(self._noise, message)
            if kind == REFUSE:
                return self._end(read_refusal(reader))
            self._position.check(kind)
            match kind:
                case PairingMessage.COMMIT:
                    return self._commit(reader)
                case PairingMessage.WRONG:
                    return self._wrong(reader)
                case PairingMessage.CONFIRM:
                    return self._confirm(reader)
                case PairingMessage.GRANT:
                    return self._grant(reader)
                case _:
                    return self._done(reader)
        except DecodeError:
            if self._position.state is State.NOISE_1:
                self._position.state = State.OVER
                return [Stray("It does not hold the pairing code.")]
            return self._end(BROKEN)

    def submit_code(self, typed: str, now: float) -> list[JoinerEffect]:
        """The digits as typed.  Whatever is no code counts as a try too, so that both sides count alike."""
        if not self._position.takes(Call.SUBMIT_CODE):
            return []
        if now > self._until:
            return self._end(failed("expired"))
        run = CodeExchange(normal_code(typed), self._noise.hash, self._display.rng)
        try:
            self._key = run.finish(self._element)
        except DecodeError:
            return self._end(BROKEN)
        self._position.go(Call.SUBMIT_CODE)
        mac = code_mac(self._key, RESPONDER, self._attempt, self._noise.hash)
        return [say(self._noise, PairingMessage.ANSWER, run.element + mac)]

    def join(self, answer: bytes, now: float) -> list[JoinerEffect]:
        """Our writer and consent for the personal space, in the form that the layer above gave it; at most 8 KiB."""
        if not self._position.takes(Call.JOIN):
            return []
        if len(answer) > MAX_JOIN:
            raise ValueError("the answer to a grant is too long")
        self._position.go(Call.JOIN)
        return [say(self._noise, PairingMessage.JOIN, Writer().buffer(answer).finish())]

    def closed(self) -> list[JoinerEffect]:
        """The connection is gone."""
        if self._position.state in (State.OVER, State.NOISE_1):
            return []
        return self._end(failed("timeout"))

    def _noise_1(self, message: bytes, now: float) -> list[JoinerEffect]:
        if self._noise.read(message):
            raise DecodeError("nothing was to be said yet")
        if self._display.claimed:
            self._position.state = State.OVER
            return [Stray("The pairing code is in use by another connection.")]
        self._display.claimed = True
        self._position.go(Handshake.NOISE_1)
        self._until = now + SESSION
        return [Claimed(), Send(self._noise.write(encode_new_device(self._display.new)))]

    def _noise_3(self, message: bytes) -> list[JoinerEffect]:
        if message == DECLINED:
            return self._end(Failed("not_allowed", "The other device declined."))
        if self._noise.read(message):
            raise DecodeError("nothing was to be said yet")
        self._position.go(Handshake.NOISE_3)
        return []

    def _commit(self, reader: Reader) -> list[JoinerEffect]:
        self._element = reader.fixed(ELEMENT)
        reader.end()
        self._position.go(PairingMessage.COMMIT)
        return [NeedCode(TRIES - self._attempt)]

    def _wrong(self, reader: Reader) -> list[JoinerEffect]:
        """We count ourselves: an impostor who says that a right code was wrong gets three guesses, no more."""
        reader.end()
        self._attempt += 1
        left = TRIES - self._attempt
        if left == 0:
            return [WrongCode(0), *self._end(failed("wrong_code"))]
        self._position.go(PairingMessage.WRONG)
        return [WrongCode(left)]

    def _confirm(self, reader: Reader) -> list[JoinerEffect]:
        mac, proof = reader.fixed(MAC), reader.fixed(32)
        body = reader.buffer(MAX_BODY)
        reader.end()
        hashed = self._noise.hash
        if not same(mac, code_mac(self._key, INITIATOR, self._attempt, hashed)):
            # the other side does not know the digits, whatever it says: this is what they are for
            return self._end(failed("wrong_code"))
        identity, signing, agreement, _, signer = read_certificate_body(body)
        mine = (self._keys.signing.public, self._keys.agreement.public)
        if (signing, agreement) != mine or signer is None or not same(signer[1], self._noise.remote_static):
            raise DecodeError("that certificate is not for us, or not from whom we speak with")
        secret = self._keys.agreement.agree(signer[1])
        approver, me = device_id(*signer), self._keys.id
        if not same(proof, device_proof(Label.PAIRING, secret, hashed, INITIATOR, approver, me)):
            raise DecodeError("the other device does not prove its key")
        self._identity, self._approver, self._certificate = identity, approver, statement_id(body)
        self._position.go(PairingMessage.CONFIRM)
        answer = device_proof(Label.PAIRING, secret, hashed, RESPONDER, me, approver)
        return [say(self._noise, PairingMessage.COUNTER, answer + counter_sign(body, self._keys.signing))]

    def _grant(self, reader: Reader) -> list[JoinerEffect]:
        grant = read_pairing_grant(reader)
        active = {d.id for d in active_devices(grant.statements, self._identity)}
        mine = [s for s in grant.statements if isinstance(s, Certificate) and s.id == self._certificate]
        if not mine or not active.issuperset((self._keys.id, self._approver)):
            return self._end(Failed("not_allowed", "The other device is not, or no longer, a device of that identity."))
        self._position.go(PairingMessage.GRANT)
        return [Granted(self._identity, self._approver, mine[0], grant)]

    def _done(self, reader: Reader) -> list[JoinerEffect]:
        reader.end()
        self._position.go(PairingMessage.DONE)
        return [PairingDone()]

    def _end(self, last: Failed) -> list[JoinerEffect]:
        self._position.state = State.OVER
        return [last]
