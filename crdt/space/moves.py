"""Moves: the operations that a client writes for what a person asks, and those that it has to write by itself.

Pure functions of a graph.  Where the docstring of one asks for an epoch, the caller writes it with
`sync.space.epochs.open_epoch` (`docs/protocol.md`, "Writing").  Creating, adding and admitting need no function: they
are the dataclasses `Create`, `Add` and `Admit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crdt.space.consent import sign_succession
from crdt.space.control import Close, FeedEnd, Op, Parent, Revoke, Succeed, Witness
from crdt.space.graph import ControlGraph
from crdt.space.lineage import START, End
from crdt.space.membership import SpaceState
from identity.keys import SigningKey


def remove(graph: ControlGraph, member: bytes, frontiers: Mapping[bytes, End]) -> Close:
    """Ends somebody else's membership.  frontiers: core key -> the longest proved end here.

    Names every feed of the member, closed ones too: what is not named would end at 0.
    """
    state = graph.state()
    feeds = [writer for writer in state.writers.values() if writer.member == member]
    ends = [FeedEnd(w.writer, *_end_to_name(graph, state, w.core, frontiers)) for w in feeds]
    return Close(member, tuple(sorted(ends)))


def leave(graph: ControlGraph, core: bytes, frontiers: Mapping[bytes, End]) -> Close:
    """Ends all feeds of the author's own member.  No epoch goes with it: the next writer opens one."""
    state = graph.state()
    me = state.writers[core].member
    return close_own(graph, [w.core for w in state.writers.values() if w.member == me and w.open], frontiers)


def close_own(graph: ControlGraph, cores: Iterable[bytes], frontiers: Mapping[bytes, End]) -> Close:
    """Ends some feeds of the author's own member: a revoked, lost or replaced device."""
    writers = [graph.state().writers[core] for core in cores]
    return Close(None, tuple(sorted(FeedEnd(w.writer, *_top(graph, w.core, frontiers)) for w in writers)))


def succeed(
    old: SigningKey,
    space: bytes,
    core: bytes,
    parents: tuple[Parent, ...],
    end: End,
    *,
    device: bytes,
    statements: tuple[bytes, ...],
    prekey: bytes,
) -> tuple[Op, ...]:
    """For block 0 of the new feed `core` after a clone or restore, with the epoch in the same entry.

    end: the newest end of the old feed that peers or this store know; parents: exactly those of that block 0.
    """
    signature = sign_succession(old, space, core, parents)
    return (
        Succeed(old.public, device, statements, prekey, signature),
        Close(None, (FeedEnd(old.public, *end),)),
    )


def obligations(
    graph: ControlGraph,
    core: bytes,
    *,
    opened: Iterable[FeedEnd] = (),
    frontiers: Mapping[bytes, End] | None = None,
    revoked: Mapping[bytes, tuple[bytes, ...]] | None = None,
) -> tuple[Op, ...]:
    """Operations that the open writer of `core` has to write by itself; empty if there are none or it may not write.

    opened: how far each feed was opened here; frontiers: longest proved end of each feed (core key); revoked: device id
    -> statements that show its revocation.  If a `Revoke` or `Close` is among the result, an epoch belongs into the
    same entry.
    """
    state = graph.state()
    writer, known = state.writers.get(core), revoked or {}
    if writer is None or not writer.open or writer.revoked or writer.device in known:
        return ()
    return (
        *_revocations(state, known),
        *_closes_of_revoked(graph, core, known, frontiers or {}),
        *_witnesses(state, opened),
        *_longer_closes(graph, state, core, frontiers or {}),
    )


def _revocations(state: SpaceState, known: Mapping[bytes, tuple[bytes, ...]]) -> list[Op]:
    """Whoever knows of a revocation tells it: the device is out of the roster at once."""
    lost = sorted({place.device for place in state.roster if place.device in known})
    return [Revoke(device, known[device]) for device in lost]


def _closes_of_revoked(
    graph: ControlGraph, core: bytes, known: Mapping[bytes, tuple[bytes, ...]], frontiers: Mapping[bytes, End]
) -> list[Op]:
    """The owner's close follows a revocation."""
    state = graph.state()
    me = state.writers[core].member
    lost = [w.core for w in state.writers.values() if w.member == me and w.open and (w.revoked or w.device in known)]
    return [close_own(graph, lost, frontiers)] if lost else []


def _witnesses(state: SpaceState, opened: Iterable[FeedEnd]) -> list[Op]:
    return [
        Witness(feed)
        for feed in sorted(opened)
        if feed.length and not state.shows(feed.core, feed.length - 1, feed.root)
    ]


def _longer_closes(graph: ControlGraph, state: SpaceState, core: bytes, frontiers: Mapping[bytes, End]) -> list[Op]:
    """A successor that finds entries of the old feed beyond its own close closes again at the greater length."""
    old = state.successors.get(core)
    if old is None or old not in state.ends or old not in frontiers:
        return []
    top, end = frontiers[old], state.ends[old]
    if top.length <= end.length or not graph.agree(old, top, end):
        return []
    if any(state.successors.get(by) != old for by in state.closers.get(old, ())):
        return []
    return [Close(None, (FeedEnd(state.writers[old].writer, *top),))]


def _end_to_name(graph: ControlGraph, state: SpaceState, core: bytes, frontiers: Mapping[bytes, End]) -> End:
    """A closed feed is named at the end it has, unless that would cut off what the close has in its past."""
    top = _top(graph, core, frontiers)
    end = state.ends.get(core)
    return top if end is None or graph.beyond(core, end) else end


def _top(graph: ControlGraph, core: bytes, frontiers: Mapping[bytes, End]) -> End:
    """The longest end known of a feed: never short of a control entry that the close is going to have in its past."""
    return max(frontiers.get(core, START), graph.reach(core))
