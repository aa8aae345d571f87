"""The production fold held against the model, for every state that a replica of the model asked for in a run."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from tests.property.membership.reference import Translation, id32, state_at, usable_of


class Watch:
    """Notes every replica of a run and every set of control entries it folded."""

    def __init__(self, model: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.replicas: list[Any] = []
        self.states: dict[frozenset[str], Any] = {}
        self.stopped: dict[frozenset[str], bool] = {}
        make, state = model.Replica.__init__, model.Replica.state

        def watched_make(replica: Any, *args: Any, **kwargs: Any) -> None:
            make(replica, *args, **kwargs)
            self.replicas.append(replica)

        def watched_state(replica: Any) -> Any:
            found = state(replica)
            if replica.f.version == 1:  # a later one knows operations that production does not
                self.states[replica.control()] = found
                self.stopped[replica.control()] = replica.f.stopped(replica.w.nodes(replica.control()))
            return found

        monkeypatch.setattr(model.Replica, "__init__", watched_make)
        monkeypatch.setattr(model.Replica, "state", watched_state)

    def clear(self) -> None:
        self.replicas.clear()
        self.states.clear()
        self.stopped.clear()


def compare(watch: Watch, rng: random.Random) -> int:
    """Compares all states seen since the last `clear`; gives their number."""
    worlds = {id(replica.w): replica.w for replica in watch.replicas}
    for world in worlds.values():
        here = [r for r in watch.replicas if r.w is world]
        mine = Translation(world)
        every = {i for ids in watch.states for i in ids if all(i in world.e and world.e[i] for i in ids)}
        every &= {i for r in here for i in r.have}
        graph = mine.graph()
        for i in mine.in_order(every):
            graph.add(mine.entry(i))
        assert len(graph) == len(every)
        for ids, state in watch.states.items():
            if ids and ids <= every:
                found = state_at(graph, map(id32, ids))
                differences = mine.differences(state, found)
                assert differences == [], (differences, ids)
                assert found.stopped == watch.stopped[ids], ids
        for replica in here:
            if replica.f.version == 1:
                check_replica(replica, mine, rng)
    return len(watch.states)


def check_replica(replica: Any, mine: Translation, rng: random.Random) -> None:
    """One replica's own graph, arrived in any order or as it was written: its state, its epochs, what it shows.

    Asked now and then in between, so that states follow from those before.
    """
    ids = mine.in_order(replica.control())
    if rng.random() < 0.5:
        rng.shuffle(ids)
    often = rng.choice((0.0, 0.3, 1.0))
    graph = mine.graph()
    for i in ids:
        graph.add(mine.entry(i))
        if rng.random() < often:
            graph.state()
    assert not graph.missing() and len(graph) == len(ids)
    model_state, state = type(replica).state(replica), graph.state()
    differences = mine.differences(model_state, state)
    assert differences == [], differences
    writer = model_state.writers.get(replica.feed)
    if writer and writer[1] == replica.device and model_state.open(replica.feed):
        want = sorted(id32(n[0]) for n in replica.usable(model_state))
        assert usable_of(state, mine.core(replica.feed)) == want
    for i in replica.have:
        e = mine.world.e[i]
        assert state.shows(mine.core(e.feed), e.seq, id32(i)) == replica.f.shows(i, model_state)
