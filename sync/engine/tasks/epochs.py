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
    """Witnesses, revocations and the closes that follow them."""
    mine, state = space.mine, space.state
    if mine is None or not space.may_write:
        return
    fallen = any(core not in state.writers for core in space.feed_store.feeds)
    revoked = _revoked(profile, space)
    if not (state.ends or fallen or revoked):
        return
    opened, frontiers = [], {}
    for core, feed in space.feed_store.feeds.items():
        if feed.length:
            frontiers[core] = End(feed.length, feed.tree.hash())
        root = space.feed_store.root_at(feed, feed.opened) if feed.opened else None
        if root is not None and core != mine.core:
            opened.append(FeedEnd(feed.writer, feed.opened, root))
    ops = moves.obligations(space.graph, mine.core, opened=opened, frontiers=frontiers, revoked=revoked)
    if not ops:
        return
    if any(isinstance(op, Revoke | Close) for op in ops):
        open_epoch(space, now_ms, ops, recovery=profile.recovery)
    else:
        write_control(space, ops, now_ms)


def _revoked(profile: Profile, space: Space) -> dict[bytes, tuple[bytes, ...]]:
    """Rostered devices that the statements known here show as revoked."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for identity in sorted({member.identity for member in space.state.members.values()}):
        revoked = profile.directory.revoked(identity)
        awaited = {device for core, device in space.members.rostered() if core in space.members.awaited}
        # What is awaited gave place to a new device, whose first entry is on its way and closes this feed.
        for device in sorted((revoked & space.devices()) - awaited) if revoked else ():
            statements = profile.directory.revocation(identity, device)
            found[device] = tuple(statement.encoded for statement in statements)
    return found
