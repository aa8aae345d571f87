"""One space: its parts, and what follows from them once a commit.

`members` say who is in, `access` which keys are here, `intake` is the way in from sealed blocks to facts, `writing` the
way out, `reading` holds what was read, `records` what devices say of themselves.  Everything happens inside the
profile's open batch; the rows of the timeline follow once a commit, in `finish`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crdt.docs.facts import FactKind
from crdt.docs.personal import PersonalView
from crdt.docs.timeline import Rights
from crdt.log.merkle import Leaf
from crdt.space.control import SpaceKind
from crdt.space.epoch import EpochKey
from crdt.space.graph import ControlGraph
from crdt.space.membership import SpaceState
from crdt.space.record import Report
from identity.codec import Reader, Writer
from sync.pipeline import timeline
from sync.pipeline.access import KEEP_Z, Access
from sync.pipeline.changes import Changes
from sync.pipeline.feed import Feed
from sync.pipeline.home import Home
from sync.pipeline.intake import Intake
from sync.pipeline.members import MAX_CORES, Members
from sync.pipeline.reading import Reading
from sync.pipeline.records import Records
from sync.pipeline.shelf import Shelf
from sync.pipeline.timeline import RowChange
from sync.pipeline.writing import Draft, Writing
from sync.replicate.wants import Claims
from sync.store.port import Table


class Space:
    """One space of the profile; loaded from the store, or new and empty."""

    def __init__(self, home: Home, space: bytes, *, personal: bool) -> None:
        self.home = home
        self.id = space
        self.personal = personal
        self.changes = Changes()
        self.claims = Claims()
        self.shelf = Shelf(home.store, space, home.number)
        self.members = Members(home, self.shelf, self.changes, personal=personal)
        self.access = Access(home, self.shelf, self.members, self.changes)
        self.records = Records(home, self.shelf, self.members, self.access, self.changes)
        self.reading = Reading(home, self.shelf, self.members, self.changes)
        self.intake = Intake(home, self.shelf, self.members, self.access, self.reading, self.changes)
        self.writing = Writing(home, self.shelf, self.access, self.intake, self.changes)
        stored = home.store.get(Table.SPACE, space)
        if stored is not None:
            self._read_row(Reader(stored))

    # -- what most ask for ------------------------------------------------------------------------------------

    @property
    def mine(self) -> Feed | None:
        """The feed of this device."""
        return self.shelf.mine

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
        return self.access.keys

    @property
    def z(self) -> bytes | None:
        """The current rendezvous secret."""
        return self.access.z

    @property
    def rendezvous(self) -> Sequence[bytes]:
        """Z, the newest first."""
        return self.access.rendezvous

    @property
    def reports(self) -> dict[bytes, Report]:
        """core -> what its writer's newest record says."""
        return self.records.reports

    @property
    def view(self) -> PersonalView:
        return self.reading.registers.view()

    def devices(self) -> dict[bytes, bytes]:
        """Device id -> core key of its open feed, of every rostered device."""
        return self.members.devices()

    def rights(self) -> Rights:
        return self.reading.rights()

    def append(self, drafts: Sequence[Draft], now_ms: int) -> list[tuple[int, Leaf]]:
        """Seals and signs entries of my feed into the batch; (seq, leaf) of each."""
        return self.writing.append(drafts, now_ms)

    # -- once a commit ----------------------------------------------------------------------------------------

    def finish(self, now_ms: int) -> list[RowChange]:
        """Settles what follows from everything absorbed: keys, membership, rows, and the rows of feeds."""
        batch, changes, reading = self.home.batch, self.changes, self.reading
        if changes.control:
            self.members.recheck()
        if changes.keys:
            self.intake.unlock(now_ms)
        again = self._after_control(now_ms) if changes.control else {}
        rows: list[RowChange] = []
        if reading.facts or again:
            facts = reading.take_facts()
            again.update(dict.fromkeys(reading.named(fact for fact in facts if fact.kind is FactKind.CLEAR)))
            rows = timeline.absorb(self.home.store, batch, self.id, facts, self.rights(), again)
        self.access.keyring.finish(batch)
        if changes.row:
            changes.row = False
            batch.put(Table.SPACE, self.id, self._row())
        self.shelf.finish(batch)
        return rows

    def _after_control(self, now_ms: int) -> dict[bytes, None]:
        """Membership changed: Z, authorship of feeds and what shows follow.  Returns the messages to fold again."""
        old = self.members.settle()
        self.access.open_grants()
        if self.changes.keys:
            self.intake.unlock(now_ms)
        self.access.settle_z()
        epochs = self.state.epochs.values()
        self.access.keyring.note_superseded([e.id for e in epochs if e.superseded], now_ms)
        if self.personal:
            if self.members.ends_moved():
                self.reading.reload_registers()
            return {}
        self.reading.catch_up(now_ms)
        return self.reading.shown_otherwise(self.members.moved(old))

    # -- the row ----------------------------------------------------------------------------------------------

    def _row(self) -> bytes:
        """Z, the newest first | vouched cores | cores without an author | spans that were denied."""
        out = Writer()
        for values in (self.access.rendezvous, sorted(self.members.vouched), sorted(self.reading.unfolded)):
            out.array(values, Writer.raw)
        self.intake.write_denied(out)
        return out.finish()

    def _read_row(self, data: Reader) -> None:
        self.access.rendezvous = data.array(lambda r: r.fixed(32), KEEP_Z + 1)
        self.members.vouched = set(data.array(lambda r: r.fixed(32), MAX_CORES))
        self.reading.unfolded = set(data.array(lambda r: r.fixed(32), MAX_CORES))
        if data.left:  # rows of earlier builds end here
            self.intake.read_denied(data)
