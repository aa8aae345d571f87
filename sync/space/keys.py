"""What this device can open in a space: grants, the epoch keys out of them, and the rendezvous secret Z.

`docs/protocol.md`, "Epochs".  Whether an epoch counts is for the fold to say (`members.py`); here is which are had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from crdt.log.entry import GRANT_TAG, BlockHeader, message_key, open_entry, read_block
from crdt.log.merkle import Leaf
from crdt.space.control import ControlEntry, Epoch, Slots
from crdt.space.epoch import EpochKey, newcomers, proves_z, usable
from crdt.space.grant import MAX_SLOTS, Earlier, OpenedGrant, Shared, decode_grant, open_grant
from crdt.space.membership import EpochInfo
from crdt.space.rendezvous import capability
from identity.errors import DecodeError
from sync.account.context import Context
from sync.space.delta import ChangeLog
from sync.space.feed_store import FeedStore
from sync.space.keyring import Keyring
from sync.space.members import Members
from sync.space.proofs import Proofs

MAX_TRIED = 4  # epochs of a feed that are tried where no tag names one
KEEP_Z = 15  # rendezvous secrets remembered beside the current one


class EpochKeys:
    """Epoch keys and Z of one space."""

    def __init__(
        self, context: Context, feed_store: FeedStore, members: Members, proofs: Proofs, changes: ChangeLog
    ) -> None:
        self.keyring = Keyring(context.store, feed_store.space)
        self.rendezvous: list[bytes] = []  # Z, the newest first
        self.learned = 0  # how many keys came, ever
        self.shared = Shared()  # ML-KEM secrets with the others, of grants that this device makes
        self._opened: tuple[bytes, OpenedGrant] | None = None  # block hash of the entry being read, what its slot held
        self._context, self._feed_store, self._members, self._changes = context, feed_store, members, changes
        self._proofs = proofs

    @property
    def keys(self) -> Mapping[bytes, EpochKey]:
        """Epoch keys that are here, by epoch id."""
        return self.keyring.held

    @property
    def z(self) -> bytes | None:
        """The current rendezvous secret."""
        return self.rendezvous[0] if self.rendezvous else None

    @property
    def cap(self) -> bytes | None:
        return capability(self.rendezvous[0]) if self.rendezvous else None

    # -- which key --------------------------------------------------------------------------------------------

    def in_use(self, now_ms: int) -> EpochKey | None:
        """The epoch that my next entry is sealed under, None where one has to be opened first."""
        mine = self._feed_store.mine
        if mine is None:
            return None
        # A new device of a member gets what it missed as items; a new member never would (decision 0070).
        state = self._members.state
        late = newcomers(state, self._members.arrived, now_ms)
        grace = {core for core in late if state.members[state.writers[core].member].core != core}
        # A Z that is not the one its entry names came from a grant that told different devices different ones.
        sound = [e.id for e in state.epochs.values() if e.id in self.keys and proves_z(e, self.keys[e.id].z)]
        found = usable(state, mine.core, known=sound, grace=grace)
        return self.keys[found] if found is not None else None

    def worn(self, now_ms: int) -> bool:
        """Whether the epoch in use has had its seven days or its thousand entries."""
        epoch = self.in_use(now_ms)
        return epoch is not None and self.keyring.worn(epoch.id)

    def newest(self) -> EpochKey | None:
        """What device records are sealed under: an epoch that everybody in the roster has, else the newest here."""
        state = self._members.state
        here = [e for e in state.epochs.values() if e.id in self.keys]
        live = [e for e in here if not e.superseded] or here
        if live:
            return self.keys[max(live, key=lambda e: (e.covers, e.roster == state.roster, e.stamp, e.id)).id]
        return next(iter(self.keys.values()), None)

    def live(self) -> list[EpochInfo]:
        """Epochs not superseded that hold every close, with their key here and the Z that they name; by id."""
        epochs = self._members.state.epochs.values()
        live = [e for e in epochs if e.covers and not e.superseded and e.id in self.keys]
        return sorted((e for e in live if proves_z(e, self.keys[e.id].z)), key=lambda e: e.id)

    def key_for(
        self, core: bytes, seq: int, header: BlockHeader, leaf: Leaf, block: bytes, *, beside: bool = False
    ) -> bytes | None:
        """The message key of a block by the epochs at hand.  What a grant held is learned once its entry was read.
        beside: the block is not on the kept branch, so nothing is noted about its place in the feed."""
        tag = header.tag
        if tag != GRANT_TAG:
            return self.keyring.find(core, seq, tag, note=not beside)
        opened = self.try_grant(core, seq, header, earlier=self.earlier(core, beside=beside))
        if opened is not None:
            self._proved(core, opened)
            self._opened = leaf[1], opened
            return message_key(opened.secret, core, seq)[0]
        # My slot stands in another of the entries that tell this epoch; no tag says which key fits.
        for secret in self._told_by(core, leaf[1]):
            key = message_key(secret, core, seq)[0]
            try:
                open_entry(key, core, self._feed_store.space, block, header)
            except DecodeError:
                continue
            return key
        return None

    def _told_by(self, core: bytes, entry: bytes) -> list[bytes]:
        """Secrets of the epoch that an entry opens, or of the newest that its feed opened: what its grant may tell."""
        own = self.keys.get(entry)
        if own is not None:
            return [own.secret]
        epochs = self._members.state.epochs.values()
        of_feed = sorted((e for e in epochs if e.core == core and e.id in self.keys), key=lambda e: -e.seq)
        last = list(self.keys.values())[-1:]  # just opened, and not folded yet
        return [key.secret for key in (*last, *(self.keys[e.id] for e in of_feed[:MAX_TRIED]))]

    # -- what comes -------------------------------------------------------------------------------------------

    def learn(self, epoch: bytes, opened: OpenedGrant) -> None:
        """An epoch key out of a grant.  Whether the epoch counts is the fold's business."""
        if self.keyring.learn(epoch, opened.secret, opened.z):
            self._changes.keys_came()
            self.learned += 1

    def drop(self, epoch: bytes) -> None:
        """Forgets an epoch key that nothing needs any more."""
        self.keyring.drop(epoch)
        self._changes.touch()

    def read(self, entry: ControlEntry) -> None:
        """A control entry was read: learns the epoch key that its grant held, if it is the one of the epoch that the
        entry opens or names.  A grant that told different devices different Z is as good as none."""
        found, self._opened = self._opened, None
        opened = found[1] if found is not None and found[0] == entry.id else None
        for op in entry.ops:
            if isinstance(op, Epoch):
                key = self.keys.get(entry.id)
                if key is not None and not proves_z(op, key.z):
                    self.keyring.drop(entry.id)
                if opened is not None and proves_z(op, opened.z):
                    self.learn(entry.id, opened)
            elif isinstance(op, Slots) and opened is not None and self._proves(entry, op, opened):
                self.learn(op.epoch, opened)

    def _proves(self, entry: ControlEntry, op: Slots, opened: OpenedGrant) -> bool:
        """Whether the entry that is said to have opened the epoch stands there, and is sealed under this very E."""
        first = self._feed_store.block_of((entry.core, op.seq, op.epoch)) if op.seq < entry.seq else None
        if first is None:
            return False
        try:
            open_entry(message_key(opened.secret, entry.core, op.seq)[0], entry.core, self._feed_store.space, first)
        except DecodeError:
            return False
        return True

    def set_z(self, z: bytes) -> None:
        """The rendezvous secret in use; the ones before it are kept for a while."""
        if self.rendezvous[:1] == [z]:
            return
        self.rendezvous = [z, *[old for old in self.rendezvous if old != z]][: KEEP_Z + 1]
        self._changes.row_changed()

    def choose_z(self) -> None:
        """Z is that of the lowest epoch that counts and holds every close: where several draw a new one after the same
        close, everybody who knows them follows one."""
        live = self.live()
        if live:
            self.set_z(self.keys[live[0].id].z)

    def open_grants(self) -> None:
        """Grants that have a slot for this device and were read before it was known who sealed them."""
        me = self._context.account.device
        for epoch in self._members.state.epochs.values():
            if epoch.superseded or epoch.id in self.keys or not any(place.device == me for place in epoch.roster):
                continue
            for seq, block, earlier in self.grants_of(epoch):
                opened = self.try_grant(epoch.core, seq, read_block(block, seq), earlier=earlier)
                if opened is not None:
                    self._proved(epoch.core, opened)
                    if proves_z(epoch, opened.z):
                        self.learn(epoch.id, opened)
                        break

    def _proved(self, core: bytes, opened: OpenedGrant) -> None:
        """Nobody but the device whose D found the slot can have sealed it to this one, at this place of this feed."""
        if opened.sender is not None:
            self._proofs.opened(core, opened.sender)

    def grants_of(self, epoch: EpochInfo) -> Iterator[tuple[int, bytes, Earlier]]:
        """(seq, block, grants before it) of the entries here that tell an epoch: the one that opens it, and those with
        further slots."""
        points = [(epoch.core, epoch.seq, epoch.id)]
        if len(epoch.roster) >= MAX_SLOTS:
            told = Slots(epoch.id, epoch.seq)
            entries = (e for e in self._members.graph.entries() if e.core == epoch.core and told in e.ops)
            points += [(e.core, e.seq, e.id) for e in entries]
        for point in points:
            block = self._feed_store.block_of(point)
            if block is not None:
                beside = self._feed_store.branches.get(point) is not None
                yield point[1], block, self.earlier(epoch.core, beside=beside)

    def told_in(self, epoch: EpochInfo) -> Iterator[tuple[int, bytes, list[tuple[int, bytes]]]]:
        """(seq, block, (seq, grant) of each earlier entry that its grant names) of the entries that tell an epoch."""
        for seq, block, earlier in self.grants_of(epoch):
            named = [(at, earlier(at)) for at in decode_grant(read_block(block, seq).grant).carriers]
            yield seq, block, [(at, grant) for at, grant in named if grant]

    def earlier(self, core: bytes, *, beside: bool = False) -> Earlier:
        """The grants of a feed's entries, as far as they are here: where ciphertexts travelled that later ones name.
        beside: of a branch that is not kept, where what was fetched of it comes first."""

        def grant(seq: int) -> bytes | None:
            feed = self._feed_store.feeds.get(core)
            block = self._feed_store.branches.at(core, seq) if beside else None
            if block is None and feed is not None and seq < feed.length:
                entry = self._feed_store.entry(feed, seq)
                block = entry.block if entry is not None else None
            return read_block(block, seq).grant if block else None

        return grant

    def try_grant(
        self,
        core: bytes,
        seq: int,
        header: BlockHeader,
        extra: Iterable[bytes] = (),
        earlier: Earlier | None = None,
    ) -> OpenedGrant | None:
        """(E, Z) of a grant entry if it has a slot for this device; extra: further D that may have sealed it; earlier:
        grants of earlier entries, where they are not those of the store."""
        directory = self._context.directory
        writer = self._members.state.writers.get(core)
        senders: dict[bytes, None] = {}
        known = directory.device(writer.device) if writer is not None else None
        if known is not None:
            senders[known.agreement] = None
        else:
            senders.update(dict.fromkeys(directory.agreements()))
        senders.update(dict.fromkeys(extra))
        keys = self._context.account.keys
        prekeys = [prekey.key for prekey in reversed(keys.prekeys)]
        try:
            return open_grant(
                header.grant,
                core,
                seq,
                self._feed_store.space,
                keys.agreement,
                prekeys,
                senders,
                kem=self._context.kem,
                earlier=earlier or self.earlier(core),
            )
        except DecodeError:
            return None
