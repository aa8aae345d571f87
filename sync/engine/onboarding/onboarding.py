"""People come in by invite, devices by pairing: each connection and wake-up goes to the part that it belongs to."""

from __future__ import annotations

from identity.errors import KithkinError
from identity.inner import Failed
from sync.engine.dialling import Dialling, PendingDial
from sync.engine.hello import DeviceHandshake
from sync.engine.onboarding.approve import Approvals
from sync.engine.onboarding.conversation import Conversations
from sync.engine.onboarding.invite import Invites
from sync.engine.peer import Peer, Purpose
from sync.engine.profile import Profile


class Onboarding:
    """`invites`: given and accepted; `approvals`: of new devices of mine; `conversations`: those that we began."""

    def __init__(self, profile: Profile, handshake: DeviceHandshake, dialling: Dialling) -> None:
        self._profile = profile
        self.conversations = Conversations(profile, dialling)
        self.invites = Invites(profile, handshake, dialling, self.conversations)
        self.approvals = Approvals(profile, dialling, self.conversations)

    def purpose(self, local: bytes) -> Purpose:
        """What a connection that came in under this key is for."""
        return Purpose.INVITE if self.invites.answers(local) else Purpose.HELLO

    def dialled(self, peer: Peer, pending: PendingDial, now: float) -> None:
        """A connection that a conversation of ours dialled is open."""
        one = self.conversations.get(pending.conversation)
        if one is None:
            peer.drop(self._profile.effects, "nobody waits for it any more")
            return
        one.peer = peer.conn
        try:
            if one.pair is not None:
                self.approvals.dialled(peer, one, now)
            else:
                self.invites.dialled(peer, one, now)
        except KithkinError as error:
            self.conversations.fail(one, Failed(error.code, error.message))

    def receive(self, peer: Peer, body: bytes, now: float) -> None:
        """One message of a pairing or invite channel."""
        if self.invites.answering(peer.conn):
            self.invites.receive_answer(peer, body, now)
            return
        one = self.conversations.on(peer.conn)
        if one is not None and one.pair is not None:
            self.approvals.receive(peer, one, body, now)
        elif one is not None:
            self.invites.receive(peer, one, body, now)

    def failed(self, pending: PendingDial, now: float) -> None:
        """A dial of a conversation came to nothing."""
        self.conversations.dial_failed(pending.conversation, now)

    def lost(self, peer: Peer, now: float) -> None:
        """A connection is gone."""
        self.invites.lost(peer)
        self.conversations.lost(peer, now)

    def wake(self, now: float) -> None:
        """Conversations whose dial came to nothing dial again."""
        self.conversations.wake(now)

    def next_wake(self) -> float:
        """Unix seconds at which `wake` is due; infinity if nothing waits."""
        return self.conversations.next_wake()
