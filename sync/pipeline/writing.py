"""The way out: entries of my feed, sealed, signed, and read by the same rules as anybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crdt.log.entry import GRANT_TAG, Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import HeadRef, plan_merges, sign_head
from crdt.log.merkle import Leaf, leaf_of
from crdt.log.stamp import next_stamp
from sync.pipeline.access import Access
from sync.pipeline.changes import Changes
from sync.pipeline.feed import EntryState, encode_entry
from sync.pipeline.home import Home
from sync.pipeline.intake import Intake
from sync.pipeline.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to write.  body: made for its seq, since a document names its place; grant and key: of an epoch."""

    kind: Kind
    body: Callable[[int], bytes]
    grant: Callable[[int], bytes] | None = None
    secret: bytes | None = field(default=None, repr=False)


class Writing:
    """Appends to my feed of one space."""

    def __init__(self, home: Home, shelf: Shelf, access: Access, intake: Intake, changes: Changes) -> None:
        self._home, self._shelf, self._access, self._intake, self._changes = home, shelf, access, intake, changes

    def append(self, drafts: Sequence[Draft], now_ms: int) -> list[tuple[int, Leaf]]:
        """Seals and signs entries of my feed into the batch, in order; one signature covers all.

        Returns (seq, leaf) of each.  The caller has made sure that there is a key to seal under.
        """
        batch, shelf, intake = self._home.batch, self._shelf, self._intake
        feed = shelf.mine
        if feed is None or feed.key is None:
            raise ValueError("no feed of mine in this space")
        core = feed.core
        current = self._access.in_use(now_ms)
        merges, heads = plan_merges(intake.uncovered(core))
        plans: list[tuple[Draft, Sequence[HeadRef]]] = [(Draft(Kind.MERGE, lambda seq: b""), refs) for refs in merges]
        plans += [(draft, heads if index == 0 else ()) for index, draft in enumerate(drafts)]
        before, start, stamp = feed.tree, feed.length, feed.stamp
        leaves: list[Leaf] = []
        texts: list[bytes] = []
        for draft, refs in plans:
            seq = start + len(leaves)
            stamp = next_stamp(stamp, intake.seen_stamp, now_ms)
            text = encode_plaintext(Plaintext(draft.kind, stamp, tuple(refs), draft.body(seq)))
            secret = draft.secret or (current.secret if current is not None else None)
            if secret is None:
                raise ValueError("no epoch to write under")
            key, tag = message_key(secret, core, seq)
            grant = draft.grant(seq) if draft.grant is not None else b""
            block = seal_entry(key, GRANT_TAG if grant else tag, core, shelf.space, seq, text, grant)
            shelf.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
            leaves.append(leaf_of(block))
            texts.append(text)
        tree, nodes = before.extend(leaves)
        shelf.extend(batch, feed, tree, nodes, sign_head(feed.key, tree))
        self._changes.moved.add(feed.writer)
        if current is not None:
            self._access.keyring.use(core, current, start, start + len(texts))
        for index, text in enumerate(texts):
            intake.opened(feed, start + index, leaves[index], text, before, leaves, start, now_ms)
        intake.advance(feed)
        return [(start + len(merges) + i, leaves[len(merges) + i]) for i in range(len(drafts))]
