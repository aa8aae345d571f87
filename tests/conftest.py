"""What holds for every test: hypothesis profiles, `--soak`, and in CI the list of skips that must be exact."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.skips import SkipList, holding

SKIPS = Path(__file__).with_name("skips.txt")
CI = os.environ.get("CI") == "true"

# Nothing that a test starts may meet the public network or this one; a test that needs a DHT names its own.
os.environ["KITHKIN_BOOTSTRAP"], os.environ["KITHKIN_LAN"] = "", "off"

# People see local times; what tests expect to see must not depend on where they run.
os.environ["TZ"] = "UTC"
time.tzset()

# No deadline: two shared cores say nothing about a single example.  Derandomised in CI, so that red means a change.
settings.register_profile("here", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if CI else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests are left out, not skipped: the list of skips is about tests that should have run."""
    if config.getoption("--soak"):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def pytest_configure(config: pytest.Config) -> None:
    # The whole suite alone can be held against the list, and only by the process that sees all reports.
    whole = not config.getoption("keyword") and not config.getoption("markexpr") and config.args in ([], ["tests"])
    if CI and whole and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipList(SKIPS.read_text("utf-8"), holding()), "skip-list")
