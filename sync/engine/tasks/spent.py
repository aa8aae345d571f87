"""Names entries of the personal space that say nothing any more, so that old names, drafts and marks go from disk.

One device does it, the open writer with the lowest core key of those that are about: two at once could each rely on
what the other erases.  And only while all of them have opened everything here, and it everything of theirs: no later
close then cuts off what an erased value was replaced by.  At most once a day, at most 1,024 entries.
`docs/protocol.md`, "Spent values".
"""

from __future__ import annotations

from crdt.docs.deletion import MAX_BLOCKS, Block, Deletion
from crdt.docs.spent import spent
from crdt.log.stamp import stamp_ms
from crdt.space.epoch import dormant
from crdt.space.record import Report
from sync.engine.profile import Profile
from sync.engine.tasks.erasures import NO_MESSAGE, delete_blocks
from sync.space.feed import EntryState, leaf_of_entry
from sync.space.space import Space

DAY_MS = 86_400_000
AGAIN, SOON = 3_600.0, 60.0  # seconds until it is looked at again: where nothing is due, where others lag behind


def name_spent(profile: Profile, now_ms: int) -> float:
    """Names what is spent, if it is time.  Returns the seconds after which to look again."""
    space = profile.personal
    mine = space.mine
    if mine is None or not space.may_write:
        return AGAIN
    facts = space.facts.own_facts()
    times = [stamp_ms(fact.stamp) for _, named in space.facts.deletions() for fact in named]
    last = max(times, default=min((stamp_ms(fact.stamp) for fact in facts), default=now_ms))
    if 0 <= now_ms - last < DAY_MS:
        return AGAIN
    about = _about(space, now_ms)
    if any(core < mine.core for core in about):
        return AGAIN
    if not all(_knows_all(space, core, report) for core, report in about.items()):
        return SOON
    blocks = []
    for core, seq in sorted(spent(facts)):
        feed = space.feed_store.feeds.get(core)
        entry = space.feed_store.entry(feed, seq) if feed is not None else None
        if entry is not None and entry.state is EntryState.OPENED:
            blocks.append(Block(core, seq, leaf_of_entry(entry)[1]))
    if blocks:
        delete_blocks(profile, space, Deletion(NO_MESSAGE, tuple(blocks[:MAX_BLOCKS])), now_ms)
    return SOON if len(blocks) > MAX_BLOCKS else AGAIN


def _about(space: Space, now_ms: int) -> dict[bytes, Report | None]:
    """core key of each other device of mine that is about -> its newest record; None: it told nothing yet."""
    found, directory = {}, space.context.directory
    for core, device in space.members.rostered():
        report = space.reports.get(core)
        at = report.at if report is not None else space.members.arrived.get(core, now_ms)
        if core != getattr(space.mine, "core", b"") and not directory.is_out(device) and not dormant(at, now_ms):
            found[core] = report
    return found


def _knows_all(space: Space, core: bytes, report: Report | None) -> bool:
    """Whether a device has opened all that is here, and has nothing that is not."""
    if report is None:
        return False
    opened = {head.core8: head.length for head in report.opened}
    feeds = space.feed_store.feeds.values()
    here = {feed.core[:8]: feed for feed in feeds}
    if any(head.length > here[head.core8].length for head in report.stored if head.core8 in here):
        return False
    return all(
        feed.opened == feed.length and (feed.core == core or opened.get(feed.core[:8], 0) >= feed.length)
        for feed in feeds
    )
