"""What a device owes a space without being asked: revocations, the closes that follow them, witnesses.

A device that knows, from anywhere, that a device of the roster is out seals nothing more for it: the entry that it
writes next there says so, closes the feeds of its own lost devices and opens an epoch (`docs/protocol.md`,
"Shutting a device out").
"""

from __future__ import annotations

from collections.abc import Iterable

from crdt.space import moves
from crdt.space.control import FeedEnd, Op, Revoke
from crdt.space.lineage import End
from identity.errors import KithkinError
from sync.space.space import Space

SHUT_OUT = "This device was shut out of your account. What it has stays readable; it sends and receives nothing more."

GAVE_WAY = "This device was signed out: another device of yours took its place. What it has stays readable."


def why_out(space: Space) -> str:
    """A sentence for people where this device is out, else nothing."""
    account, directory = space.context.account, space.context.directory
    if not directory.is_out(account.device):
        return ""
    return GAVE_WAY if account.device in directory.shut_out_by(account.identity, account.device) else SHUT_OUT


def refuse_out(space: Space) -> None:
    """Raises KithkinError `not_allowed` where this device is out: it seals nothing more."""
    if said := why_out(space):
        raise KithkinError("not_allowed", said)


def lost_devices(space: Space) -> dict[bytes, tuple[bytes, ...]]:
    """Rostered devices that the statements known here show as out, each with the statements that show it."""
    directory = space.context.directory
    found = {device: directory.evidence(identity, device) for identity, device in _out_of(space)}
    return {device: statements for device, statements in found.items() if statements}


def _out_of(space: Space) -> list[tuple[bytes, bytes]]:
    """(identity, device) of rostered devices that are out, ascending."""
    state, directory, awaited = space.state, space.context.directory, space.members.awaited
    of: dict[bytes, set[bytes]] = {}
    for core, device in space.members.rostered():
        # What is awaited gave place to a new device, whose first entry is on its way and closes this feed.
        if not directory.is_active(awaited.get(core, b"")):
            of.setdefault(state.members[state.writers[core].member].identity, set()).add(device)
    return [(identity, one) for identity in sorted(of) for one in sorted(directory.out(identity, of[identity]))]


def owes_epoch(space: Space) -> bool:
    """Whether this device may write here and has to shut devices out, or bring back whom the phrase keeps, before it
    writes anything else."""
    if not space.may_write:
        return False
    return (bool(_out_of(space)) and bool(lost_devices(space))) or bool(words_owed(space))


def words_owed(space: Space) -> tuple[Revoke, ...]:
    """What brings devices back that are out here, while the phrase's newest word keeps them: that word, told with a
    device that it leaves out.  One operation for each identity; none where nothing shows so."""
    state, directory = space.state, space.context.directory
    wrong = [w for w in state.writers.values() if w.out and w.open]
    found: list[Revoke] = []
    for identity in sorted({state.members[w.member].identity for w in wrong}):
        kept = {w.device for w in wrong if state.members[w.member].identity == identity}
        if kept <= directory.out(identity, kept):
            continue
        known = {w.device for w in state.writers.values() if state.members[w.member].identity == identity}
        for device in sorted(directory.out(identity, known)):
            revoke = Revoke(device, directory.evidence(identity, device))
            if revoke.statements and _brings_back(space, revoke, kept):
                found.append(revoke)
                break
    return tuple(found)


def _brings_back(space: Space, revoke: Revoke, kept: Iterable[bytes]) -> bool:
    """Whether one of these devices is in the roster again once that is told here."""
    mine = space.mine
    if mine is None or not space.graph.can(mine.core, revoke):
        return False
    after = space.graph.preview(mine.writer, (revoke,), seq=mine.length, parents=space.graph.tips(mine.core))
    return any(place.device in kept for place in after.roster)


def gave_way(space: Space) -> set[bytes]:
    """Cores of rostered feeds whose device is out and is not to be shut out, because the feed that follows it is on its
    way, and which may have the key that is in use: whoever writes before that feed is here opens an epoch."""
    members, directory = space.members, space.context.directory
    waiting = {core for core, one in members.awaited.items() if directory.is_active(one)} - members.left_out
    return {core for core, device in members.rostered() if core in waiting and directory.is_out(device)}


def owed_ops(space: Space) -> tuple[Op, ...]:
    """The operations that this device has to write by itself, in order; empty where there are none, or none it may."""
    mine, state = space.mine, space.state
    if mine is None or not space.may_write:
        return ()
    words = words_owed(space)
    if words:
        return words  # what else is owed depends on who is back
    fallen = any(core not in state.writers for core in space.feed_store.feeds)
    lost = lost_devices(space)
    if not (state.ends or fallen or lost):
        return ()
    opened, frontiers = [], {}
    for core, feed in space.feed_store.feeds.items():
        if feed.length:
            frontiers[core] = End(feed.length, feed.tree.hash())
        # What was opened after the end was learnt here is nothing that an end took away.
        root = space.feed_store.root_at(feed, feed.heard) if feed.heard else None
        if root is not None and core != mine.core:
            opened.append(FeedEnd(feed.writer, feed.heard, root))
    if not moves.may_owe(state, mine.core, opened=opened, frontiers=frontiers, lost=lost):
        return ()
    return moves.obligations(space.graph, mine.core, opened=opened, frontiers=frontiers, lost=lost)
