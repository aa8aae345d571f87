"""The state that follows from the one before is the one that everything folds to at once."""

from __future__ import annotations

import random

import pytest

from tests.property.space.random_group import RandomGroup


@pytest.mark.parametrize("seed", range(40))
def test_state_that_follows_from_the_one_before_is_that_of_all_entries_at_once(seed: int) -> None:
    group = RandomGroup(seed)
    group.live(60)
    group.settle()
    entries = {entry.id: entry for device in group.devices for entry in device.held.values()}
    rng = random.Random(seed)
    given = list(entries.values())
    for shuffled in (False, True):
        if shuffled:
            rng.shuffle(given)
        step = group.graph()
        for entry in given:
            step.add(entry)
            step.state()
            if rng.random() < 0.2:
                whole = group.graph()
                for row in step._history.rows.values():
                    whole.add(row.entry)
                assert whole.state() == step.state(), entry.id
