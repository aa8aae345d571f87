"""A member claims to have seen entries of honest feeds that never were, and beyond every end."""

from __future__ import annotations

from crdt.space.control import FeedEnd, Witness
from tests.support.adversary import Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    writers = [w.writer for w in cast.club.state.writers.values()]
    for length in (1, 7, 10_000, 2**39):
        cast.controls(*(Witness(FeedEnd(writer, length, cast.mal.rng(32))) for writer in writers))
    cast.promises()
