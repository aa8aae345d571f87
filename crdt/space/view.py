"""View: what a set of operations that all count amounts to (`docs/protocol.md` 11, "State").

Views are built one out of another and share what did not change.  Members are the numbers of their create or add.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from crdt.space.control import Add, Admin, Admit, Create, Revoke, SpaceKind, Succeed
from crdt.space.history import History, Placed
from crdt.space.lineage import End
from crdt.space.standing import NOTHING

CREATOR, ADMIN, MEMBER = 0, 1, 2  # ranks: a lower one decides over a higher one


class Admission(NamedTuple):
    """How a feed came in.  name: of the operation, the lowest counts; member: None where its admitter had none."""

    name: tuple[bytes, int]
    member: int | None
    writer: bytes
    device: bytes
    prekey: bytes
    placed: Placed


class Ends(Protocol):
    """Where closes end a feed."""

    def end_of(self, closes: tuple[Placed, ...], core: bytes) -> End | None:
        """The end of a feed by these closes; None: it stays open."""
        ...


class View:
    """Members, writers, ranks, ends, and what all these operations say of devices.

    Dictionaries are shared between views: `apply` copies before it changes.
    """

    __slots__ = (
        "_ends", "_found", "_own", "admins", "admitted", "closes", "creator", "history", "kind", "members", "revokes",
        "said", "successor",
    )  # fmt: skip

    def __init__(self, history: History, ends: Ends, closes: Iterable[tuple[int, Placed]]) -> None:
        self.history = history
        self._ends = ends
        self.kind = SpaceKind.GROUP
        self.creator: int | None = None
        self.members: dict[int, bytes] = {}
        self.admitted: dict[bytes, Admission] = {}
        self.admins: frozenset[int] = frozenset()
        self.revokes: tuple[Placed, ...] = ()
        self.said: frozenset[bytes] = NOTHING
        self.successor: dict[bytes, bytes] = {}
        self.closes: dict[int, tuple[Placed, ...]] = {}
        for member, close in closes:
            self.closes[member] = (*self.closes.get(member, ()), close)
        self._own = True
        self._found: dict[tuple[bytes, int], End | None] = {}

    def branch(self, closes: Iterable[tuple[int, Placed]]) -> View:
        """A view that begins as this one, with these closes taken instead."""
        other = View(self.history, self._ends, closes)
        other.kind, other.creator = self.kind, self.creator
        other.members, other.admitted, other.successor = self.members, self.admitted, self.successor
        other.admins, other.revokes, other.said = self.admins, self.revokes, self.said
        other._own = False
        return other

    def member_of(self, core: bytes) -> int | None:
        """The member that a feed belongs to; None: it is no writer."""
        found = self.admitted.get(core)
        return None if found is None else found.member

    def identity(self, member: int | None) -> bytes | None:
        """Whose member this is."""
        return None if member is None else self.members.get(member)

    def rank(self, member: int | None) -> int:
        """0 creator, 1 admin, 2 member."""
        if member == self.creator:
            return CREATOR
        return ADMIN if member in self.admins else MEMBER

    def end(self, core: bytes) -> End | None:
        """Where the feed ends; None: open, or no writer at all."""
        member = self.member_of(core)
        if member is None:
            return None
        closes = self.closes.get(member)
        if not closes:
            return None
        key = (core, member)
        if key not in self._found:
            self._found[key] = self._ends.end_of(closes, core)
        return self._found[key]

    def open(self, core: bytes) -> bool:
        """Whether this is a feed of a writer that no close ends."""
        return self.member_of(core) is not None and self.end(core) is None

    def feeds_of(self, member: int) -> list[bytes]:
        """Core keys of the feeds of a member."""
        return [core for core, admission in self.admitted.items() if admission.member == member]

    def apply(self, placed: Placed) -> None:
        """Takes in one more operation; those of its past that count were taken in before."""
        op, core = placed.op, placed.core
        if not placed.said <= self.said:
            self.said |= placed.said
        match op:
            case Create():
                self._make_own()
                if self.creator is None or placed.name < self.history.placed[self.creator].name:
                    self.kind, self.creator = op.kind, placed.index
                self.members[placed.index] = op.identity
                writer = placed.row.entry.writer
                self._admit(core, Admission(placed.name, placed.index, writer, op.device, op.prekey, placed))
            case Add():
                self._make_own()
                self.members[placed.index] = op.identity
                self._admit(op.core, Admission(placed.name, placed.index, op.writer, op.device, op.prekey, placed))
            case Admit():
                self._make_own()
                member = self.member_of(core)
                self._admit(op.core, Admission(placed.name, member, op.writer, op.device, op.prekey, placed))
            case Succeed():
                self._make_own()
                member, writer = self.member_of(op.core), placed.row.entry.writer
                self._admit(core, Admission(placed.name, member, writer, op.device, op.prekey, placed))
                self.successor[core] = op.core
            case Admin():
                member = self.history.members.get(op.member)
                if member is not None:
                    self.admins |= {member}
            case Revoke():
                self.revokes += (placed,)
            case _:
                pass

    def _admit(self, core: bytes, admission: Admission) -> None:
        """Admitted twice, the lowest hash counts."""
        other = self.admitted.get(core)
        if other is None or admission.name < other.name:
            self.admitted[core] = admission

    def _make_own(self) -> None:
        if not self._own:
            self.members, self.admitted = dict(self.members), dict(self.admitted)
            self.successor = dict(self.successor)
            self._own = True
