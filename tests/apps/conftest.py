"""A phone, a desktop and a friend who know each other: made once a session over real UDP, copied for each test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.processes import Trio, trio


@pytest.fixture(scope="session")
def first_trio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trio") / "first"


@pytest.fixture
def three(first_trio: Path, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Trio]]:
    """`async with three() as trio:` three profiles that nobody runs yet."""
    return lambda: trio(first_trio, tmp_path / "trio")
