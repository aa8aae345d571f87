"""Without root, or without the tools, these tests are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.namespaces import missing
from tests.network.topology import Internet


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips the tests of this folder where network namespaces cannot be made."""
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture
def net(namespaces: None) -> Iterator[Internet]:
    """An internet of network namespaces, removed after the test."""
    with Internet() as made:
        yield made
