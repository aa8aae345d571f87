"""Pairings and invites that this device began: a table of conversations, each dialled again until somebody answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from identity.approver import Approver
from identity.inner import Failed
from identity.invite import Person
from identity.invite_code import InvitePayload
from identity.invitee import Invitee
from identity.pairing import NewDevice
from identity.pairing_code import PairPayload
from sync.engine.dialling import Dialling, PendingDial, hint_of
from sync.engine.effects import Disconnect, OnboardingFailed, OnboardingStep
from sync.engine.peer import Peer, Purpose
from sync.engine.profile import Profile

PATIENCE = 120.0  # seconds that a conversation is dialled again and again: what it dials may be announced only now
AGAIN = 1.0  # seconds between two of its dials
WAITED = Failed("timeout", "Nobody answered in time; is the other side still showing it, and is it reachable?")


@dataclass(slots=True)
class Conversation:
    """One pairing or invite under way.  until: Unix time to which it dials again; again: when next."""

    id: int
    until: float
    again: float | None = None
    peer: int | None = None
    approver: Approver | None = None
    invitee: Invitee | None = None
    pair: PairPayload | None = None
    invite: InvitePayload | None = field(default=None, repr=False)
    history: bool = True
    space: bytes = b""
    person: Person | None = None
    device: bytes = b""
    new: NewDevice | None = None


class Conversations:
    """Conversations of one profile by number.  What becomes of them is said as `OnboardingStep`s."""

    def __init__(self, profile: Profile, dialling: Dialling) -> None:
        self._profile = profile
        self._dialling = dialling
        self._open: dict[int, Conversation] = {}
        self._last = 0

    def begin(self, now: float, patience: float = PATIENCE) -> Conversation:
        """A new one; `dial` follows once it is known what to dial.  patience: seconds for which it dials again."""
        self._last += 1
        made = self._open[self._last] = Conversation(self._last, now + patience)
        return made

    def begin_again(self, one: Conversation, now: float) -> bool:
        """An invite whose connection broke, or whose inviter went away, is tried from its start while there is time.  A
        pairing is not: its text is for one connection."""
        if one.invite is None or self._open.get(one.id) is not one or now + AGAIN >= one.until:
            return False
        one.peer, one.invitee, one.person, one.space = None, None, None, b""
        one.again = now + AGAIN
        return True

    def get(self, number: int) -> Conversation | None:
        return self._open.get(number)

    def on(self, conn: int) -> Conversation | None:
        """The one that is held on this connection."""
        return next((one for one in self._open.values() if one.peer == conn), None)

    def pairs_with(self, transport: bytes) -> bool:
        """Whether one is under way with the device whose pairing text names this key."""
        return any(one.pair is not None and one.pair.transport == transport for one in self._open.values())

    def dial(self, one: Conversation, now: float) -> None:
        """At the addresses in the text, and by the one-use key that it names."""
        local = self._profile.account.transport(now)
        if one.pair is not None:
            hints = tuple(map(hint_of, one.pair.hints))
            self._dialling.dial(PendingDial(Purpose.PAIR, None, local, one.id), one.pair.transport, hints)
        elif one.invite is not None:
            hints = tuple(map(hint_of, one.invite.hints))
            self._dialling.dial(PendingDial(Purpose.INVITE, None, local, one.id), one.invite.key, hints)

    def wake(self, now: float) -> None:
        """Dials again where a dial came to nothing."""
        for one in self._open.values():
            if one.again is not None and one.again <= now:
                one.again = None
                self.dial(one, now)

    def next_wake(self) -> float:
        """Unix seconds at which `wake` is due; infinity if nothing waits."""
        return min((one.again for one in self._open.values() if one.again is not None), default=inf)

    def dial_failed(self, number: int, now: float) -> None:
        """Its dial came to nothing: another follows while there is time."""
        one = self._open.get(number)
        if one is None:
            return
        if now + AGAIN < one.until:
            one.again = now + AGAIN
        else:
            self._closed(one)

    def lost(self, peer: Peer, now: float) -> None:
        """A connection is gone, and with it the conversation that was held on it, unless that can begin again."""
        for one in [one for one in self._open.values() if one.peer == peer.conn]:
            if not self.begin_again(one, now):
                self._closed(one)

    def cancel(self, number: int) -> None:
        """Nobody waits for it any more."""
        found = self._open.pop(number, None)
        if found is not None and found.peer is not None:
            self._profile.effects.append(Disconnect(found.peer, "given up"))

    def fail(self, one: Conversation, failed: Failed) -> None:
        """It is over, and this is why."""
        self.end(one, OnboardingFailed(one.id, failed.code, failed.sentence))

    def end(self, one: Conversation, step: OnboardingStep) -> None:
        """It is over; said once."""
        if self._open.get(one.id) is one:
            self._profile.effects.append(step)
            del self._open[one.id]

    def _closed(self, one: Conversation) -> None:
        core = one.approver or one.invitee
        for effect in core.closed() if core is not None else [WAITED]:
            if isinstance(effect, Failed):
                self.fail(one, effect)
