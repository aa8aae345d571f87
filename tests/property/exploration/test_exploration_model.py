"""The same explorations, each state held against the executable model of the text."""

from __future__ import annotations

import pytest

from tests.property.exploration.deeds import BOUNDS
from tests.property.exploration.explore import Exploration
from tests.property.exploration.reference import Model


@pytest.mark.parametrize("salt", [0, 1])
@pytest.mark.parametrize("name", BOUNDS)
def test_production_equals_the_model_in_every_history_of_two_deeds(name: str, salt: int) -> None:
    bounds = BOUNDS[name](True)
    exploration = Exploration(bounds, Model(bounds.past).check, depth=2, salt=salt)
    assert [str(found) for found in exploration.found()] == []


def test_production_equals_the_model_in_every_history_of_three_deeds_of_two_persons() -> None:
    """Of four persons and of two with two devices each: in `make soak`."""
    bounds = BOUNDS["pair"](False)
    exploration = Exploration(bounds, Model(bounds.past).check, depth=3)
    assert [str(found) for found in exploration.found()] == []


def test_comparison_notices_a_model_without_the_last_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = BOUNDS["devices"](True)
    model = Model(bounds.past)
    monkeypatch.setattr(model.model, "AUTHOR_OPEN", False)
    assert any("closes" in found.what for found in Exploration(bounds, model.check, depth=2).found())
