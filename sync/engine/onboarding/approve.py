"""Approving a new device of mine: the side of a pairing that holds the account.  `docs/protocol.md`, "Pairing".

The core is `identity.approver`; here is what follows from it: a certificate, and the new device's admission to the
personal space.  All is durable before the message that promises it.
"""

from __future__ import annotations

from collections.abc import Iterable

from crdt.docs.own import DeviceName
from crdt.space.consent import verify_consent
from crdt.space.control import Admit
from identity.approver import Approver
from identity.device_set import MAX_DEVICES
from identity.errors import DecodeError, KithkinError
from identity.inner import Failed, Send
from identity.pairing import PROTOCOL as PAIR
from identity.pairing import AskApproval, Certified, DeviceJoined, PairingDone, PairingGrant, ShowCode
from identity.pairing_code import PairPayload, read_pair_code
from sync.engine.dialling import Dialling, encode_whereabouts
from sync.engine.effects import CodeShown, DeviceChanged, DeviceLinked
from sync.engine.onboarding.conversation import Conversation, Conversations
from sync.engine.onboarding.messages import decode_answer
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.space.epochs import open_epoch
from sync.space.obligations import SHUT_OUT


class Approvals:
    """Pairings in which this device lets another one in."""

    def __init__(self, profile: Profile, dialling: Dialling, conversations: Conversations) -> None:
        self._profile = profile
        self._dialling = dialling
        self._conversations = conversations

    def check(self, text: str, now: float) -> PairPayload:
        """What a pairing text says, if a device may be added at all.  Raises KithkinError."""
        payload = read_pair_code(text, now)
        if self._profile.out:
            raise KithkinError("not_allowed", SHUT_OUT)
        if len(self._profile.directory.active(self._profile.account.identity)) >= MAX_DEVICES:
            raise KithkinError("too_many_devices", "There are six devices already; revoke one first.")
        self._refuse_twice(payload)
        return payload

    def begin(self, payload: PairPayload, history: bool, now: float) -> int:
        """Dials the device that shows the text; `OnboardingStep`s follow, the digits first.  Raises as `check`."""
        self._refuse_twice(payload)
        one = self._conversations.begin(now)
        one.pair, one.history = payload, history
        self._conversations.dial(one, now)
        return one.id

    def _refuse_twice(self, payload: PairPayload) -> None:
        """A text is for one conversation, so a second one would wait for nothing."""
        if self._conversations.pairs_with(payload.transport):
            sentence = "That device is being approved already: finish that, or end it and try again."
            raise KithkinError("not_allowed", sentence)

    def dialled(self, peer: Peer, one: Conversation, now: float) -> None:
        """The connection to the new device is open.  Raises KithkinError where the text cannot be used on it."""
        if one.pair is None:
            return
        account = self._profile.account
        peer.main = peer.mux.open(PAIR)
        one.approver = Approver(
            one.pair,
            keys=account.keys,
            identity=account.identity,
            statements=self._profile.directory.sent(account.identity),
            outer_hash=peer.hash,
            rng=self._profile.rng,
        )
        self._perform(peer, one, one.approver.start(now), now)

    def receive(self, peer: Peer, one: Conversation, body: bytes, now: float) -> None:
        """One message of the new device."""
        if one.approver is not None:
            self._perform(peer, one, one.approver.receive(body, now), now)

    def _perform(self, peer: Peer, one: Conversation, effects: Iterable[object], now: float) -> None:
        for effect in effects:
            match effect:
                case Send(data):
                    peer.mux.send(peer.main, 0, data)
                case Failed():
                    self._conversations.fail(one, effect)
                    peer.drop(self._profile.effects, effect.sentence)
                case AskApproval():
                    # The person said yes to what is granted before we dialled; the digits say to which device.
                    if one.approver is not None:
                        self._perform(peer, one, one.approver.approve(now, history=one.history), now)
                case ShowCode(code):
                    self._profile.effects.append(CodeShown(one.id, code))
                case Certified():
                    self._certified(peer, one, effect, now)
                case DeviceJoined():
                    self._admit(peer, one, effect, now)
                case PairingDone():
                    self._conversations.end(one, DeviceLinked(one.id, one.device))

    def _certified(self, peer: Peer, one: Conversation, effect: Certified, now: float) -> None:
        profile, personal = self._profile, self._profile.personal
        profile.learn([effect.certificate])
        profile.commit(int(now * 1000))
        if personal.mine is None or personal.z is None or one.approver is None:
            return
        one.device, one.new = effect.certificate.device, effect.device
        grant = PairingGrant(
            profile.directory.sent(profile.account.identity),
            personal.id,
            personal.mine.writer,
            personal.z,
            one.history,
            b"" if self._dialling.where is None else encode_whereabouts(self._dialling.where),
        )
        self._perform(peer, one, one.approver.grant(grant, now), now)

    def _admit(self, peer: Peer, one: Conversation, effect: DeviceJoined, now: float) -> None:
        """The new device's writer enters the personal space, with an epoch that it can read."""
        profile, personal, now_ms = self._profile, self._profile.personal, int(now * 1000)
        try:
            writer, consent = decode_answer(effect.answer)
        except DecodeError:
            peer.drop(self._profile.effects, "not a writer and a consent")
            return
        new = one.new
        if new is None:
            return
        statements = profile.directory.encoded(profile.account.identity, effect.device)
        admit = Admit(writer, effect.device, statements, new.prekey, consent)
        mine = personal.mine
        if mine is None or not verify_consent(personal.id, mine.core, admit):
            peer.drop(self._profile.effects, "a consent that does not fit")
            return
        open_epoch(personal, now_ms, [admit], recovery=profile.recovery)
        name = new.name or "device"
        profile.note(now_ms, DeviceName(effect.device, name))
        profile.commit(now_ms)
        profile.effects.append(DeviceChanged(effect.device, f'A new device was linked: "{name}"'))
        if one.approver is not None:
            self._perform(peer, one, one.approver.finish(now), now)
