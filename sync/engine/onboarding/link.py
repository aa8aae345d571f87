"""The new device's side of pairing: keys, a text to show, one conversation, and then a profile in the store.

An engine of its own, because there is no profile yet.  The account is durable before we join, so a crash after that
leaves a profile that works.  `docs/protocol.md`, "Pairing".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from crdt.log.manifest import core_key
from crdt.space.consent import sign_consent
from identity.errors import DecodeError
from identity.hints import Address
from identity.inner import Failed, Send, Stray
from identity.joiner import Display, Joiner
from identity.kem import Kem
from identity.keys import Random
from identity.pairing import PROTOCOL, Claimed, Granted, NeedCode, PairingDone, WrongCode
from identity.pairing_code import new_pair_code
from netstack.wire.protomux import ChannelClosed, Fault, Message, Protomux
from sync.account.account import new_account
from sync.account.context import new_writer
from sync.engine.dialling import decode_whereabouts
from sync.engine.effects import (
    CodeWanted,
    CodeWrong,
    DeviceLinked,
    Disconnect,
    Effect,
    Listen,
    OnboardingFailed,
    Transmit,
    Unlisten,
)
from sync.engine.inputs import ConnectionUp, FoundKey
from sync.engine.onboarding.messages import encode_answer
from sync.engine.profile import join_profile
from sync.store.port import Batch, Store, Table

CONVERSATION = 0  # there is one alone


class Linking:
    """Shows `text`; `OnboardingStep`s say how it goes on.  `identity` once somebody let this device in."""

    def __init__(
        self,
        store: Store,
        kind: str,
        name: str,
        hints: Iterable[Address],
        rng: Random,
        now: float,
        kem: Kem | None,
        *,
        granted: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._on_granted = granted  # once the account is durable, before the other side hears of it
        self._rng = rng
        self._account = new_account(bytes(32), kind, rng, now, kem=kem)
        self._code = new_pair_code(rng, now, hints)
        self._display = Display(self._code, self._account.keys, name, rng)
        self._muxes: dict[int, tuple[Protomux, int, Joiner]] = {}
        self._joiner: Joiner | None = None
        self._conn: int | None = None
        self._effects: list[Effect] = [Listen(self._code.key)]
        self.over = False
        self.identity = b""

    @property
    def text(self) -> str:
        return self._code.payload.text

    @property
    def device(self) -> bytes:
        return self._account.device

    @property
    def expires(self) -> int:
        return self._code.payload.expires

    def opened(self, connection: ConnectionUp, now: float) -> None:
        """Somebody dialled the key in the text."""
        mux = Protomux()
        channel = mux.open(PROTOCOL)
        self._muxes[connection.conn] = (mux, channel, self._display.connected(connection.handshake))

    def frames(self, arrived: Iterable[tuple[int, bytes]], now: float) -> None:
        for conn, frame in arrived:
            found = self._muxes.get(conn)
            if found is None:
                continue
            mux, channel, joiner = found
            for event in mux.receive(frame):
                match event:
                    case Message(channel=number, body=body) if number == channel:
                        self._act(conn, joiner, joiner.receive(body, now), now)
                    case ChannelClosed() | Fault():
                        self._effects.append(Disconnect(conn, "the conversation ended"))

    def submit(self, code: str, now: float) -> None:
        """The digits as typed."""
        if self._joiner is not None and self._conn is not None:
            self._act(self._conn, self._joiner, self._joiner.submit_code(code, now), now)

    def closed(self, conn: int, now: float) -> None:
        found = self._muxes.pop(conn, None)
        if found is not None:
            self._act(conn, found[2], found[2].closed(), now)

    def failed(self, attempt: int, now: float) -> None:
        """Nothing is dialled here."""

    def found(self, found: FoundKey, now: float) -> None:
        """Nothing is looked for here."""

    def sought(self, public: bytes, value: bytes, now: float) -> None:
        """Nothing is looked for here."""

    def wake(self, now: float) -> None:
        """Nothing waits here: how long the text is shown is for the shell to say."""

    def next_wake(self) -> float:
        return inf

    def tick(self, now: float) -> None:
        """Frames for the other side; what they promise was committed when it was made."""
        for conn, (mux, _, _) in self._muxes.items():
            self._effects += [Transmit(conn, frame) for frame in mux.take_outgoing()]

    def take_effects(self) -> list[Effect]:
        """Effects in order; connections are closed last, so that the last word on them is still sent."""
        effects, self._effects = self._effects, []
        return sorted(effects, key=lambda effect: isinstance(effect, Disconnect))

    def _act(self, conn: int, joiner: Joiner, effects: Iterable[object], now: float) -> None:
        found = self._muxes.get(conn)
        for effect in effects:
            match effect:
                case Send(data):
                    if found is not None:
                        found[0].send(found[1], 0, data)
                case Stray(sentence):
                    self._effects.append(Disconnect(conn, sentence))
                case Claimed():
                    self._joiner, self._conn = joiner, conn
                    self._effects.append(Unlisten(self._code.key.public))
                case NeedCode():
                    self._effects.append(CodeWanted(CONVERSATION))
                case WrongCode(left):
                    self._effects.append(CodeWrong(CONVERSATION, left))
                case Granted():
                    self._granted(conn, joiner, effect, now)
                case PairingDone():
                    self.over = True
                    self._effects.append(DeviceLinked(CONVERSATION, self._account.device))
                case Failed():
                    if conn == self._conn or self._conn is None:
                        self.over = True
                        self._effects.append(OnboardingFailed(CONVERSATION, effect.code, effect.sentence))
                    self._effects.append(Disconnect(conn, effect.sentence))

    def _granted(self, conn: int, joiner: Joiner, granted: Granted, now: float) -> None:
        grant, rng = granted.grant, self._rng
        self.identity = granted.identity
        account = self._account = type(self._account)(
            granted.identity, self._account.keys, self._account.transports, self._account.kind, grant.history
        )
        key = new_writer(rng)
        consent = sign_consent(
            key,
            grant.space,
            core_key(grant.writer),
            identity=None,
            device=account.device,
            prekey=account.keys.prekey.public,
        )
        join_profile(self._store, account, grant.statements, grant.space, grant.z, key, grant.writer, rng)
        if grant.extra:
            try:
                decode_whereabouts(grant.extra)
            except DecodeError:
                pass  # a hint, and a wrong one: the approver finds us, or we meet by the DHT
            else:
                batch = Batch()
                batch.put(Table.PEER, granted.approver, grant.extra)
                self._store.write(batch, durable=True)
        self._on_granted()
        self._act(conn, joiner, joiner.join(encode_answer(key.public, consent), now), now)
