"""What a thief of an unlocked store can read: every row as it is, and every block that any key in there opens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crdt.log.entry import GRANT_TAG, message_key, open_entry, read_block
from identity.errors import DecodeError
from sync.engine.profile import Profile
from sync.space.space import Space
from sync.store.port import Table

Sealed = tuple[bytes, int, bytes, bytes]  # core key, seq, message key (empty where none is kept), block


def readable(profile: Profile, text: str) -> list[str]:
    """Where a text stands in a profile's store: tables, or the key that opens it."""
    wanted = text.encode()
    found = {
        table.name for table in Table for key, value in profile.store.scan(table) if wanted in key or wanted in value
    }
    for space in profile.spaces.values():
        for core, seq, key, block in blocks_of(space):
            found |= {name for name, opened in openings(space, core, seq, key, block) if wanted in opened}
    return sorted(found)


def blocks_of(space: Space) -> Iterator[Sealed]:
    """Every block of a space that is stored, wherever."""
    store = space.feed_store
    for feed in store.feeds.values():
        for seq, entry in enumerate(store.entries(feed, 0, feed.length)):
            if entry.block:
                yield feed.core, seq, entry.key, entry.block
        for seq in store.item_seqs.get(feed.core, ()):
            value = store.store.get(Table.ITEM, space.id + feed.core + seq.to_bytes(8, "big")) or b""
            yield feed.core, seq, value[:32], value[32:]
    for offshoot in store.offshoots.held.values():
        for seq in range(offshoot.start, offshoot.tree.length):
            beside = store.offshoots.entry(offshoot, seq)
            if beside is not None and beside.block:
                yield offshoot.core, seq, beside.key, beside.block


def openings(space: Space, core: bytes, seq: int, key: bytes, block: bytes) -> Iterator[tuple[str, bytes]]:
    """(which key, what it opens) of one block: its own key, and every epoch key of the space."""
    keys = [("message key", key)] if key else []
    keys += [(f"epoch {epoch.id.hex()[:8]}", message_key(epoch.secret, core, seq)[0]) for epoch in space.keys.values()]
    for name, one in keys:
        try:
            yield name, open_entry(one, core, space.id, block, read_block(block))
        except DecodeError:
            continue


@dataclass(frozen=True, slots=True)
class Recorded:
    """A sealed block as somebody kept it, and what it said then."""

    space: bytes
    core: bytes
    seq: int
    block: bytes
    text: bytes


def record(profile: Profile, text: str) -> list[Recorded]:
    """Every block in a profile's store that holds a text."""
    wanted, found = text.encode(), []
    for space in profile.spaces.values():
        for core, seq, key, block in blocks_of(space):
            for _, opened in list(openings(space, core, seq, key, block))[:1]:
                if wanted in opened:
                    found.append(Recorded(space.id, core, seq, block, opened))
    return found


def openers(profile: Profile, kept: Recorded) -> set[str]:
    """Which kinds of secrets in a profile's store open a block that was recorded before: every key is tried as the
    block's own and as that of its epoch, and so is what the grants in the store give to this device."""
    found = set()
    for kind, secret in secrets_in(profile):
        for key in (secret, message_key(secret, kept.core, kept.seq)[0]):
            try:
                opened = open_entry(key, kept.core, kept.space, kept.block, read_block(kept.block))
            except DecodeError:
                continue
            assert opened == kept.text
            found.add(kind)
    return found


def secrets_in(profile: Profile) -> Iterator[tuple[str, bytes]]:
    """(kind, 32 bytes) of every secret that a store holds, and of what its grants give."""
    keys = profile.account.keys
    yield from (("S", keys.signing.seed), ("D", keys.agreement.secret))
    for prekey in keys.prekeys:
        yield "P", prekey.key.agreement.secret
    for _, transport in profile.account.transports:
        yield "T", transport.seed
    for space in profile.spaces.values():
        if space.mine is not None and space.mine.key is not None:
            yield "W", space.mine.key.seed
        yield from (("Z", z) for z in space.rendezvous)
        for epoch in space.keys.values():
            yield from (("epoch", epoch.secret), ("Z", epoch.z))
        for core, seq, key, block in blocks_of(space):
            if key:
                yield "message key", key
            header = read_block(block)
            opened = space.epoch_keys.try_grant(core, seq, header) if header.tag == GRANT_TAG else None
            if opened is not None:
                yield "grant", opened.secret
