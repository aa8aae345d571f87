"""Without root, or without the tools, these tests are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.namespaces import missing
from tests.network.topology import Internet


@pytest.fixture(scope="session")
def ground() -> None:
    """The ground that the tests of this folder stand on."""
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture
def net(ground: None) -> Iterator[Internet]:
    with Internet() as made:
        yield made
