"""A member closes his own feeds at lengths that never were, over and over, and closes feeds of others as his own."""

from __future__ import annotations

from crdt.space.control import Close, FeedEnd
from tests.support.adversary import CLUB, Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    others = [w.writer for w in cast.club.state.writers.values() if w.writer != cast.feed.writer]
    for writer in others:
        cast.controls(Close(None, (FeedEnd(writer, 1, cast.mal.rng(32)),)))
        cast.controls(Close(None, (FeedEnd(writer, 0, bytes(32)),)))
    cast.controls(Close(None, (FeedEnd(cast.feed.writer, 2**39, cast.mal.rng(32)),)))
    cast.promises()
    for honest in cast.honest:
        mine = honest.space(CLUB).mine
        assert mine is not None and honest.space(CLUB).state.open(mine.core)
