"""Demotion: an admin becomes a member again, by an end of membership and a new one.  `docs/protocol.md`, "Demotion".

No rank is ever lowered, so a demotion is a removal with all its rules.  Unlike whoever is removed, the person is asked
back at once and misses nothing: the entry says so with a setting that names the member.
"""

from __future__ import annotations

from collections.abc import Mapping

from crdt.space import moves
from crdt.space.control import Close, Op, Set
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End

NAMED = 16  # bytes of a member id in a key


def setting_of(member: bytes) -> str:
    """The key of the setting that stands beside a demotion's close."""
    return f"demoted {member[:NAMED].hex()}"


def demote(graph: ControlGraph, identity: bytes, frontiers: Mapping[bytes, End]) -> tuple[Op, ...]:
    """Ends every member of an identity that has an open writer, as a demotion; for one entry, with an epoch.
    frontiers: core key -> the longest proved end here."""
    members = graph.state().people().get(identity, ())
    closes = [close for member in members for close in moves.remove(graph, member.id, frontiers)]
    return (*closes, *(Set(setting_of(member.id), b"") for member in members))


def epochs_missed(graph: ControlGraph, identity: bytes) -> frozenset[bytes]:
    """Ids of epochs from between a demotion of this person and the next time that they were removed: while nobody had
    let them in again yet, they are theirs to read."""
    state = graph.state()
    members = {member.id for member in state.members.values() if member.identity == identity}
    ended = {removal.entry for removal in state.removals if removal.member in members}
    demotions = {entry for entry in ended if _is_demotion(graph, entry, members)}
    if not demotions:
        return frozenset()

    def since(entry: bytes, epoch: bytes) -> bool:
        return entry == epoch or graph.precedes(entry, epoch)

    return frozenset(
        epoch
        for epoch in state.epochs
        if (before := [entry for entry in ended if since(entry, epoch)])
        and all(any(since(entry, one) for one in demotions if since(one, epoch)) for entry in before)
    )


def _is_demotion(graph: ControlGraph, id_: bytes, members: set[bytes]) -> bool:
    entry, state = graph.entry(id_), graph.state()
    if entry is None:
        return False
    keys = {setting_of(op.member) for op in entry.ops if isinstance(op, Close) and op.member in members and op.member}
    return any(
        isinstance(op, Set) and op.key in keys and (id_, place) in state.counted for place, op in enumerate(entry.ops)
    )
