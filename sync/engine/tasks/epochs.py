"""Opens the epochs that a space lacks, and writes the closes and witnesses that its members owe one another."""

from __future__ import annotations

from crdt.space import moves
from crdt.space.control import Close, FeedEnd, Revoke
from crdt.space.lineage import End
from sync.engine.profile import Profile
from sync.space.epochs import open_epoch, write_control
from sync.space.space import Space


def write_first_entry(profile: Profile, space: Space, now_ms: int) -> None:
    """Block 0 of a feed opens an epoch: opening it proves to each device, deniably, whose writer this is."""
    mine = space.mine
    if mine is None or mine.length or not space.may_write or space.members.missing_cores:
        return
    open_epoch(space, now_ms, recovery=profile.recovery)


def turn_to_open(space: Space) -> int | None:
    """Which of the open writers this device is, from 0 by core key, where no epoch holds the whole roster; else None.

    Devices that came in while apart open one each, without the other.  Nothing is lost by that, since what one of them
    cannot open comes as items; but device records do not, so somebody opens an epoch for all: decision 0073.
    """
    mine, state = space.mine, space.state
    if mine is None or not mine.length or not space.may_write or space.members.missing_cores or len(state.roster) < 2:
        return None
    if any(e.roster == state.roster and e.covers and not e.superseded for e in state.epochs.values()):
        return None
    return sorted(w.core for w in state.writers.values() if w.open).index(mine.core)


def open_common_epoch(profile: Profile, space: Space, now_ms: int) -> None:
    """Opens it, if nobody has meanwhile."""
    if turn_to_open(space) is not None:
        open_epoch(space, now_ms, recovery=profile.recovery)


def meet_obligations(profile: Profile, space: Space, now_ms: int) -> None:
    """Witnesses, revocations and the closes that follow them, removals of who was brought back."""
    mine, state = space.mine, space.state
    if mine is None or not space.may_write:
        return
    fallen = any(core not in state.writers for core in space.feed_store.feeds)
    lost = _lost(profile, space)
    if not (state.ends or fallen or lost):
        return
    opened, frontiers = [], {}
    for core, feed in space.feed_store.feeds.items():
        if feed.length:
            frontiers[core] = End(feed.length, feed.tree.hash())
        root = space.feed_store.root_at(feed, feed.opened) if feed.opened else None
        if root is not None and core != mine.core:
            opened.append(FeedEnd(feed.writer, feed.opened, root))
    ops = moves.obligations(space.graph, mine.core, opened=opened, frontiers=frontiers, lost=lost)
    if not ops:
        return
    if any(isinstance(op, Revoke | Close) for op in ops):
        open_epoch(space, now_ms, ops, recovery=profile.recovery)
    else:
        write_control(space, ops, now_ms)


def _lost(profile: Profile, space: Space) -> dict[bytes, tuple[bytes, ...]]:
    """Rostered devices that the statements known here show as out, with what shows it."""
    state, directory = space.state, profile.directory
    of: dict[bytes, set[bytes]] = {}
    for core, device in space.members.rostered():
        if core not in space.members.awaited:  # else its successor's first entry is on its way and closes this feed
            of.setdefault(state.members[state.writers[core].member].identity, set()).add(device)
    found = {
        device: directory.evidence(identity, device)
        for identity, devices in sorted(of.items())
        for device in sorted(directory.out(identity, devices))
    }
    return {device: statements for device, statements in found.items() if statements}
