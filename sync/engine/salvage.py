"""What is left of a damaged backup, made a store again: feeds are taken in as if they had just arrived.

Everything but the entries themselves follows from them, so nothing else of a damaged store has to be whole: of each
feed the entries up to the first one that is missing are read by the ordinary way in.  What is missing behind that
comes from other devices, as it does after any restore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crdt.docs.own import OwnChat, OwnContact
from crdt.docs.schema import Value
from crdt.log.merkle import Leaf
from crdt.space.control import SpaceKind
from crdt.space.rendezvous import space_id
from identity.kem import Kem
from identity.keys import Random
from sync.engine.profile import KINDS, Profile
from sync.replicate.messages import Block
from sync.space.feed import EntryState, Feed, StoredEntry, decode_entry, entry_key, leaf_of_entry, load_feeds
from sync.space.space import Space
from sync.store.port import Batch, Store, Table

KEPT = (Table.META, Table.SPACE, Table.EPOCH, Table.PEER)  # what does not follow from entries
RUN = 250  # entries of one commit


def salvage(
    source: Store, target: Store, rng: Random, kem: Kem | None, now_ms: int, told: Callable[[int], None]
) -> int:
    """Fills an empty store from one that misses rows; how many entries are missing.  told: entries taken in so far.

    Raises LookupError, DecodeError where the account or the list of spaces is among what is lost.
    """
    batch = Batch()
    for table in KEPT:
        batch.put_many(table, source.scan(table))
    target.write(batch, durable=False)
    profile = Profile(target, rng, kem)
    missing = taken = 0
    for space in profile.spaces.values():
        for feed in load_feeds(source, space.id):
            for count in _take_in(profile, space, source, feed, now_ms):
                taken += count
                told(taken)
            missing += feed.length - space.feed_store.by_writer[feed.writer].length
    return missing


def _take_in(profile: Profile, space: Space, source: Store, feed: Feed, now_ms: int) -> Iterator[int]:
    """One feed, a run of entries a commit; how many each held."""
    store = space.feed_store
    signed = feed.head.length if feed.head is not None else 0
    held = store.feed(feed.writer, feed.key)
    while held.length < feed.length:
        at = held.length
        end = min(at + RUN, feed.length, signed if at < signed else feed.length)
        entries = _run(source, feed, at, end)
        leaves: list[Leaf] = [leaf_of_entry(entry) for entry in entries]
        tree, nodes = held.tree.extend(leaves)
        batch = profile.context.batch
        for place, entry in enumerate(entries):
            if entry.state is EntryState.OPENED:
                store.put_item(batch, feed.core, at + place, entry.key, entry.block)
        blocks: list[Block] = [entry.leaf if entry.leaf is not None else entry.block for entry in entries]
        head = feed.head if tree.length == signed else None
        if entries:
            space.inbound.absorb(feed.writer, at, blocks, leaves, tree, nodes, head, now_ms)
        profile.commit(now_ms)
        yield len(entries)
        if len(entries) < end - at:
            return
    profile.commit(now_ms)


def _run(source: Store, feed: Feed, start: int, end: int) -> list[StoredEntry]:
    """Entries from a place on, up to the first that is missing."""
    found: list[StoredEntry] = []
    for key, value in source.scan(Table.ENTRY, entry_key(feed.number, start), entry_key(feed.number, end)):
        if key != entry_key(feed.number, start + len(found)):
            break
        found.append(decode_entry(value))
    return found


def list_again(profile: Profile, now_ms: int) -> None:
    """Chats whose entry in my lists is among what is lost stand there again, and people with whom I have one."""
    view, me = profile.view, profile.account.identity
    values: list[Value] = []
    for space in profile.spaces.values():
        mine = space.mine
        if space.personal or space.id in view.chats or mine is None or not space.may_write:
            continue
        others = [member.identity for member in space.state.members.values() if member.identity != me]
        peer = others[0] if space.kind is SpaceKind.DIRECT and others else None
        creator = next(w.writer for w in space.state.writers.values() if space_id(w.core) == space.id)
        title = space.state.title or None
        values.append(
            OwnChat(
                space.id,
                on=True,
                kind=KINDS[space.kind],
                state="active",
                creator=creator,
                title=title,
                peer=peer,
                rendezvous=space.z,
            )
        )
        if peer is not None and peer not in view.contacts:
            values.append(OwnContact(peer, on=True, space=space.id))
    if values and profile.personal.may_write:
        profile.note(now_ms, *values)
        profile.commit(now_ms)
