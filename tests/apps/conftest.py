"""A phone, a desktop and a contact that are linked and have accepted invites: made once a session over real UDP, copied
for each test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.processes import Trio, trio


@pytest.fixture(scope="session")
def first_trio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first three profiles are kept, to be copied."""
    return tmp_path_factory.mktemp("trio") / "first"


@pytest.fixture
def three(first_trio: Path, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Trio]]:
    """`async with three() as trio:` gives three profiles whose nodes do not run yet."""
    return lambda: trio(first_trio, tmp_path / "trio")
