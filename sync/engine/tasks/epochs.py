"""Opens the epochs that a space lacks, and writes the closes and witnesses that its members owe one another."""

from __future__ import annotations

from crdt.space.control import Close, Revoke
from sync.engine.profile import Profile
from sync.space.epochs import open_epoch, write_control
from sync.space.obligations import owed_ops
from sync.space.space import Space


def write_first_entry(profile: Profile, space: Space, now_ms: int) -> None:
    """Block 0 of a feed opens an epoch: opening it proves to each device, deniably, whose writer this is."""
    mine = space.mine
    if mine is None or mine.length or not space.may_write or space.members.expects_control:
        return
    open_epoch(space, now_ms, recovery=profile.recovery)


def turn_to_open(space: Space) -> int | None:
    """Which of the open writers this device is, from 0 by core key, where no epoch holds the whole roster; else None.

    Devices that came in while apart open one each, without the other.  Nothing is lost by that, since what one of them
    cannot open comes as items; but device records do not, so somebody opens an epoch for all: decision 0073.
    """
    mine, state = space.mine, space.state
    if mine is None or not mine.length or not space.may_write or space.members.expects_control or len(state.roster) < 2:
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
    ops = owed_ops(space)
    if any(isinstance(op, Revoke | Close) for op in ops):
        open_epoch(space, now_ms, recovery=profile.recovery)
    elif ops:
        write_control(space, ops, now_ms)
