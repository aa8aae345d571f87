"""Coming back with the 24 words: copies that contacts keep for one another, and how a recovered device finds them.

Every device seals its person's contacts and chats to the phrase and gives that copy to its contacts, who cannot read
it (`copies`).  It and they say in the DHT, under keys that follow from the phrase, where a copy is (`drops`).  A device
that was made from the words looks there, introduces itself with its certificate, asks for the copy, and asks to be let
into each chat anew (`returning`).  Devices that the words keep go on, and it joins them (`keeping`, `merging`).
`docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import cast

from crdt.docs.personal import PersonalView
from identity.hello import ExpectedDevice, HelloListener
from identity.kem import HybridKey
from identity.statement import want_certificate
from sync.engine.dialling import Dialling
from sync.engine.peer import Peer
from sync.engine.profile import Profile
from sync.engine.recovery.copies import Copies
from sync.engine.recovery.drops import Drops, chain
from sync.engine.recovery.merging import carry_notes, may_move, move
from sync.engine.recovery.messages import ASK, COPY, KEEP, KEPT, REJOIN
from sync.engine.recovery.returning import Returning

COPY_GAP = 5.0  # seconds between a change of my contacts and chats and the next copy
SETTLE = 60.0  # seconds after a copy was found in which a newer one may come
SEARCH = 86_400.0  # and in which those are asked whom the records of contacts name, should they be off


class Recovery:
    """What this device gives others to keep, keeps for them, and looks for itself.  `online`: it may use the DHT."""

    def __init__(self, profile: Profile, dialling: Dialling, peers: dict[int, Peer]) -> None:
        self._profile = profile
        self._peers = peers
        self.copies = Copies(profile, dialling, peers)
        self.drops = Drops(profile, dialling, self.copies)
        self.returning = Returning(profile, dialling)
        self.online = False
        self._seen: tuple[int, int, PersonalView] | None = None  # what the copy was last looked at for
        self._copy_at = inf
        self._found_now = False  # a copy came in this tick
        self._meet_at = inf  # when everybody connected is asked to let me back in
        self._settled = inf  # from when on what was found is mine, and is given to others
        self._rested = False  # that time has come, and the search goes on
        self._carrying = True  # notes may wait to be carried over
        self.moved = False  # into another personal space: the profile is to be read again

    @property
    def recovering(self) -> HybridKey | None:
        """The phrase's recovery keys, kept by a device that was made from the words until it has found a copy."""
        return self.returning.recovering

    # -- time ---------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """The node is online, perhaps at another place."""
        self.online = True
        self.drops.start(now)
        row = self._profile.recovering
        if row is not None and row[:8] != bytes(8):
            self._settled = min(self._settled, now + SETTLE)  # a copy was found before this start

    def work(self, now: float) -> None:
        """Whatever is due: a copy after a change, records, the search for my own copy, the move to kept devices."""
        profile = self._profile
        if profile.out:
            return
        now_ms = int(now * 1000)
        if profile.awaited is not None and may_move(profile):
            move(profile, now_ms)
            self.moved = self._carrying = True
            return
        self._carrying = self._carrying and carry_notes(profile, now_ms)
        view = profile.view
        seen = (profile.directory.version, profile.news, view)
        if self._seen is None or seen[:2] != self._seen[:2] or view is not self._seen[2]:
            self._seen, self._copy_at = seen, min(self._copy_at, now + COPY_GAP)
        if self._copy_at <= now:
            self._copy_at = inf
            if not self._unsettled():
                self.copies.renew(now)
        if self._meet_at <= now:
            self._meet_at = inf
            for peer in self._peers.values():
                if peer.device is not None and not peer.closing:
                    self.met(peer)
        if self._found_now:
            self._found_now, self._meet_at = False, now  # chats are asked for once this tick has kept what was found
        if self.online:
            self.drops.put(now)
            if self._settled <= now:
                if not self._rested:
                    self._rested, self._copy_at = True, now
                if not self.drops.unasked(self.returning.asked) or self._settled + SEARCH <= now:
                    profile.keep_recovering(None)
                    self._settled, self._rested = inf, False
            if self.recovering is not None:
                self.drops.seek(now)

    def _unsettled(self) -> bool:
        """Whether what I know of my contacts and chats may be far from whole."""
        return self.recovering is not None and not self._rested

    def next_wake(self) -> float:
        """Unix seconds at which `work` is due; infinity if nothing waits."""
        if self._profile.out:
            return inf
        times = [self._copy_at, self._meet_at]
        if self.online:
            seeking = self.recovering is not None
            settled = self._settled + (SEARCH if self._rested else 0.0)
            times += [self.drops.next_wake(seeking=seeking), settled if seeking else inf]
        return min(times)

    # -- on a connection ------------------------------------------------------------------------------------------

    def sought(self, public: bytes, value: bytes, now: float) -> None:
        """A record that was asked for in the DHT."""
        self.drops.sought(public, value)

    def keepers(self) -> list[bytes]:
        """Contacts who said that they keep my newest copy."""
        return self.copies.keepers()

    def introduction(self) -> bytes | None:
        """How a device that came back with the words introduces itself, before it proves who it is; None for others."""
        profile, account = self._profile, self._profile.account
        if not profile.introduces:
            return None
        found = chain(profile, account.identity, account.device)
        if profile.out:
            own = profile.directory.certificates(account.identity).get(account.device)
            return own.encoded if own is not None and own.issuer is None else None
        return found[0].encoded if found and found[0].issuer is None else None

    def introduced(self, listener: HelloListener, body: bytes, people: Iterable[bytes]) -> None:
        """Somebody comes with a certificate by the root key of a person known here: it counts whoever brings it, and
        its device may prove itself on this connection; to be told what is newer, where it does not count.  Raises
        DecodeError."""
        profile, certificate = self._profile, want_certificate(body)
        if certificate.issuer is not None or certificate.identity not in people:
            return
        profile.learn([certificate])
        if not profile.directory.is_active(certificate.device):
            profile.directory.know_former(certificate)
        for one in profile.directory.expected([(certificate.device, certificate.agreement)]):
            listener.admit(ExpectedDevice(one.device, one.secret))

    def met(self, peer: Peer) -> None:
        """A device is proved: a contact gets my copy to keep; who has mine is asked for it; chats are asked to let me
        in."""
        profile = self._profile
        if self.recovering is not None and not peer.asked_copy:
            peer.asked_copy = peer.owes_copy = True
            self.returning.asked.add(cast(bytes, peer.proved))
            peer.mux.send(peer.main, ASK, b"")
        if peer.device is None or profile.out:
            return
        if self.introduction() is not None:
            for request in self.returning.rejoins():
                peer.mux.send(peer.main, REJOIN, request)
        own = self.copies.own()
        if own is not None and not self._unsettled():
            self.copies.give(peer, own.sealed)

    def receive(self, peer: Peer, type: int, body: bytes, now: float) -> None:
        """One message of a proved device.  Raises DecodeError for what is none."""
        if type == COPY:
            asked, peer.owes_copy = peer.owes_copy, False
            newest = self.returning.found(body, now) if asked else None
            if newest is None:
                return  # one answer for one question: whoever sends more moves nothing here
            self._found_now = True
            if newest:
                self._settled, self._rested = now + SETTLE, False
        elif peer.device is None:
            return
        elif type == ASK:
            self.copies.answer(peer)
        elif type == KEPT:
            self.copies.kept_by(peer, body)
        elif type == KEEP and not self._profile.out:
            if self.copies.keep(peer, body):
                self.drops.keeps(cast(bytes, peer.identity), now)
        elif type == REJOIN and not self._profile.out:
            self.returning.let_back(peer, body, now)
