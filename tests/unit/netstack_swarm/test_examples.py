"""Every program of `examples/` runs and shows what its page says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if not path.stem.endswith("_bot"))
"""Those of the netstack; the bots use the service and are tested in tests/apps/test_examples.py."""
LIMIT = 60
SHOWS = {
    "meet.py": {"ada heard: hello from bob", "bob heard: hello from ada"},
    "by_key.py": {"echo: b'anybody there?' over"},
    "records.py": {
        "b'what is found by its hash cannot be changed'",
        'b"what is found by a key, only the key\'s owner changes"',
    },
    "one_network.py": {"met True"},
}


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_every_example_is_described_on_the_page() -> None:
    page = (ROOT / "docs" / "netstack.md").read_text("utf-8")
    assert set(PROGRAMS) == {*SHOWS, "chat.py"}
    assert all(f"examples/{name}" in page for name in PROGRAMS)


@pytest.mark.parametrize("name", SHOWS)
def test_example_runs_and_prints_what_the_page_says(name: str) -> None:
    process = start(str(EXAMPLES / name))
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert all(any(line.startswith(part) for line in said.splitlines()) for part in SHOWS[name]), said


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_three_processes_chat() -> None:
    net = start("-m", "netstack", "testnet", "--size", "5")
    people: list[subprocess.Popen[str]] = []
    try:
        at = json.loads(line_of(net))["bootstrap"]
        people += [start(str(EXAMPLES / "chat.py"), "word", "--bootstrap", at) for _ in range(3)]
        assert all(line_of(person).endswith(" is here\n") for person in people for _ in range(2))
        ada, bob, cleo = people
        assert ada.stdin is not None
        ada.stdin.write("dinner?\n")
        ada.stdin.flush()
        assert [line_of(person).split(": ")[1] for person in (bob, cleo)] == ["dinner?\n"] * 2
        ada.stdin.close()
        assert ada.wait(LIMIT) == 0
        assert line_of(bob).endswith(" is gone\n")
    finally:
        for process in (*people, net):
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
