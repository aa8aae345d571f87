"""What some operations that count say together: section 11 of docs/protocol.md, "Out", "Rights", "Closes".

A `State` is what a right is asked of: members with ranks, writers with their ends, devices that are out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.second.control import Add, Admin, Admit, Close, Create, End, Revoke, Set, Succeed
from tests.second.device_set import DeviceSet, fold_devices
from tests.second.graph import Act, Branches
from tests.second.rules import Rules
from tests.second.statement import Statement, readable

CREATOR, ADMINISTRATOR, ORDINARY = range(3)


@dataclass(frozen=True, slots=True)
class Worth:
    """What a close is worth, fixed by its own past."""

    target: bytes
    identity: bytes
    rank: int
    own: bool
    good: Mapping[bytes, End]
    """Ends that cut off no control entry of the past."""
    unnamed: End | None
    """What it claims for feeds of the target that it names no valid end for."""
    out: frozenset[bytes]
    """Feeds that it names, of devices that its past shows as out."""
    took_over: frozenset[bytes]
    """Feeds whose place the author's feed took."""

    def claim(self, writer: bytes) -> End | None:
        """The claim of the close about a feed of its target."""
        return self.good.get(writer, self.unnamed)


@dataclass(frozen=True, slots=True)
class Member:
    """A person as one entry brought them in."""

    id: bytes
    identity: bytes
    rank: int
    act: Act


@dataclass(frozen=True, slots=True)
class Writer:
    """A feed of a member, and the operation that brought it in."""

    member: bytes
    device: bytes
    act: Act


class State:
    """The state of some operations that count, given in order."""

    def __init__(self, acts: Iterable[Act], worths: Mapping[int, Worth], branches: Branches, rules: Rules) -> None:
        self.acts = list(acts)
        self.branches = branches
        self.rules = rules
        self.members: dict[bytes, Member] = {}
        self.writers: dict[bytes, Writer] = {}
        self.closes: list[tuple[Act, Worth]] = []
        self.revoked: set[bytes] = set()
        self.statements: set[Statement] = set()
        appointed: set[bytes] = set()
        for act in self.acts:
            op = act.op
            match op:
                case Create():
                    member = Member(act.entry.hash, op.identity, CREATOR, act)
                    self._bring(act.author, Writer(member.id, op.newcomer.device, act), member)
                    self._say(op.newcomer.statements)
                case Add():
                    member = Member(act.entry.hash, op.identity, ORDINARY, act)
                    self._bring(op.writer, Writer(member.id, op.newcomer.device, act), member)
                    self._say(op.newcomer.statements)
                case Admit():
                    if act.author in self.writers:
                        self._bring(op.writer, Writer(self.writers[act.author].member, op.newcomer.device, act))
                    self._say(op.newcomer.statements)
                case Succeed():
                    if op.old in self.writers:
                        self._bring(act.author, Writer(self.writers[op.old].member, op.newcomer.device, act))
                    self._say(op.newcomer.statements)
                case Revoke():
                    self.revoked.add(op.device)
                    self._say(op.statements)
                case Admin():
                    appointed.add(op.member)
                case Close() if act.bit in worths:
                    self.closes.append((act, worths[act.bit]))
                case _:
                    pass
        self.appointed = appointed
        for name, member in self.members.items():
            if name in appointed and member.rank == ORDINARY:
                self.members[name] = Member(name, member.identity, ADMINISTRATOR, member.act)

    def _bring(self, feed: bytes, writer: Writer, member: Member | None = None) -> None:
        """Brought in twice, the lowest hash counts."""
        if member is not None:
            self.members[member.id] = member
        held = self.writers.get(feed)
        if held is None or writer.act.id < held.act.id:
            self.writers[feed] = writer

    def _say(self, statements: Iterable[bytes]) -> None:
        self.statements.update(one for one in map(readable, statements) if one is not None)

    def member_of(self, writer: bytes) -> Member | None:
        """The member of a feed, if it is a writer."""
        held = self.writers.get(writer)
        return None if held is None else self.members[held.member]

    def devices(self, identity: bytes, more: Iterable[Statement] = ()) -> DeviceSet:
        """What is said of one identity, with more statements beside it."""
        return fold_devices(self.statements.union(more), identity)

    def out(self, writer: bytes) -> bool:
        """Whether a counting `revoke` names the device of a writer, and what is said shows it as out."""
        held = self.writers[writer]
        return held.device in self.revoked and (self.shown_out(writer) or not self.rules.newest_word)

    def shown_out(self, writer: bytes) -> bool:
        """Whether what is said shows the device of a feed as out, with or without a `revoke`."""
        held = self.writers.get(writer)
        return held is not None and self.devices(self.members[held.member].identity).out(held.device)

    def end(self, writer: bytes) -> End | None:
        """Where a feed ends by the closes; None while it is open."""
        held = self.writers.get(writer)
        if held is None:
            return None
        return end_of(writer, [(act, worth) for act, worth in self.closes if worth.target == held.member], self)

    def open(self, writer: bytes) -> bool:
        """Whether a feed is a writer that nothing closes."""
        return writer in self.writers and self.end(writer) is None

    def open_writers(self, member: bytes) -> list[bytes]:
        """The open feeds of a member."""
        return [feed for feed, held in self.writers.items() if held.member == member and self.open(feed)]

    def served(self, member: bytes) -> list[bytes]:
        """The open feeds of a member whose devices are not out."""
        return [feed for feed in self.open_writers(member) if not self.out(feed)]


