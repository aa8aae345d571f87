"""The production fold against the executable model of the text (`FIXED`), state by state.

Every state that any replica of the model asked for in a run is asked of production too: one graph that holds everything
answers for all of them, and graphs that grew in other orders answer for the last ones.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from tests.property.membership.reference import load_model
from tests.property.membership.soak_histories import histories, soak
from tests.property.membership.watch import Watch, compare

RUNS = int(os.environ.get("KITHKIN_MODEL_RUNS", "60"))
FIRST = int(os.environ.get("KITHKIN_MODEL_SEED", "5000"))
PARTS = 5
LOG = Path(__file__).parents[3] / "docs" / "evidence" / "histories.txt"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_model()


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


@pytest.mark.parametrize("part", range(PARTS))
def test_production_equals_the_reference_model_in_random_histories(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Every second one with recoveries by phrase, thieves and statements that some do not get."""
    seeds = range(FIRST + part, FIRST + RUNS, PARTS)
    assert histories(model, Watch(model, monkeypatch), seeds, trust=part % 2 == 1) >= len(seeds)


# Seed, whether with thieves: histories of long runs in which something was found, and what.
FOUND = (
    (20_282, False),  # a device of the creator's ended the others, though its own past showed it as no writer
)


@pytest.mark.parametrize(("seed", "trust"), FOUND)
def test_history_in_which_something_was_found_holds(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, seed: int, trust: bool
) -> None:
    assert histories(model, Watch(model, monkeypatch), [seed], trust)


@pytest.mark.soak
def test_production_equals_the_reference_model_in_five_thousand_histories() -> None:
    assert soak(5000, LOG)


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
