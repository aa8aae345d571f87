"""The asking side: which feeds are wanted of this peer, and what to make of the ranges that come."""

from __future__ import annotations

from math import inf

from crdt.log.merkle import Tree
from sync.replicate.effects import Append, Effect, Rule, Violation, send
from sync.replicate.flow import Inflow
from sync.replicate.messages import Blocks, Want, Wants
from sync.replicate.ranges import check_range
from sync.replicate.remote import Remote
from sync.replicate.serving import Outflow
from sync.replicate.view import FeedView, anchor_of
from sync.replicate.wants import MAX_WANTS, Claims, next_wants


class Asking:
    """held: ask for nothing now (history comes first)."""

    def __init__(self, view: FeedView, remote: Remote, inflow: Inflow, out: Outflow, claims: Claims) -> None:
        self._view = view
        self._remote = remote
        self._inflow = inflow
        self._out = out
        self._claims = claims
        self._wants: dict[bytes, Want] = {}
        self._refused: dict[bytes, int] = {}  # writer -> length of the remote head when the peer refused
        self._fresh: dict[bytes, Tree] = {}  # feeds as the effects of the call under way leave them
        self._tickets = 0
        self.held = False

    def done(self) -> bool:
        """Whether nothing more may be had from this peer."""
        return not self._gaps() and not self._wants

    def ask(self, now: float) -> list[Effect]:
        """Wants for what is missing, as many feeds at once as may be."""
        if self.held:
            return []
        gaps = self._gaps()
        local = {writer: self._tree(writer).length for writer in gaps}
        busy = self._wants.keys() | {writer for writer in gaps if not self._claims.free(writer, self, now)}
        wants = [self._want(writer) for writer in next_wants(local, gaps, busy, MAX_WANTS - len(self._wants))]
        for want in wants:
            self._wants[want.writer] = want
            self._claims.take(want.writer, self, now)
        return [send(Wants(tuple(wants)))] if wants else []

    def end_call(self) -> None:
        """The call is over: its effects are performed before the next one."""
        self._fresh.clear()

    def next_wake(self) -> float:
        """When a feed that another connection holds without progress may be asked for here; infinity for never."""
        due = [self._claims.due(writer, self) for writer in self._gaps() if writer not in self._wants]
        return min((at for at in due if at is not None), default=inf) if not self.held else inf

    def close(self) -> None:
        """Gives up every claim: the connection is gone."""
        self._claims.drop_all(self)

    def refused(self, writers: tuple[bytes, ...]) -> None:
        """The peer will not serve these; a longer head of it opens the question anew."""
        for writer in writers:
            if writer in self._wants:
                self._refused[writer] = self._remote.length(writer)
                self._forget(writer)

    def take(self, message: Blocks, size: int, now: float) -> list[Effect]:
        """A range arrived, in a message of `size` bytes."""
        writer, start, end = message.writer, message.start, message.start + len(message.blocks)
        effects = self._remote.hear(message.head) if message.head is not None else []
        if effects and isinstance(effects[-1], Violation):
            return effects
        target, tree, want = self._remote.heads.get(writer), self._view.tree(writer), self._wants.get(writer)
        if target is None and writer not in self._remote.waiting:
            return [*effects, Violation(Rule.NO_HEAD)]
        if target is not None and end > target.length:
            return [*effects, Violation(Rule.BEYOND_HEAD)]
        skip = tree.length - start
        if target is None or writer in self._remote.diverged or not 0 <= skip < len(message.blocks):
            # Not admitted, another branch, a push after something that was not taken, or nothing new.
            self._inflow.give_back(size)
            if want is not None and skip > 0 and want.start < tree.length:
                self._forget(writer)  # others brought it: go on from there
            return effects
        made = check_range(message, target, tree)
        if isinstance(made, Append):
            self._inflow.hold(writer, end, size)
            self._fresh[writer] = made.tree
            self._out.at[writer] = max(end, self._out.at.get(writer, 0))
            if want is not None:
                self._claims.progress(writer, self, size, now)
                if end >= (want.end or target.length):
                    self._forget(writer)
            return [*effects, made]
        # Only what continues an agreed state is a lie: a feed that grew here meanwhile may be on another branch.
        asked = want.ticket if want is not None else 0
        if skip == 0 and message.ticket == asked and (asked or start == self._out.told.get(writer, 0)):
            return [*effects, Violation(made)]
        self._inflow.give_back(size)
        self._forget(writer)
        return effects

    def _tree(self, writer: bytes) -> Tree:
        return self._fresh.get(writer) or self._view.tree(writer)

    def _gaps(self) -> dict[bytes, int]:
        """writer -> remote length, of feeds that this peer may still bring."""
        remote = self._remote
        if not remote.behind:
            return {}
        for writer in [writer for writer in remote.behind if self._tree(writer).length >= remote.length(writer)]:
            remote.behind.discard(writer)
            self._forget(writer)
        for writer in remote.behind & remote.diverged:
            self._forget(writer)
        lengths = {writer: remote.length(writer) for writer in remote.behind - remote.diverged}
        return {writer: length for writer, length in lengths.items() if length > self._refused.get(writer, 0)}

    def _want(self, writer: bytes) -> Want:
        tree, longest = self._tree(writer), self._remote.length(writer)
        packed = min(self._view.packed(writer), longest)
        if packed < longest:
            packed -= packed % 2  # hashes come in whole pairs
        self._tickets += 1
        leaves = packed > tree.length
        return Want(writer, self._tickets, tree.length, packed if leaves else 0, anchor_of(tree.roots), leaves)

    def _forget(self, writer: bytes) -> None:
        self._wants.pop(writer, None)
        self._claims.drop(writer, self)
