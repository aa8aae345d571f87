"""Five hundred storms, in `make soak` alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.soak import FIRST, soak
from tests.simulation.storm import MOVES

LOG = Path(__file__).parents[2] / "docs" / "evidence" / "simulation.txt"


@pytest.mark.soak
def test_devices_agree_after_random_faults_with_500_seeds() -> None:
    assert soak(range(FIRST, FIRST + 500), MOVES, minutes=60.0, jobs=2, log=LOG)
