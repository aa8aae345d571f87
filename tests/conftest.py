"""What holds for every test: hypothesis profiles, `--soak`, and in CI the list of skips that must be exact."""

from __future__ import annotations

import os
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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


class SkipList:
    """Holds the skips of one run against `skips.txt`: pairs (pattern of the id, pattern of the reason).

    A pair after "? " may be seen or not.
    """

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        pairs = [line.removeprefix("? ").partition(" -- ")[::2] for line in lines]
        self.allowed = [(name.strip(), reason.strip()) for name, reason in pairs]
        self.expected = [pair for line, pair in zip(lines, self.allowed, strict=True) if not line.startswith("? ")]
        self.seen: list[tuple[str, str]] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        self.seen.append((report.nodeid, reason.removeprefix("Skipped: ")))

    pytest_runtest_logreport = note
    pytest_collectreport = note

    def differences(self) -> list[str]:
        def match(skip: tuple[str, str], line: tuple[str, str]) -> bool:
            return fnmatchcase(skip[0], line[0]) and fnmatchcase(skip[1], line[1])

        extra = [f"skipped, not listed: {name} -- {why}" for name, why in self.seen if not self._listed((name, why))]
        idle = [line for line in self.expected if not any(match(skip, line) for skip in self.seen)]
        return extra + [f"listed, not skipped: {name} -- {reason}" for name, reason in idle]

    def _listed(self, skip: tuple[str, str]) -> bool:
        return any(fnmatchcase(skip[0], name) and fnmatchcase(skip[1], reason) for name, reason in self.allowed)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.differences() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.differences():
            terminalreporter.write_line(f"tests/skips.txt: {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    # The whole suite alone can be held against the list, and only by the process that sees all reports.
    whole = not config.getoption("keyword") and not config.getoption("markexpr") and config.args in ([], ["tests"])
    if CI and whole and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipList(SKIPS.read_text("utf-8")), "skip-list")
