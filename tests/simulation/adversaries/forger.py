"""A member edits, deletes and re-publishes other people's messages."""

from __future__ import annotations

from crdt.docs.chat import Edit, Message
from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.log.entry import Kind
from crdt.log.merkle import leaf_of
from sync.space.outbound import Draft
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    cast.ada.send(CLUB, "what Ada said")
    cast.world.settle()
    (row,) = cast.mal.rows(CLUB)
    space = cast.club
    entry = space.feed_store.entry(space.feed_store.feeds[row.core], row.seq)
    assert entry is not None
    block = Block(row.core, row.seq, leaf_of(entry.block)[1])
    cast.says(Edit(row.id, "what Mal made of it"))
    cast.appends(Draft(Kind.DELETION, lambda seq: encode_deletion(Deletion(row.id, (block,)))))
    cast.appends(Draft(Kind.DELETION, lambda seq: encode_deletion(Deletion(bytes(32), (block,)))))
    cast.says(Message(bytes(16), "a message with a made-up nonce"))
    cast.promises(also=["what Ada said"], never=["what Mal made of it"])
    assert cast.world.outbox(cast.ada) == []
