"""The whole story, as `make demo` tells it: three profiles, three processes, real UDP on this machine."""

from __future__ import annotations

from tests.apps.cli.desk import Desk


def test_demo_runs_to_its_end(desk: Desk) -> None:
    said = desk.run("demo")
    assert said.code == 0, said.out
    *steps, story = said.lines
    assert story["ok"] is True and story["messages"] == 904
    assert [bool(step["detail"]) for step in steps] == [True] * 10
