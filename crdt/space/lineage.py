"""Lineage: which lengths of one feed lie on one branch (`docs/protocol.md`, "Branches").

A feed that was never forked has one branch.  A close names (length, tree hash), and a control entry stands at
(seq + 1, tree hash there): every question the fold has about feeds is whether two such ends agree, that is, whether the
shorter one is a prefix of the longer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class FeedLineage:
    """Lineage out of branches: one for every feed, more once a fork is known.

    branches: core key -> the branches held of that feed.  Nothing is remembered here, so a branch may grow.
    """

    def __init__(self, branches: Callable[[bytes], Sequence[Branch]]) -> None:
        self._branches = branches

    def proved(self, core: bytes, end: End) -> bool:
        return not end.length or any(b.root_at(end.length) == end.root for b in self._branches(core))

    def agree(self, core: bytes, a: End, b: End) -> bool | None:
        short, long = sorted((a, b))
        if short.length == long.length:
            return short.root == long.root
        if not short.length:
            return True
        for branch in self._branches(core):
            if branch.root_at(long.length) == long.root:
                # Only the longer end decides: the tree hash there fixes every shorter one, not the other way round.
                found = branch.root_at(short.length)
                return None if found is None else found == short.root
        return None
