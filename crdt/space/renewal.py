"""Renewal: the state after an entry that changes no rank, writer or end, out of the state before it.

Most control entries open an epoch, set something or witness.  The state that they lead to is the very one that
`membership.state_of` finds; for all others there is none here.
"""

from __future__ import annotations

from dataclasses import replace

from crdt.space.control import Epoch, Set, Slots, Witness
from crdt.space.fold import Result
from crdt.space.history import History, Placed, Row
from crdt.space.membership import SpaceState, epoch_info


def renewed(history: History, state: SpaceState, row: Row, before: Result, after: Result) -> SpaceState | None:
    """The state with the row appended last; before and after: the results of the fold without and with it."""
    if (before.taken, before.structural) != (after.taken, after.structural):
        return None
    fresh = [placed for placed in row.placed if placed.bit & after.counted]
    if any(placed in history.strange for placed in row.placed):
        return None  # it may stop this version
    for placed in fresh:
        match placed.op:
            case Epoch():
                state = _with_epoch(state, placed, placed.op, _needed(after))
            case Set():
                if history.sets[placed.op.key] & after.counted & ~placed.past & ~placed.bit:
                    return None  # another was written apart
                state = _with_setting(state, placed.op)
            case Witness():
                if history.full[-len(row.placed) + placed.name[1]] is not placed:
                    return None  # they stand in the order of the graph
                feed = placed.op.feed
                seen = {**state.witnessed, feed.core: (*state.witnessed.get(feed.core, ()), feed.end)}
                state = replace(state, witnessed=seen)
            case Slots():
                pass
            case _:
                return None
    return replace(state, counted=state.counted | {placed.name for placed in fresh}) if fresh else state


def _needed(result: Result) -> int:
    """Bits of every close and revocation that counts."""
    needed = result.taken
    for placed in result.view.revokes:
        needed |= placed.bit
    return needed


def _with_epoch(state: SpaceState, placed: Placed, op: Epoch, needed: int) -> SpaceState:
    epochs = dict(state.epochs)
    for id_ in op.superseded:
        if id_ in epochs and not epochs[id_].superseded:
            epochs[id_] = replace(epochs[id_], superseded=True)
    over = state.over.union(op.superseded)
    epochs[placed.row.entry.id] = epoch_info(placed, needed, over)
    return replace(state, epochs=epochs, over=over)


def _with_setting(state: SpaceState, op: Set) -> SpaceState:
    settings = {**state.settings, op.key: op.value}
    title = op.value.decode("utf-8", "replace") if op.key == "title" else state.title
    return replace(state, settings=settings, title=title)
