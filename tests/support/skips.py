"""The skips of one run of the whole suite against `tests/skips.txt`: what is absent here explains which are right."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest

from sync.search.installed import has_duckdb
from tests.support.shared import ROOT

CONDITIONS = ("no shared data", "no DuckDB")


def holding() -> frozenset[str]:
    """Those of the CONDITIONS that hold here."""
    return frozenset(
        condition for condition, holds in zip(CONDITIONS, (not ROOT.exists(), not has_duckdb()), strict=True) if holds
    )


class SkipList:
    """Lines PATTERN -- REASON, both shell patterns.

    Each must match a skipped test, and each skipped test a line.  A line after "? " may match nothing.  A line after
    "[CONDITION] " counts where that condition holds and is not there otherwise.
    """

    def __init__(self, text: str, holding: frozenset[str]) -> None:
        self.allowed: list[tuple[str, str]] = []
        self.expected: list[tuple[str, str]] = []
        self.seen: list[tuple[str, str]] = []
        for line in text.splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if conditional := re.match(r"\[([^]]+)\] ", line):
                if conditional[1] not in CONDITIONS:
                    raise ValueError(f"unknown condition in skips.txt: {conditional[1]}")
                if conditional[1] not in holding:
                    continue
                line = line[conditional.end() :]
            name, _, reason = line.removeprefix("? ").partition(" -- ")
            self.allowed.append((name.strip(), reason.strip()))
            if not line.startswith("? "):
                self.expected.append(self.allowed[-1])

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        self.seen.append((report.nodeid, reason.removeprefix("Skipped: ")))

    pytest_runtest_logreport = note
    pytest_collectreport = note

    def differences(self) -> list[str]:
        """What is wrong, a sentence each."""
        extra = [
            f"skipped, not listed: {name} -- {why}" for name, why in self.seen if not _any((name, why), self.allowed)
        ]
        idle = [line for line in self.expected if not any(_match(skip, line) for skip in self.seen)]
        return extra + [f"listed, not skipped: {name} -- {reason}" for name, reason in idle]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.differences() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.differences():
            terminalreporter.write_line(f"tests/skips.txt: {line}", red=True)


def _match(skip: tuple[str, str], line: tuple[str, str]) -> bool:
    return fnmatchcase(skip[0], line[0]) and fnmatchcase(skip[1], line[1])


def _any(skip: tuple[str, str], lines: list[tuple[str, str]]) -> bool:
    return any(_match(skip, line) for line in lines)
