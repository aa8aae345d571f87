"""Lineage: which lengths of one feed lie on one branch (`docs/protocol.md`, "Branches").

A feed that was never forked has one branch.  A close names (length, tree hash), and a control entry stands at
(seq + 1, tree hash there): every question the fold has about feeds is whether two such ends agree, that is, whether the
shorter one is a prefix of the longer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol


class End(NamedTuple):
    """A length in blocks and the tree hash there; length 0 has 32 zero bytes."""

    length: int
    root: bytes


START = End(0, bytes(32))


class Lineage(Protocol):
    """Who keeps the Merkle trees answers these two."""

    def proved(self, core: bytes, end: End) -> bool:
        """Whether this end lies on a branch that its writer signed, as far as is known here."""

    def agree(self, core: bytes, a: End, b: End) -> bool | None:
        """Whether one is a prefix of the other; None: not known yet.  An answer never changes."""


class Branch(Protocol):
    """One signed history of a feed."""

    def root_at(self, length: int) -> bytes | None:
        """The tree hash at that length (1 or more), or None where it is not proved."""


class Prefixes:
    """What proofs told of ends that lie off the branches held: that they are signed, and shorter ends of each.

    A proof names some twenty lengths on its way from the first root to the signed head.  Of two branches that differ at
    one length all greater lengths differ, and where they agree all smaller ones agree: so a few lengths answer most.
    """

    def __init__(self) -> None:
        self._signed: dict[bytes, set[End]] = {}
        self._shorter: dict[tuple[bytes, End], dict[int, bytes]] = {}  # (core, end) -> length -> tree hash there

    def learn(self, core: bytes, chain: Sequence[End], ends: Iterable[End]) -> None:
        """A proof under a signed head shows these ends of one branch, ascending; `ends`: those of them that are asked
        about, for which the shorter ones are remembered."""
        signed = self._signed.setdefault(core, set())
        for end in ends:
            signed.add(end)
            shorter = self._shorter.setdefault((core, end), {})
            shorter.update((one.length, one.root) for one in chain if 0 < one.length < end.length)

    def knows(self, core: bytes) -> bool:
        """Whether any proof told of this feed."""
        return core in self._signed

    def signed(self, core: bytes, end: End) -> bool:
        """Whether a proof showed this end under a signed head."""
        return end in self._signed.get(core, ())

    def shorter(self, core: bytes, end: End) -> dict[int, bytes]:
        """Lengths below this end and the tree hashes there, as far as proofs showed them."""
        return self._shorter.get((core, end), {})


class FeedLineage:
    """Lineage out of branches, one for every feed that is held, and out of what proofs told of others.

    branches: core key -> the branches held of that feed.  Nothing is remembered here, so a branch may grow.
    """

    def __init__(self, branches: Callable[[bytes], Sequence[Branch]], prefixes: Prefixes | None = None) -> None:
        self._branches = branches
        self._prefixes = prefixes or Prefixes()

    def proved(self, core: bytes, end: End) -> bool:
        if not end.length or self._prefixes.signed(core, end):
            return True
        return any(b.root_at(end.length) == end.root for b in self._branches(core))

    def agree(self, core: bytes, a: End, b: End) -> bool | None:
        short, long = sorted((a, b))
        if short.length == long.length:
            return short.root == long.root
        if not short.length:
            return True
        # Only the longer end decides: the tree hash there fixes every shorter one, not the other way round.
        found = self._root_at(core, long, short.length)
        if found is not None:
            return found == short.root
        lengths = {*self._prefixes.shorter(core, short), *self._prefixes.shorter(core, long)}
        for length in lengths:
            if length < short.length:
                one, other = self._root_at(core, short, length), self._root_at(core, long, length)
                if one is not None and other is not None and one != other:
                    return False  # they part before the shorter one ends
        return None

    def _root_at(self, core: bytes, end: End, length: int) -> bytes | None:
        """The tree hash at a length below an end, on the branch that the end is on."""
        found = self._held(core, end, length)
        if found is not None:
            return found
        known = self._prefixes.shorter(core, end)
        if length in known:
            return known[length]
        for between in sorted(known):
            if between > length:
                middle = End(between, known[between])
                found = self._held(core, middle, length) or self._prefixes.shorter(core, middle).get(length)
                if found is not None:
                    return found
        return None

    def _held(self, core: bytes, end: End, length: int) -> bytes | None:
        for branch in self._branches(core):
            if branch.root_at(end.length) == end.root:
                return branch.root_at(length)
        return None
