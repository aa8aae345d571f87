"""The tables of transitions are whole, and the page that shows them is the one made from them."""

from __future__ import annotations

import pytest

from tests.house.state_machines import MACHINES, PAGE, Machine, render

EACH = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.path)


def test_the_page_of_state_machines_is_made_from_the_tables() -> None:
    assert PAGE.read_text() == render(), "stale: run python -m tests.house.state_machines"


@EACH
def test_every_state_is_reached_and_every_state_but_the_last_goes_on(machine: Machine) -> None:
    reached = {machine.first, *(then for _, _, then in machine.steps)}
    assert reached == set(machine.states)
    assert {state for state, _, _ in machine.steps} == {state for state in machine.states if state.name != "OVER"}
