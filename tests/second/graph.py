"""The control graph: section 11 of docs/protocol.md, "Arrival", "Past" and "Branches".

Everything is at hand at once here: what arrives in which order, and what is asked of whom, is left to production.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.second.control import Body, Close, End, Op
from tests.second.head import core_key

Claim = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Placed:
    """A control entry as it was found under a signed head."""

    writer: bytes
    seq: int
    hash: bytes
    end: End
    stamp: int
    body: Body
    core: bytes


@dataclass(slots=True)
class Branches:
    """For each W the branches that it signed: the tree hash at each length from 1."""

    held: dict[bytes, list[Sequence[bytes]]] = field(default_factory=dict)

    def add(self, writer: bytes, trees: Sequence[bytes]) -> None:
        """Notes one branch of a feed."""
        self.held.setdefault(writer, []).append(trees)

    def known(self, writer: bytes, end: End) -> bool:
        """Whether an end lies on a branch whose signature is known."""
        return end.length == 0 or any(at(trees, end.length) == end.tree for trees in self.held.get(writer, []))

    def agree(self, writer: bytes, one: End, other: End) -> bool:
        """Whether the shorter of two known ends is a prefix of the longer."""
        short, long = sorted((one, other), key=lambda end: end.length)
        if short.length == 0:
            return True
        if short.length == long.length:
            return short.tree == long.tree
        return any(
            at(trees, long.length) == long.tree and at(trees, short.length) == short.tree
            for trees in self.held.get(writer, [])
        )


def at(trees: Sequence[bytes], length: int) -> bytes | None:
    """The tree hash of a branch at a length, if it is so long."""
    return trees[length - 1] if length <= len(trees) else None


@dataclass(frozen=True, slots=True)
class Act:
    """One operation of a complete entry; `past` has a bit for each act of its past, `bit` is its own."""

    entry: Placed
    place: int
    op: Op
    bit: int
    past: int
    whole: bool

    @property
    def id(self) -> Claim:
        """(block hash, place): "in hash order" compares it."""
        return self.entry.hash, self.place

    @property
    def author(self) -> bytes:
        """W of the feed that it stands in."""
        return self.entry.writer


def complete(entries: Iterable[Placed], branches: Branches) -> dict[bytes, Placed]:
    """By block hash: the entries whose parents are complete and stand where they say, and whose ends are known."""
    left = {entry.hash: entry for entry in entries}
    found: dict[bytes, Placed] = {}
    while True:
        ready = [entry for entry in left.values() if _ready(entry, found, branches)]
        if not ready:
            return found
        for entry in ready:
            found[entry.hash] = left.pop(entry.hash)


def _ready(entry: Placed, found: Mapping[bytes, Placed], branches: Branches) -> bool:
    for parent in entry.body.parents:
        named = found.get(parent.hash)
        if named is None or (named.core, named.seq) != (parent.core, parent.seq):
            return False
    ends = [end for op in entry.body.ops if isinstance(op, Close) for end in op.ends]
    return all(branches.known(writer, end) for writer, end in ends)


def acts_in_order(entries: Mapping[bytes, Placed], branches: Branches) -> list[Act]:
    """Every operation of the entries with its past, by (size of the past, block hash, place)."""
    bits: dict[Claim, int] = {}
    for entry in entries.values():
        for place in range(len(entry.body.ops)):
            bits[entry.hash, place] = 1 << len(bits)
    reached: dict[bytes, frozenset[bytes]] = {}

    def reach(block: bytes) -> frozenset[bytes]:
        """The entries that the parents of an entry reach."""
        if block not in reached:
            names = [parent.hash for parent in entries[block].body.parents]
            reached[block] = frozenset(names).union(*(reach(name) for name in names))
        return reached[block]

    acts = []
    for entry in entries.values():
        before = reach(entry.hash)
        whole = all(earlier.hash in before for earlier in _earlier(entry, entries.values(), branches))
        past = sum(bits[name, place] for name in before for place in range(len(entries[name].body.ops)))
        for place, op in enumerate(entry.body.ops):
            acts.append(Act(entry, place, op, bits[entry.hash, place], past, whole))
            past |= bits[entry.hash, place]
    return sorted(acts, key=lambda act: (act.past.bit_count(), act.id))


def _earlier(entry: Placed, entries: Iterable[Placed], branches: Branches) -> list[Placed]:
    """The author's own earlier control entries of that branch."""
    return [
        other
        for other in entries
        if other.writer == entry.writer and other.seq < entry.seq and branches.agree(entry.writer, other.end, entry.end)
    ]


def placed(writer: bytes, seq: int, block: bytes, tree: bytes, stamp: int, body: Body) -> Placed:
    """A control entry with the core key that follows from W."""
    return Placed(writer, seq, block, End(seq + 1, tree), stamp, body, core_key(writer))
