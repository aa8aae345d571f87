"""Random histories of spaces, folded by production and by this implementation: everything that they say agrees.

`make test` compares the first 100; `make soak` a thousand, and beside them what four devices of each hold.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import fields, replace

import pytest

from tests.second.comparison import compare, compare_parts, tally
from tests.second.rules import AS_WRITTEN, Rules

PARTS = 5
EACH = 20
SEEDS = [int(seed) for seed in os.environ.get("KITHKIN_SECOND_SEEDS", "").split(",") if seed]
THOUSAND = range(1000)


def agree(seed: int) -> None:
    """Compares one history, and says how to see it again."""
    again = f"KITHKIN_SECOND_SEEDS={seed} pytest tests/second/test_graphs.py -k random_space"
    differing = compare(seed)
    assert [name for name, _, _ in differing] == [], again


@pytest.mark.parametrize("part", range(PARTS))
def test_both_folds_of_a_random_space_agree(part: int) -> None:
    for seed in SEEDS or range(part * EACH, (part + 1) * EACH):
        agree(seed)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_both_folds_agree_in_a_thousand_random_spaces(part: int) -> None:
    for seed in THOUSAND[part::10]:
        agree(seed)
        assert compare_parts(seed) == [], seed


def test_every_operation_counts_somewhere_and_is_refused_somewhere() -> None:
    """The histories are no formality: in two dozen of them each operation meets both ends."""
    seen: Counter[tuple[str, bool]] = Counter()
    for seed in range(28):
        seen += tally(seed)
    for name in ("Add", "Admit", "Close", "Admin", "Set", "Epoch", "Revoke", "Witness", "Succeed", "Slots"):
        assert seen[name, True] and seen[name, False], (name, seen)
    assert seen["out", True] and seen["closed", True] and seen["forked", True] and seen["stopped", True], seen


# A history in which each fault shows.
SHOWN = {
    "newest_word": 2,
    "nearest_rank": 283,
    "own_past": 12,
    "appointed_stay": 125,
    "spares": 2,
    "unnamed_end": 1,
    "standing_newcomers": 0,
}


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_a_fold_without_one_rule_is_noticed(rule: str) -> None:
    seed = SHOWN[rule]
    assert compare(seed) == []
    assert compare(seed, replace(AS_WRITTEN, **{rule: False})) != []
