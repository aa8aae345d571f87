"""The way out: entries of my feed, sealed, signed, and read by the same rules as anybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crdt.log.entry import GRANT_TAG, Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import MAX_HEADS, HeadRef, plan_merges, sign_head
from crdt.log.merkle import Leaf, leaf_of
from crdt.log.stamp import next_stamp
from sync.account.context import Context
from sync.space.delta import ChangeLog
from sync.space.feed import EntryState, encode_entry
from sync.space.feed_store import FeedStore
from sync.space.inbound import Inbound
from sync.space.keys import EpochKeys


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to write.  body: made for its seq, since a document names its place; grant and key: of an epoch."""

    kind: Kind
    body: Callable[[int], bytes]
    grant: Callable[[int], bytes] | None = None
    secret: bytes | None = field(default=None, repr=False)


class Outbound:
    """Appends to my feed of one space."""

    def __init__(
        self, context: Context, feed_store: FeedStore, epoch_keys: EpochKeys, inbound: Inbound, changes: ChangeLog
    ) -> None:
        self._context, self._feed_store, self._epoch_keys, self._inbound, self._changes = (
            context,
            feed_store,
            epoch_keys,
            inbound,
            changes,
        )

    def append(self, drafts: Sequence[Draft], now_ms: int) -> list[tuple[int, Leaf]]:
        """Seals and signs entries of my feed into the batch, in order; one signature covers all.

        Returns (seq, leaf) of each.  The caller has made sure that there is a key to seal under.
        """
        batch, feed_store, inbound = self._context.batch, self._feed_store, self._inbound
        feed = feed_store.mine
        if feed is None or feed.key is None:
            raise ValueError("no feed of mine in this space")
        core = feed.core
        current = self._epoch_keys.in_use(now_ms)
        uncovered = inbound.uncovered(core)
        # Block 0 is a control entry: what more there is to name, the next entry names.
        merges, heads = plan_merges(uncovered if feed.length else uncovered[:MAX_HEADS])
        plans: list[tuple[Draft, Sequence[HeadRef]]] = [(Draft(Kind.MERGE, lambda seq: b""), refs) for refs in merges]
        plans += [(draft, heads if index == 0 else ()) for index, draft in enumerate(drafts)]
        before, start, stamp = feed.tree, feed.length, feed.stamp
        others, own = inbound.leading_stamps(now_ms)
        leaves: list[Leaf] = []
        texts: list[bytes] = []
        for draft, refs in plans:
            seq = start + len(leaves)
            stamp = next_stamp(stamp, others, now_ms, own)
            text = encode_plaintext(Plaintext(draft.kind, stamp, tuple(refs), draft.body(seq)))
            secret = draft.secret or (current.secret if current is not None else None)
            if secret is None:
                raise ValueError("no epoch to write under")
            key, tag = message_key(secret, core, seq)
            grant = draft.grant(seq) if draft.grant is not None else b""
            block = seal_entry(key, GRANT_TAG if grant else tag, core, feed_store.space, seq, text, grant)
            feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
            leaves.append(leaf_of(block))
            texts.append(text)
        tree, nodes = before.extend(leaves)
        feed_store.extend(batch, feed, tree, nodes, sign_head(feed.key, tree))
        self._changes.feed_grew(feed.writer)
        if current is not None:
            self._epoch_keys.keyring.use(core, current, start, start + len(texts))
        for index, text in enumerate(texts):
            inbound.opened(feed, start + index, leaves[index], text, before, leaves, start, now_ms)
        inbound.advance(feed)
        return [(start + len(merges) + i, leaves[len(merges) + i]) for i in range(len(drafts))]
