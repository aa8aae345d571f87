"""The whole table, written to docs/evidence/nat.md: 20 tries of every pair with every implementation, and scenarios."""

from __future__ import annotations

import asyncio

import pytest

from tests.network.measure import head, pairs, scenes
from tests.network.pairs import EVERY_STACKS, Stacks, table, wrong
from tests.network.parties import ROOT, Stack
from tests.network.router import Nat

TRIES, ROUNDS = 20, 2
OURS = Stacks(Stack.OURS, Stack.OURS)
LUCK = 0.1  # of the tries that guess a port


@pytest.mark.soak
def test_every_pair_of_routers_connects_with_every_stack(namespaces: None) -> None:
    measured, middle = asyncio.run(pairs(EVERY_STACKS, Stack.JS, TRIES, ROUNDS, list(Nat)))
    beside = asyncio.run(scenes(EVERY_STACKS, Stack.JS))
    told = [head(Stack.JS, f"--tries {TRIES} --rounds {ROUNDS}"), table(measured, middle), "", beside, ""]
    (ROOT / "docs" / "evidence" / "nat.md").write_text("\n".join(told))
    failed = [
        text
        for (pair, stacks), outcomes in measured.items()
        if stacks == OURS and (text := wrong(pair, stacks, outcomes, middle, LUCK))
    ]
    assert failed == []
