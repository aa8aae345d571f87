"""A member publishes other people's entries again in his own feed, sealed as they were and with their nonces."""

from __future__ import annotations

from crdt.docs.chat import Message
from crdt.log.entry import Kind, decode_plaintext, open_entry
from sync.space.outbound import Draft
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    cast.ada.send(CLUB, "said once")
    cast.world.settle()
    (row,) = cast.mal.rows(CLUB)
    space = cast.club
    entry = space.feed_store.entry(space.feed_store.feeds[row.core], row.seq)
    assert entry is not None
    text = decode_plaintext(open_entry(entry.key, row.core, space.id, entry.block))
    for _ in range(5):
        cast.appends(Draft(Kind.UPDATE, lambda seq: text.body))
    cast.says(Message(cast.mal.rng(16), "his own words"))
    cast.promises(also=["said once", "his own words"])
