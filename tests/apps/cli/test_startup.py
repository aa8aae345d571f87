"""What a command imports before it answers: a call through a running node stays light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.apps.cli.desk import Desk
from tests.apps.cli.test_node import ROOT, line, process

HEAVY = {
    "apsw",
    "crdt",
    "cryptography",
    "duckdb",
    "kivy",
    "nacl",
    "netstack",
    "pycrdt",
    "pydantic",
    "pydantic_core",
    "segno",
    "sync.service.models",
    "zeroconf",
}
MODULES = 45
"""At most so many beside those of `import asyncio, json, argparse`, which are 150."""

IMPORTS = """
import {first}, sys
before = set(sys.modules)
from apps.cli.main import main
code = main(sys.argv[1:])
print("\\n".join(["", *sorted(set(sys.modules) - before)]), file=sys.stderr)
sys.exit(code)
"""


def imports(first: str, *words: str) -> tuple[str, set[str]]:
    """What a command said, and the modules it imported beside `first`."""
    script = [sys.executable, "-c", IMPORTS.format(first=first), *words]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("words", [("--json", "read", "self"), ("read", "self"), ("status",), ("send", "self", "b")])
def test_a_call_through_a_running_node_imports_nothing_heavy(desk: Desk, words: tuple[str, ...]) -> None:
    with process("run", "--json") as node:
        line(node)
        desk.run("send", "self", "a")
        said, modules = imports("argparse, asyncio, json", *words)
    assert said
    assert not modules & HEAVY
    assert len(modules) <= MODULES, sorted(modules)


def test_a_search_through_a_running_node_needs_no_index_and_no_models(desk: Desk) -> None:
    with process("run", "--json") as node:
        line(node)
        said, modules = imports("argparse, asyncio, json", "--json", "search", "a")
    assert json.loads(said)["total"] == 0
    assert not modules & (HEAVY - {"crdt"})


@pytest.mark.parametrize("words", [("--version",), ("version",), ("--help",), ("chat", "--help")])
def test_help_and_version_need_no_event_loop(words: tuple[str, ...]) -> None:
    said, modules = imports("argparse", *words)
    assert "kithkin" in said
    assert not modules & {*HEAVY, "asyncio", "sync.service.remote"}


def test_a_usage_error_is_told_without_an_event_loop() -> None:
    script = [sys.executable, "-c", IMPORTS.format(first="argparse"), "--json", "no-such-command"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "usage"
    assert not set(done.stderr.split()) & (HEAVY | {"asyncio"})
