"""What the peer has told of its feeds, and how that compares with what is stored here.

A head is believed once its signature is checked.  One that lies within what is stored either agrees with it, or the
two are branches of a forked feed: then whoever holds the longer one shows its nodes, and whoever holds both heads'
nodes makes the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from crdt.log.head import Head
from crdt.log.merkle import tree_hash
from sync.replicate.effects import Append, Effect, ForkFound, Rule, Violation, send
from sync.replicate.fork import branch_of, differ, leads_to, prove_from, proves
from sync.replicate.messages import MAX_FEEDS, Branch, Fork
from sync.replicate.serving import Outflow
from sync.replicate.view import FeedView, roots_of

Admits = Callable[[bytes], bool]  # whether feeds of this writer are kept here


class Remote:
    """heads: verified heads told; waiting: heads of writers not admitted yet, not verified either; behind: writers
    whose head lies beyond what is stored; diverged: writers whose feed is on another branch there; forks: writers whose
    fork proof the peer has.
    """

    def __init__(self, view: FeedView, admits: Admits, out: Outflow) -> None:
        self._view = view
        self._admits = admits
        self._out = out
        self._challenged: dict[bytes, int] = {}  # writer -> length of the remote head that a branch was shown for
        self.heads: dict[bytes, Head] = {}
        self.waiting: dict[bytes, Head] = {}
        self.behind: set[bytes] = set()
        self.diverged: set[bytes] = set()
        self.forks: set[bytes] = set()

    def length(self, writer: bytes) -> int:
        """The longest head told, 0 for none."""
        head = self.heads.get(writer)
        return head.length if head is not None else 0

    def hear(self, head: Head) -> list[Effect]:
        """A head the peer holds.  A Violation, if there is one, stands last."""
        writer = head.writer
        if head.length <= self.length(writer):
            return []
        if not self._admits(writer):
            known = self.waiting.get(writer)
            if len(self.waiting) < MAX_FEEDS if known is None else known.length < head.length:
                self.waiting[writer] = head
            return []
        mine = self._view.heads().get(writer)
        if mine is not None and (mine.length, mine.root) == (head.length, head.root):
            self.heads[writer] = mine  # signed and checked long ago
            self._out.at[writer] = head.length
            return []
        if not head.verify():
            return [Violation(Rule.BAD_HEAD)]
        self.heads[writer] = head
        if head.length > self._view.tree(writer).length:
            self.behind.add(writer)
            return []
        return self.compare(head)

    def admitted(self) -> list[Effect]:
        """Hears the heads that waited for their writers to be admitted."""
        effects: list[Effect] = []
        for writer in [writer for writer in self.waiting if self._admits(writer)]:
            effects += self.hear(self.waiting.pop(writer))
            if effects and isinstance(effects[-1], Violation):
                break
        return effects

    def compare(self, head: Head) -> list[Effect]:
        """A verified remote head within what is stored here: do the two feeds agree that far?"""
        writer, length = head.writer, head.length
        mine, tree = self._view.heads().get(writer), self._view.tree(writer)
        if tree_hash(roots_of(self._view, writer, length)) == head.root:
            self._out.at[writer] = max(length, self._out.at.get(writer, 0))
            proved = mine is None or mine.length < length
            return [Append(writer, tree.length, (), (), tree, (), head)] if proved else []
        if mine is None or mine.length < length:
            self.diverge(writer)  # within a range whose own head is not complete yet: nothing to prove with
            return []
        if mine.length == length:
            self.diverge(writer)
            return self._found(Fork(mine, head))
        if self._challenged.get(writer) == length:
            return []
        self._challenged[writer] = length
        return [send(branch_of(self._view, mine, length))]

    def branch(self, message: Branch) -> list[Effect]:
        """The peer shows another history than we told it."""
        writer, head = message.head.writer, message.head
        if not self._admits(writer):
            return []
        if not head.verify() or not leads_to(head, message.length, message.roots, message.tail):
            return [Violation(Rule.BAD_BRANCH)]
        if self._view.tree(writer).length < message.length:
            return []
        mine = [(node.size, node.hash) for node in roots_of(self._view, writer, message.length)]
        if not differ(mine, message.roots):
            return []  # sizes of withheld blocks were misreported to one of us; the history is one
        self.diverge(writer)
        proof = prove_from(self._view, message)
        return self._found(proof) if proof is not None else []

    def fork(self, proof: Fork) -> list[Effect]:
        """The peer shows a fork proof."""
        writer = proof.first.writer
        known = writer in self._view.forks()
        if len(self.forks) < MAX_FEEDS:
            self.forks.add(writer)
        if not self._admits(writer) or (known and writer not in self._challenged):
            return []
        if not proves(proof):
            return [Violation(Rule.BAD_FORK)]
        if writer in self._challenged:
            self.diverge(writer)
        return [] if known else [ForkFound(writer, proof)]

    def show_forks(self, writers: Iterable[bytes]) -> list[Effect]:
        """The proofs held of these writers that the peer does not have."""
        held = self._view.forks()
        fresh = [writer for writer in writers if writer in held and writer not in self.forks]
        self.forks.update(fresh)
        return [send(held[writer]) for writer in fresh]

    def diverge(self, writer: bytes) -> None:
        """From now on nothing of this feed is sent to this peer or taken from it."""
        self.diverged.add(writer)
        self._out.jobs.pop(writer, None)

    def _found(self, proof: Fork) -> list[Effect]:
        writer = proof.first.writer
        effects: list[Effect] = [] if writer in self._view.forks() else [ForkFound(writer, proof)]
        if writer not in self.forks:
            self.forks.add(writer)
            effects.append(send(proof))
        return effects
