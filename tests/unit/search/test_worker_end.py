"""The search process lets itself go when idle: quietly, and the next question starts another."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync.search.worker import WorkerSearch
from tests.unit.search.backends import needs_duckdb

pytestmark = needs_duckdb


def test_idle_process_ends_with_status_0_and_no_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    search = WorkerSearch(tmp_path / "index.duckdb", bytes(32), idle_s=0.2)
    assert search.count() == 0
    child = search._child
    assert child is not None and child.wait(30) == 0
    assert capfd.readouterr().err == ""
    assert search.count() == 0
    search.close()
