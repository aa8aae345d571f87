"""Read receipts: what the others told, and when and what this device tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crdt.docs.chat import Receipt
from crdt.docs.facts import ABOUT_READING
from crdt.docs.ids import writer_id
from crdt.docs.timeline import fold_receipt_stamps, fold_receipts
from crdt.log.stamp import stamp_ms
from crdt.space.control import SpaceKind
from sync.engine.profile import Profile
from sync.space import timeline
from sync.space.space import Space

RECEIPT_GAP_MS = 60_000  # between two receipts of one member in one chat


def write_receipt(profile: Profile, space: Space, now_ms: int) -> None:
    """Tells the others how far I have read, if there is anything to tell."""
    news = _untold(profile, space)
    if news:
        profile.write(space, [[Receipt(news[:1024])]], now_ms)


def receipt_due(profile: Profile, space: Space, now_ms: int) -> int | None:
    """Unix ms from when the others are to be told how far I have read; None where they know, or another device of mine
    set the mark and tells them.  Follows from the store alone: my mark, and my member's last receipt with its stamp."""
    mine, me = space.mine, profile.personal.mine
    markers = profile.view.markers.get(space.id, {})
    if mine is None or me is None or not any(markers[name] == me.core for name, _ in _untold(profile, space)):
        return None
    last = read_state(space).stamps.get(space.state.writers[mine.core].member)
    return now_ms if last is None else min(stamp_ms(last), now_ms) + RECEIPT_GAP_MS


def _untold(profile: Profile, space: Space) -> tuple[tuple[str, int], ...]:
    """(writer id, highest seq) of others' messages that I have read and no receipt of my member tells of."""
    mine, held = space.mine, profile.view.marks.get(space.id)
    if mine is None or not held or space.kind in (SpaceKind.PERSONAL, SpaceKind.SELF):
        return ()
    if not space.may_write:
        return ()
    me = space.state.writers[mine.core].member
    told = receipts_of(space).get(me, {})
    others = {writer_id(writer.core) for writer in space.state.writers.values() if writer.member != me}
    return tuple((name, seq) for name, seq in sorted(held.items()) if name in others and seq > told.get(name, -1))


@dataclass(frozen=True, slots=True)
class ReadState:
    """What the receipts in a space say.  upto: member id -> writer id -> highest seq read; stamps: of the last ones."""

    upto: Mapping[bytes, Mapping[str, int]]
    stamps: Mapping[bytes, int]


def read_state(space: Space) -> ReadState:
    """Kept until another receipt comes."""

    def fold() -> ReadState:
        facts, policy = timeline.facts_of_kind(space.context.store, space.id, ABOUT_READING), space.policy()
        return ReadState(fold_receipts(facts, policy), fold_receipt_stamps(facts, policy))

    found: ReadState = space.facts.remember("receipts", ABOUT_READING, fold)
    return found


def receipts_of(space: Space) -> Mapping[bytes, Mapping[str, int]]:
    """member id -> writer id -> highest seq read."""
    return {} if space.kind in (SpaceKind.PERSONAL, SpaceKind.SELF) else read_state(space).upto
