"""One space: its parts, and what follows from them once a commit.

`members` say who is in, `access` which keys are here, `intake` is the way in from sealed blocks to facts, `writing` the
way out, `reading` holds what was read, `records` what devices say of themselves.  Everything happens inside the
profile's open batch; the rows of the timeline follow once a commit, in `finish`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crdt.docs.facts import FactKind
from crdt.docs.personal import PersonalView
from crdt.docs.timeline import TimelinePolicy
from crdt.log.merkle import Leaf
from crdt.space.control import SpaceKind
from crdt.space.epoch import EpochKey
from crdt.space.graph import ControlGraph
from crdt.space.membership import SpaceState
from crdt.space.record import Report
from identity.codec import Reader, Writer
from identity.errors import KithkinError
from identity.keys import SigningKey
from sync.account.context import Context
from sync.replicate.messages import Ends, Fetched, Fork, Proved, StretchBlocks
from sync.replicate.wants import Claims
from sync.space import timeline
from sync.space.delivered import Delivered
from sync.space.delta import ChangeLog, SpaceDelta
from sync.space.erasing import Erasing
from sync.space.facts import SpaceFacts
from sync.space.feed import Feed, leaf_of_entry
from sync.space.feed_store import FeedStore
from sync.space.forgetting import Forgetting
from sync.space.inbound import Inbound
from sync.space.keys import KEEP_Z, EpochKeys
from sync.space.members import MAX_CORES, Members
from sync.space.outbound import Draft, Outbound
from sync.space.proofs import Proofs
from sync.space.records import Records
from sync.space.timeline import RowChange
from sync.store.port import Batch, Table


class Space:
    """One space of the profile; loaded from the store, or new and empty."""

    def __init__(self, context: Context, space: bytes, *, personal: bool) -> None:
        self.context = context
        self.id = space
        self.personal = personal
        self._changes = changes = ChangeLog(space, context.mark)
        self.claims = Claims()
        self.feed_store = FeedStore(context.store, space, context.number, changes.touch)
        self.members = Members(context, self.feed_store, changes, personal=personal)
        self.proofs = Proofs(context, self.feed_store, self.members, changes)
        self.epoch_keys = EpochKeys(context, self.feed_store, self.members, self.proofs, changes)
        self.facts = SpaceFacts(context, self.feed_store, self.members, changes)
        self.inbound = Inbound(context, self.feed_store, self.members, self.epoch_keys, self.facts, changes)
        self.erasing = Erasing(
            context, self.feed_store, self.facts, self.epoch_keys.keyring.epoch_of, self.inbound, changes
        )
        self.outbound = Outbound(context, self.feed_store, self.epoch_keys, self.inbound, changes)
        self.due = timeline.next_due(context.store, space)  # Unix ms at which the next stamp passes that is ahead
        self._placed = False  # the next such stamp may be another after this commit
        self._misplaced = False  # rows may stand ahead of the clock
        self._unread = self.facts.has_unread()
        if self._unread:
            changes.touch()
        stored = context.store.get(Table.SPACE, space)
        if stored is not None:
            self._read_row(Reader(stored))
        self.records = Records(context, self.feed_store, self.members, self.epoch_keys, self.proofs, changes)
        self.records.erasures = self.erasing.carried_out
        self.forgetting = Forgetting(
            context, self.feed_store, self.members, self.facts, self.records, self.erasing.stain, changes
        )
        self.delivered = Delivered(self.feed_store, self.members, self.epoch_keys, self.records, self.proofs)

    # -- what most ask for ------------------------------------------------------------------------------------

    @property
    def mine(self) -> Feed | None:
        """The feed of this device."""
        return self.feed_store.mine

    @property
    def may_write(self) -> bool:
        """Whether this device's feed is an open writer of the space, the device is not out, and this version knows the
        space's rules."""
        mine, context = self.mine, self.context
        if mine is None or not self.state.open(mine.core) or self.state.stopped:
            return False
        return not context.directory.is_out(context.account.device)

    @property
    def graph(self) -> ControlGraph:
        return self.members.graph

    @property
    def state(self) -> SpaceState:
        """The fold of the control entries that are complete."""
        return self.members.state

    @property
    def kind(self) -> SpaceKind:
        return self.members.kind

    @property
    def keys(self) -> Mapping[bytes, EpochKey]:
        """Epoch keys that are here, by epoch id."""
        return self.epoch_keys.keys

    @property
    def z(self) -> bytes | None:
        """The current rendezvous secret."""
        return self.epoch_keys.z

    @property
    def rendezvous(self) -> Sequence[bytes]:
        """Z, the newest first."""
        return self.epoch_keys.rendezvous

    @property
    def reports(self) -> dict[bytes, Report]:
        """core -> what its writer's newest record says."""
        return self.records.reports

    @property
    def view(self) -> PersonalView:
        return self.facts.registers.view()

    def devices(self) -> set[bytes]:
        """Ids of all rostered devices, as their admissions name them."""
        return self.members.devices()

    def policy(self) -> TimelinePolicy:
        return self.facts.policy()

    def check_rules(self) -> None:
        """Raises KithkinError `update_needed` where an operation of a later version says that this one must stop."""
        if self.state.stopped:
            raise KithkinError("update_needed", "Update Kithkin: this chat follows rules that this version lacks.")

    def append(self, drafts: Sequence[Draft], now_ms: int) -> list[tuple[int, Leaf]]:
        """Seals and signs entries of my feed into the batch; (seq, leaf) of each.

        Raises KithkinError `update_needed`.
        """
        self.check_rules()
        return self.outbound.append(drafts, now_ms)

    def found(self, key: SigningKey | None = None) -> None:
        """The space is kept from now on; key: W of this device's feed in it, where it has none yet."""
        if key is not None:
            self.feed_store.feed(key.public, key)
        self._changes.row_changed()

    def look_again(self) -> None:
        """Background tasks look at this space after the next commit, although nothing in it changed: what they know
        beside it did (device statements)."""
        self._changes.touch()

    def take_block(self, fetched: Fetched, ends: Ends, now_ms: int) -> None:
        """A proved block that was asked for by its hash: of an entry that was kept back from us, or of another branch
        than the one that is kept.  ends: what its proof shows."""
        core, seq, hash_ = fetched.point
        feed = self.feed_store.feeds.get(core)
        if fetched.block is None:
            return
        if feed is not None and seq < feed.length:
            control = self.members.names(hash_)
            if self.inbound.restore(feed, seq, fetched.block, now_ms, control=control):
                return
            entry = self.feed_store.entry(feed, seq)
            if entry is None or leaf_of_entry(entry)[1] == hash_:
                return
        if not self.inbound.restore_offshoot(core, seq, fetched.block, now_ms):
            self.inbound.take_beside(fetched, now_ms)

    def take_stretch(self, answer: StretchBlocks, now_ms: int) -> bool:
        """Blocks of another branch up to the end of a close.  False: they do not belong there."""
        return self.inbound.take_stretch(answer, now_ms)

    def take_proof(self, proved: Proved, ends: Ends) -> None:
        """A checked proof of an end that control entries wait for."""
        if self.feed_store.branches.keep(self.context.batch, proved, ends):
            self.members.forget_partings()
            self._changes.control_came()

    def keep_fork(self, writer: bytes, proof: Fork) -> None:
        """A checked proof that W forked its feed: kept, and passed on to others."""
        self.feed_store.put_fork(self.context.batch, writer, proof)
        self._changes.fork_found(writer)

    # -- once a commit ----------------------------------------------------------------------------------------

    def finish(self, now_ms: int) -> SpaceDelta:
        """Completes the open batch: keys, membership, timeline rows and the rows of feeds follow from everything that
        was absorbed.  Returns what changed since the last call."""
        batch, changes, facts = self.context.batch, self._changes, self.facts
        changes.begin()
        if self._unread:
            self._unread = False
            self.inbound.read_again(now_ms)
        if changes.control:
            self.members.recheck()
        if changes.keys:
            self.inbound.unlock(now_ms)
        if not changes.control:
            self.members.keep_snapshot(now_ms)
        again = self._after_control(now_ms) if changes.control else {}
        self.inbound.explain()
        if self.personal:
            self.erasing.run_own()
        else:
            self.erasing.run(now_ms)
            self.forgetting.run(now_ms)
        rows: list[RowChange] = []
        if facts.facts or again:
            taken = facts.take_facts()
            again.update(dict.fromkeys(facts.named(fact for fact in taken if fact.kind is FactKind.CLEAR)))
            rows = timeline.absorb(self.folding(batch, now_ms), taken, again)
        elif self._misplaced or self.due <= now_ms:
            rows = timeline.place_again(self.folding(batch, now_ms))
            self._misplaced = len(rows) >= timeline.SLICE
        self._placed = (
            self._placed
            or self.due <= now_ms
            or any(change.after is not None and change.after.placed is not None for change in rows)
        )
        self.epoch_keys.keyring.finish(batch)
        if changes.row:
            changes.row = False
            batch.put(Table.SPACE, self.id, self._row())
        self.feed_store.finish(batch)
        return changes.end(tuple(rows))

    def folding(self, batch: Batch, now_ms: int) -> timeline.Fold:
        """What folds the rows of this space into a batch."""
        number = self.feed_store.number_of
        return timeline.Fold(self.context.store, batch, self.id, self.policy(), number, now_ms)

    def committed(self) -> None:
        """The batch is durable: what was read through it is in the store.  What opened while the space was finished may
        call for another commit."""
        self.feed_store.committed()
        self.facts.committed()
        if self._placed:
            self._placed, self.due = False, timeline.next_due(self.context.store, self.id)
        if self._changes.control or self._changes.keys or self._misplaced:
            self._changes.touch()

    def place_rows(self, now_ms: int, *, clock_set_back: bool = False) -> None:
        """Rows whose stamps have passed, or that stand ahead of a clock that was set back, are placed anew with the
        next commits."""
        if clock_set_back:
            self._misplaced = self._misplaced or timeline.stands_ahead(self.context.store, self.id, now_ms)
        if self._misplaced or self.due <= now_ms:
            self._changes.touch()

    def _after_control(self, now_ms: int) -> dict[bytes, None]:
        """Membership changed: Z, authorship of feeds and what shows follow.  Returns the messages to fold again."""
        old = self.members.refold()
        for feed in self.feed_store.feeds.values():
            self.inbound.hear(feed)
        self.epoch_keys.open_grants()
        self.proofs.review()
        if self._changes.keys:
            self.inbound.unlock(now_ms)
        self.epoch_keys.choose_z()
        epochs = self.state.epochs.values()
        self.epoch_keys.keyring.note_superseded([e.id for e in epochs if e.superseded], now_ms)
        if self.personal:
            if self.members.ends_moved() or any(self.facts.deletions()):
                self.facts.reload_registers()
                self.facts.look_at_deletions()
            return {}
        if not self.state.stopped:
            self.facts.catch_up(now_ms)
        moved = self.members.moved(old) | self.members.parted()
        self.inbound.begin_offshoots()
        self.inbound.explain(moved)
        self.erasing.consider(self.facts.places_cleared(moved))
        return self.facts.shown_otherwise(moved)

    # -- the row ----------------------------------------------------------------------------------------------

    def _row(self) -> bytes:
        """Z, the newest first | vouched cores | cores without an author | spans that were denied | proofs."""
        out = Writer()
        for values in (self.epoch_keys.rendezvous, sorted(self.members.vouched), sorted(self.facts.unfolded)):
            out.array(values, Writer.raw)
        self.inbound.write_denied(out)
        self.proofs.write(out)
        return out.finish()

    def _read_row(self, data: Reader) -> None:
        self.epoch_keys.rendezvous = data.array(lambda r: r.fixed(32), KEEP_Z + 1)
        self.members.vouched = set(data.array(lambda r: r.fixed(32), MAX_CORES))
        self.facts.unfolded = set(data.array(lambda r: r.fixed(32), MAX_CORES))
        self.inbound.read_denied(data)
        self.proofs.read(data)
