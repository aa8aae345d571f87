"""What changed in a space: noted by its parts as they work, handed out once a commit as one frozen value.

A part that changes anything says so here at once, and with its first word the space is listed for the next commit
(`sync.account.context.Context.changed`): nobody outside has to remember to mark a space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sync.space.timeline import RowChange


@dataclass(frozen=True, slots=True)
class SpaceDelta:
    """What one commit changed in a space (W: the public key of a feed's writer, 32 bytes)."""

    space: bytes
    grown: frozenset[bytes] = frozenset()  # W of feeds that have new entries
    records: frozenset[bytes] = frozenset()  # W whose device record is newer
    forks: frozenset[bytes] = frozenset()  # W whose fork proof is new
    topics: frozenset[bytes] = frozenset()  # what facts other than messages were about (`crdt.docs.facts`)
    frontier: bool = False  # what my device record says of others' feeds does not hold any more
    membership: bool = False  # the fold of the control entries is another
    keys: bool = False  # epoch keys came: device records that were closed may open
    rows: tuple[RowChange, ...] = ()  # messages that appeared, changed or went

    def followed_by(self, later: SpaceDelta) -> SpaceDelta:
        """This delta and a later one of the same space as one."""
        return SpaceDelta(
            self.space,
            self.grown | later.grown,
            self.records | later.records,
            self.forks | later.forks,
            self.topics | later.topics,
            self.frontier or later.frontier,
            self.membership or later.membership,
            self.keys or later.keys,
            self.rows + later.rows,
        )


class ChangeLog:
    """Notes of one space since its last commit.  mark: lists the space for the next one.

    `control`, `keys` and `row` are work that `Space.finish` still has to do; everything else goes into the delta.
    """

    def __init__(self, space: bytes, mark: Callable[[bytes], None]) -> None:
        self.control = False  # control entries came; the fold has not seen them
        self.keys = False  # epoch keys came; sealed entries have not been tried with them
        self.row = False  # the row of the space itself is another
        self._space = space
        self._mark = mark
        self._finishing = False
        self._clear()

    def _clear(self) -> None:
        self._grown: set[bytes] = set()
        self._records: set[bytes] = set()
        self._forks: set[bytes] = set()
        self._topics: set[bytes] = set()
        self._frontier = self._membership = self._opened = False

    def touch(self) -> None:
        """Something of the space is in the open batch, or has to be put there before the commit."""
        if not self._finishing:
            self._mark(self._space)

    def feed_grew(self, writer: bytes) -> None:
        """A feed has new entries."""
        self._grown.add(writer)
        self.touch()

    def record_changed(self, writer: bytes) -> None:
        """A device record is newer than the one held."""
        self._records.add(writer)
        self.touch()

    def fork_found(self, writer: bytes) -> None:
        """A proof that a writer forked its feed is new."""
        self._forks.add(writer)
        self.touch()

    def topic_changed(self, about: bytes) -> None:
        """Facts other than messages came, about this."""
        self._topics.add(about)
        self.touch()

    def frontier_moved(self) -> None:
        """Other entries are stored, opened or waited for than my device record says."""
        self._frontier = True
        self.touch()

    def membership_changed(self) -> None:
        """The fold of the control entries is another."""
        self._membership = True
        self.touch()

    def control_came(self) -> None:
        """Control entries came that the fold has to see."""
        self.control = True
        self.touch()

    def keys_came(self) -> None:
        """Epoch keys came that sealed entries have to be tried with."""
        self.keys = self._opened = True
        self.touch()

    def row_changed(self) -> None:
        """The row of the space itself has to be written."""
        self.row = True
        self.touch()

    def begin(self) -> None:
        """`Space.finish` starts: what it changes belongs to this commit, not to the next."""
        self._finishing = True

    def end(self, rows: tuple[RowChange, ...]) -> SpaceDelta:
        """`Space.finish` is done.  Returns what was noted, and forgets it."""
        delta = SpaceDelta(
            self._space,
            frozenset(self._grown),
            frozenset(self._records),
            frozenset(self._forks),
            frozenset(self._topics),
            self._frontier,
            self._membership,
            self._opened,
            rows,
        )
        self._clear()
        self._finishing = False
        return delta
