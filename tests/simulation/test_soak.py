"""Five hundred storms, in `make soak` alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.soak import FIRST, soak
from tests.simulation.storm import MOVES

LOG = Path(__file__).parents[2] / "docs" / "evidence" / "simulation.txt"


@pytest.mark.soak
def test_five_hundred_storms() -> None:
    assert soak(range(FIRST, FIRST + 500), MOVES, minutes=60.0, jobs=2, log=LOG)
