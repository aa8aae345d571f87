"""Three deeds at a time after a small common past, in every order of knowledge and of delivery: the promises hold.

Deeds, people and statements are in `deeds.py`, what has to hold in `promises.py`.  `make soak` takes all deeds, lies
among them; here are the more telling half of them three at a time, and all two at a time with hashes either way.
"""

from __future__ import annotations

import pytest

from tests.property.exploration.deeds import BOUNDS, Bounds
from tests.property.exploration.explore import Count, Exploration
from tests.property.exploration.faults import FAULTS, Fault
from tests.property.exploration.promises import check
from tests.property.exploration.soak import LOG, soak

THREE = {"people": Count(5106, 10876), "devices": Count(3249, 7849), "pair": Count(878, 1966)}
TWO = {"people": Count(724, 950), "devices": Count(789, 1063), "pair": Count(199, 264)}


@pytest.mark.parametrize("name", BOUNDS)
def test_promises_hold_in_every_history_of_three_deeds(name: str) -> None:
    exploration = Exploration(BOUNDS[name](False), check, depth=3)
    assert [str(found) for found in exploration.found()] == []
    assert exploration.count == THREE[name], "docs/evidence/exploration.md names these figures"


@pytest.mark.parametrize("salt", [0, 1])
@pytest.mark.parametrize("name", BOUNDS)
def test_promises_hold_in_every_history_of_two_deeds_with_lies_and_hashes_either_way(name: str, salt: int) -> None:
    exploration = Exploration(BOUNDS[name](True), check, depth=2, salt=salt)
    assert [str(found) for found in exploration.found()] == []
    assert exploration.count == TWO[name]


@pytest.mark.parametrize(("name", "forks"), [("people", "a1"), ("devices", "a1"), ("devices", "c2"), ("pair", "a1")])
def test_promises_hold_where_a_device_forks_its_feed(name: str, forks: str) -> None:
    exploration = Exploration(BOUNDS[name](True), check, depth=2, forks=forks)
    assert [str(found) for found in exploration.found()] == []
    assert exploration.count.histories > TWO[name].histories


@pytest.mark.parametrize("name", BOUNDS)
def test_every_deed_is_done_in_some_history(name: str) -> None:
    """None of them is there for show.  What newcomers do needs one or two deeds of `a1` before it."""
    done: set[str] = set()
    bounds = BOUNDS[name](True)

    def look(past: object, history: tuple[object, ...], state: object) -> list[str]:
        done.update(str(one) for one in history)
        return []

    assert list(Exploration(bounds, look, depth=2).found()) == []
    rest = tuple(deed for deed in bounds.deeds if deed.name not in done or deed.author == "a1")
    assert list(Exploration(Bounds(bounds.past, rest), look, depth=3).found()) == []
    assert [deed.name for deed in bounds.deeds if deed.name not in done] == []


@pytest.mark.parametrize("name", FAULTS)
def test_exploration_finds_the_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Production with one rule left out breaks a promise within two deeds."""
    fault: Fault = FAULTS[name]
    bounds = BOUNDS[fault.bounds](True)
    fault.seed(monkeypatch)
    found = next(Exploration(bounds, check, depth=2).found(), None)
    assert found is not None, f"nothing notices that {fault.rule!r} is left out"
    assert str(found) == fault.found


@pytest.mark.soak
def test_promises_and_the_model_hold_in_every_history_of_three_deeds_with_lies() -> None:
    assert soak(LOG)
