"""Moves: the operations that a client writes for what a person asks, and those that it has to write by itself.

Pure functions of a graph.  Where the docstring of one asks for an epoch, the caller writes it with
`sync.space.epochs.open_epoch` (`docs/protocol.md`, "Writing").  Creating, adding and admitting need no function: they
are the dataclasses `Create`, `Add` and `Admit`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from crdt.space.consent import sign_succession
from crdt.space.control import MAX_CLOSED, Close, FeedEnd, Op, Parent, Revoke, SpaceKind, Succeed, Witness
from crdt.space.graph import ControlGraph
from crdt.space.lineage import START, End
from crdt.space.membership import Member, SpaceState
from identity.keys import SigningKey


def remove(graph: ControlGraph, member: bytes, frontiers: Mapping[bytes, End]) -> tuple[Close, ...]:
    """Ends somebody else's membership.  frontiers: core key -> the longest proved end here.

    Names every feed of the member, closed ones too: what is not named would end at 0.  Where one close is not enough
    there are several, for one entry: of the claims that they make about a feed the longest counts.
    """
    state = graph.state()
    feeds = [writer for writer in state.writers.values() if writer.member == member]
    return _closes(member, [FeedEnd(w.writer, *_end_to_name(graph, state, w.core, frontiers)) for w in feeds])


def remove_person(
    graph: ControlGraph, core: bytes, identity: bytes, frontiers: Mapping[bytes, End]
) -> tuple[Close, ...]:
    """Ends every member of an identity that has an open writer and that the writer of `core` may remove."""
    return _removals(graph, core, graph.state().people().get(identity, ()), frontiers)


def leave(graph: ControlGraph, core: bytes, frontiers: Mapping[bytes, End]) -> tuple[Close, ...]:
    """Ends all feeds of the author's own member.  No epoch goes with it: the next writer opens one."""
    state = graph.state()
    me = state.writers[core].member
    return close_own(graph, [w.core for w in state.writers.values() if w.member == me and w.open], frontiers)


def close_own(graph: ControlGraph, cores: Iterable[bytes], frontiers: Mapping[bytes, End]) -> tuple[Close, ...]:
    """Ends some feeds of the author's own member: a device that is out, lost or replaced."""
    writers = [graph.state().writers[core] for core in cores]
    return _closes(None, [FeedEnd(w.writer, *_top(graph, w.core, frontiers)) for w in writers])


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
    lost: Mapping[bytes, tuple[bytes, ...]] | None = None,
) -> tuple[Op, ...]:
    """Operations that the open writer of `core` has to write by itself; empty if there are none or it may not write.

    opened: how far each feed was opened here; frontiers: longest proved end of each feed (core key); lost: device id ->
    statements that show it as out.  If a `Revoke` or `Close` is among the result, an epoch belongs into the
    same entry.
    """
    state = graph.state()
    writer, lost = state.writers.get(core), lost or {}
    if state.stopped or writer is None or not writer.open or writer.out or writer.device in lost:
        return ()
    told = _revocations(graph, core, lost)
    return (
        *told,
        *_closes_of_lost(graph, core, {revoke.device for revoke in told}, frontiers or {}),
        *_removals(graph, core, _brought_back(state), frontiers or {}),
        *_witnesses(state, opened),
        *_longer_closes(graph, state, core, frontiers or {}),
    )


def may_owe(
    state: SpaceState,
    core: bytes,
    *,
    opened: Iterable[FeedEnd],
    frontiers: Mapping[bytes, End],
    lost: Mapping[bytes, tuple[bytes, ...]],
) -> bool:
    """Whether `obligations` may find any, by the state alone."""
    me, old = state.member(core), state.successors.get(core)
    longer = old is not None and old in state.ends and old in frontiers and frontiers[old] > state.ends[old]
    return bool(
        lost
        or longer
        or any(w.out and w.open and me is not None and w.member == me.id for w in state.writers.values())
        or _brought_back(state)
        or _witnesses(state, opened)
    )


def _revocations(graph: ControlGraph, core: bytes, lost: Mapping[bytes, tuple[bytes, ...]]) -> list[Revoke]:
    """Whoever knows that a device is out tells it: the device is out of the roster at once.  What would not count, as
    the space knows more of the device than this one does, would be told again and again."""
    named = sorted({place.device for place in graph.state().roster if place.device in lost})
    told = [Revoke(device, lost[device]) for device in named]
    return [revoke for revoke in told if graph.can(core, revoke)]


def _closes_of_lost(
    graph: ControlGraph, core: bytes, told: Collection[bytes], frontiers: Mapping[bytes, End]
) -> list[Op]:
    """The owner's close follows the word that a device is out."""
    state = graph.state()
    me = state.writers[core].member
    lost = [w.core for w in state.writers.values() if w.member == me and w.open and (w.out or w.device in told)]
    return [*close_own(graph, lost, frontiers)] if lost else []


def _brought_back(state: SpaceState) -> list[Member]:
    """Members in a group whose add did not know that their identity had been removed: removal wins.

    A removal is a close by somebody of another member; leaving is none.
    """
    if state.kind is not SpaceKind.GROUP or not state.unaware:
        return []
    return [m for members in state.people().values() for m in members if m.id in state.unaware]


def _removals(
    graph: ControlGraph, core: bytes, members: Iterable[Member], frontiers: Mapping[bytes, End]
) -> tuple[Close, ...]:
    """Closes of those members that the writer of `core` may remove."""
    state = graph.state()
    me = state.member(core)
    if me is None or state.kind is not SpaceKind.GROUP:
        return ()
    below = [m for m in members if m.id != me.id and m.rank > me.rank]
    return tuple(close for m in below for close in remove(graph, m.id, frontiers))


def _closes(member: bytes | None, ends: Iterable[FeedEnd]) -> tuple[Close, ...]:
    """As many closes as the feeds need; a member without any gets one."""
    named = sorted(ends)
    return tuple(Close(member, tuple(named[i : i + MAX_CLOSED])) for i in range(0, max(len(named), 1), MAX_CLOSED))


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
