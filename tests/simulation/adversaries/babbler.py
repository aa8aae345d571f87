"""A member writes entries of every kind whose bodies are noise."""

from __future__ import annotations

from crdt.log.entry import Kind
from tests.support.adversary import Cast


def play(seed: str) -> None:
    cast = Cast(seed)
    for kind in (Kind.UPDATE, Kind.CONTROL, Kind.DELETION, Kind.MERGE):
        for size in (0, 1, 32, 300, 4000):
            cast.seals(kind, cast.mal.rng(size))
    cast.promises()
