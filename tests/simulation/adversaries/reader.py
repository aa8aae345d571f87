"""A member claims to have read what was never written, and what he cannot know of."""

from __future__ import annotations

from crdt.docs.chat import Receipt
from crdt.docs.ids import writer_id
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    cores = [w.core for w in cast.club.state.writers.values()]
    cast.says(Receipt(tuple(sorted((writer_id(core), 2**52) for core in cores))))
    cast.world.cut(cast.bob, [cast.ada, cast.mal])
    cast.ada.send(CLUB, "Bob has not seen this")
    cast.world.settle()
    (sent,) = [m for m in cast.world.of(cast.ada, CLUB) if m.text == "Bob has not seen this"]
    assert sent.state == "queued", "Mal's word is not Bob's"
    cast.promises(also=["Bob has not seen this"])