def predecessors(writer: bytes, state: State) -> frozenset[bytes]:
    """The feeds whose place a feed took, directly or through others."""
    found: set[bytes] = set()
    while writer in state.writers and isinstance(op := state.writers[writer].act.op, Succeed) and op.old not in found:
        found.add(op.old)
        writer = op.old
    return frozenset(found)


def end_of(writer: bytes, closes: Iterable[tuple[Act, Worth]], state: State) -> End | None:
    """The end that closes of one member claim for one of its feeds ("Closes")."""
    removals: dict[int, list[tuple[Act, End]]] = {}
    own: list[tuple[Act, End]] = []
    for act, worth in closes:
        claim = worth.claim(writer)
        if claim is None:
            continue
        (own if worth.own else removals.setdefault(worth.rank, [])).append((act, claim))
    by_owner = agreed(writer, own, state.branches)
    rank = (min if state.rules.nearest_rank else max)(removals) if removals else None
    by_removal = agreed(writer, removals[rank], state.branches) if rank is not None else None
    if by_owner is None or by_removal is None:
        return by_owner or by_removal
    if not state.branches.agree(writer, by_owner, by_removal):
        return by_removal
    return min(by_owner, by_removal, key=lambda end: end.length)


def agreed(writer: bytes, claims: list[tuple[Act, End]], branches: Branches) -> End | None:
    """In hash order, each that agrees with those taken is taken; the longest of them."""
    taken: list[End] = []
    for _, end in sorted(claims, key=lambda pair: pair[0].id):
        if all(branches.agree(writer, end, other) for other in taken):
            taken.append(end)
    return max(taken, key=lambda end: end.length) if taken else None


def settings_of(acts: Iterable[Act]) -> dict[str, bytes]:
    """Of settings written apart the latest by (stamp, writer, seq); one replaces those in its past."""
    held = [act for act in acts if isinstance(act.op, Set)]
    found: dict[str, tuple[tuple[int, bytes, int, int], bytes]] = {}
    for act in held:
        assert isinstance(act.op, Set)
        if any(isinstance(o.op, Set) and o.op.key == act.op.key and o.past & act.bit for o in held):
            continue
        rank = (act.entry.stamp, act.author, act.entry.seq, act.place)
        if act.op.key not in found or found[act.op.key][0] < rank:
            found[act.op.key] = rank, act.op.value
    return {key: value for key, (_, value) in found.items()}
