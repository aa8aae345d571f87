"""Every named adversary with two seeds; `make soak` plays each with twenty.

A story fails where honest devices disagree, lose a message, show what nobody had the right to say, meet a defect, or
work without bound (`tests/support/adversary.py`).
"""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from tests.simulation import adversaries

STORIES = sorted(module.name for module in pkgutil.iter_modules(adversaries.__path__))


def play(story: str, number: int) -> None:
    importlib.import_module(f"{adversaries.__name__}.{story}").play(f"{story}/{number}")


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("story", STORIES)
def test_honest_devices_keep_their_promises_beside(story: str, number: int) -> None:
    play(story, number)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(2, 20))
@pytest.mark.parametrize("story", STORIES)
def test_honest_devices_keep_their_promises_beside_with_more_seeds(story: str, number: int) -> None:
    play(story, number)
