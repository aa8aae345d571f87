"""Names what had its lifetime in a deletion entry, so that devices that come late know that it is gone for good."""

from __future__ import annotations

from collections.abc import Iterable

from crdt.docs.deletion import MAX_BLOCKS, Block, Deletion, encode_deletion
from crdt.docs.facts import FactKind
from crdt.docs.timeline import is_cleared
from crdt.log.entry import Kind
from crdt.log.merkle import leaf_of
from sync.engine.profile import Profile
from sync.space import timeline
from sync.space.epochs import ensure_key
from sync.space.outbound import Draft
from sync.space.space import Space

NO_MESSAGE = bytes(32)  # blocks of many messages are named together


def name_late_copies(profile: Profile, space: Space, messages: Iterable[bytes], now_ms: int) -> None:
    """Deleted messages of which my feed holds a copy or an edit that no deletion names: whoever deleted them did not
    know it.  Only what is named can be erased everywhere."""
    mine, policy = space.mine, space.policy()
    if mine is None or not space.may_write:
        return
    for message in messages:
        blocks = set()
        for fact in timeline.facts_about(profile.store, space.id, message):
            if fact.core != mine.core or fact.kind not in (FactKind.COPY, FactKind.EDIT) or fact.value is None:
                continue
            entry = space.feed_store.entry(mine, fact.seq)
            author = policy.member(mine.core)
            if entry is not None and entry.block and author and not is_cleared(mine.core, fact.seq, author, policy):
                blocks.add(Block(mine.core, fact.seq, leaf_of(entry.block)[1]))
        if blocks:
            delete_blocks(profile, space, Deletion(message, tuple(sorted(blocks)[:MAX_BLOCKS])), now_ms)


def delete_blocks(profile: Profile, space: Space, deletion: Deletion, now_ms: int) -> None:
    """Writes one deletion entry."""
    body = encode_deletion(deletion)
    ensure_key(space, now_ms, profile.recovery)
    space.append([Draft(Kind.DELETION, lambda seq: body)], now_ms)


def name_erased(profile: Profile, space: Space, now_ms: int) -> None:
    """One deletion entry for the blocks of my feed that were erased for their lifetimes, at most 1,024."""
    mine = space.mine
    if mine is None or not space.may_write:
        return
    blocks = []
    places = sorted(space.erasing.unnamed)[:MAX_BLOCKS]
    for core, seq in places:
        entry = space.feed_store.entry(mine, seq) if core == mine.core and seq < mine.length else None
        if entry is not None and entry.leaf is not None:
            blocks.append(Block(core, seq, entry.leaf[1]))
    if blocks:
        delete_blocks(profile, space, Deletion(NO_MESSAGE, tuple(blocks)), now_ms)
    space.erasing.named(places)
