"""What the demo stands on: lines that differ, words that two ways of splitting count alike."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

import pytest

from apps.cli import lines
from apps.cli.lines import OWN, slices, words_to_find
from sync.service import models as m
from sync.service.api import KithkinError
from tests.apps.cli.desk import Desk
from tests.apps.cli.fake_service import FakeService


def test_without_the_corpus_the_demo_brings_its_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "corpus", lambda: None)
    parts = slices(3, 40)
    assert [len(part) for part in parts] == [40, 40, 40]
    assert len({line["text"] for part in parts for line in part}) == 120
    assert all(set(line) == {"at", "from", "text"} for part in parts for line in part)


def test_words_to_find_are_counted_by_text_not_by_occurrence() -> None:
    found = words_to_find([*OWN, "bridge bridge", "footbridges", "Stove"], 50)
    assert "bridge" not in found  # stands inside another word too
    assert found["stove"] == sum("stove" in text.casefold() for text in OWN) + 1
    assert all(len(word) >= 5 for word in found)


def raising(error: BaseException) -> Callable[[FakeService], Awaitable[m.Status]]:
    async def status(self: FakeService) -> m.Status:
        raise error

    return status


def test_ctrl_c_inside_a_command_is_130(ada: Desk) -> None:
    ada.patch.setattr(FakeService, "status", raising(KeyboardInterrupt()))
    said = ada.run("status")
    assert (said.code, said.out) == (130, "")


def test_full_disk_is_reported_with_its_code(ada: Desk) -> None:
    ada.patch.setattr(FakeService, "status", raising(OSError(errno.ENOSPC, "No space left on device")))
    said = ada.run("status")
    assert (said.code, said.error) == (1, "disk_full")


def test_a_refusal_out_of_a_group_of_tasks_keeps_its_code(ada: Desk) -> None:
    refusal = ExceptionGroup("tasks", [ExceptionGroup("inner", [KithkinError("expired", "Too late.")])])
    ada.patch.setattr(FakeService, "status", raising(refusal))
    assert ada.run("status").error == "expired"
