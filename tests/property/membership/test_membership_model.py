"""The production fold against the executable model of the text (`FIXED`), state by state.

Every state that any replica of the model asked for in a run is asked of production too: one graph that holds everything
answers for all of them, and graphs that grew in other orders answer for the last ones.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from tests.property.membership.reference import Translation, id32, load_model, state_at, usable_of

RUNS = int(os.environ.get("KITHKIN_MODEL_RUNS", "60"))
FIRST = int(os.environ.get("KITHKIN_MODEL_SEED", "5000"))
PARTS = 5


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_model()


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
        mine = translation_of(world)
        every = {i for ids in watch.states for i in ids if all(i in world.e and world.e[i] for i in ids)}
        every &= {i for r in here for i in r.have}
        graph = mine.graph()
        for i in mine.in_order(every):
            graph.add(mine.entry(i))
        assert len(graph) == len(every)
        for ids, state in watch.states.items():
            if ids and ids <= every:
                found = state_at(graph, map(id32, ids))
                assert mine.differences(state, found) == [], ids
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
    assert mine.differences(model_state, state) == []
    writer = model_state.writers.get(replica.feed)
    if writer and writer[1] == replica.device and model_state.open(replica.feed):
        want = sorted(id32(n[0]) for n in replica.usable(model_state))
        assert usable_of(state, mine.core(replica.feed)) == want
    for i in replica.have:
        e = mine.world.e[i]
        assert state.shows(mine.core(e.feed), e.seq, id32(i)) == replica.f.shows(i, model_state)


def translation_of(world: Any) -> Translation:
    return Translation(world)


def test_production_equals_the_reference_model_in_every_named_scenario(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, rng = Watch(model, monkeypatch), random.Random(1)
    seen = []
    for scenario in model.SCENARIOS:
        watch.clear()
        assert scenario(model.FIXED) == [], scenario.__name__
        assert compare(watch, rng) > 0
        seen.append(scenario.__name__)
    assert len(seen) == 36


def held(model: ModuleType, watch: Watch, seeds: Iterable[int], trust: bool) -> int:
    compared = 0
    for seed in seeds:
        watch.clear()
        violations, examples = model.random_run(seed, model.FIXED, trust=trust)
        assert not violations, examples
        try:
            compared += compare(watch, random.Random(seed))
        except AssertionError as failed:
            again = f"KITHKIN_MODEL_SEED={seed} KITHKIN_MODEL_RUNS=1 pytest tests/property/membership -k random"
            raise AssertionError(f"{again}: {failed}") from failed
    return compared


@pytest.mark.parametrize("part", range(PARTS))
def test_production_equals_the_reference_model_in_random_histories(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Every second one with recoveries by phrase, thieves and statements that some do not get."""
    seeds = range(FIRST + part, FIRST + RUNS, PARTS)
    assert held(model, Watch(model, monkeypatch), seeds, trust=part % 2 == 1) >= len(seeds)


@pytest.mark.soak
@pytest.mark.parametrize("trust", [False, True])
def test_production_equals_the_reference_model_in_five_thousand_histories(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, trust: bool
) -> None:
    assert held(model, Watch(model, monkeypatch), range(20_000, 22_500), trust) > 2500


# Each rule of the fold, and a scenario of the model in which production would be caught without it.
RULES = (
    "ranked",
    "support",
    "own_min",
    "whole_member",
    "nearest",
    "low",
    "cover",
    "revoke",
    "consent",
    "direct_add",
    "opener_in",
    "own_first",
    "shield",
    "fork_close",
    "succ_void",
    "bound",
    "direct_rev",
    "per_item",
    "unnamed",
    "newest",
    "a_shows",
    "survive",
    "s_known",
    "s_keeps",
    "own_past",
    "must",
)


# Rules that no named scenario rests upon, and histories that do.
SHOWING = {"a_shows": (5016, 5028)}


@pytest.mark.parametrize("rule", RULES)
def test_comparison_fails_when_the_model_lacks_a_rule(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    """The model without one rule differs from production somewhere: the comparison is no rubber stamp."""
    watch = Watch(model, monkeypatch)
    instead = {"own_first": {"rev_first": True}, "revoke": {"newest": False}}
    lacking = replace(model.FIXED, **{rule: False}, **instead.get(rule, {}))
    runs = [partial(scenario, lacking) for scenario in model.SCENARIOS]
    runs += [partial(model.random_run, seed, lacking, trust=True) for seed in SHOWING.get(rule, ())]
    caught = 0
    for run in runs:
        watch.clear()
        run()
        try:
            compare(watch, random.Random(1))
        except AssertionError:
            caught += 1
    assert caught
