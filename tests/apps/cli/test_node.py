"""The `run` loop as a process of its own: ready line, events, commands through its socket, signals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.apps.cli.desk import Desk
from tests.apps.cli.fake_service import PAIR
from tests.support.signals import heed_interrupts

ROOT = Path(__file__).resolve().parents[3]
NODE = [sys.executable, "-m", "tests.apps.cli.fake_node"]


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*NODE, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def line(running: subprocess.Popen[bytes]) -> dict[str, object]:
    assert running.stdout is not None
    value = json.loads(running.stdout.readline())
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_serves_commands_and_ends_on_a_signal(desk: Desk, number: signal.Signals) -> None:
    with process("run", "--json", "--port", "4242", "--host", "127.0.0.1") as node:
        assert line(node) == {
            "ready": True,
            "identity": "id_ada",
            "device": "device_phone",
            "address": "127.0.0.1:4242",
        }
        assert desk.run("send", "self", "through the socket").lines == [{"id": "msg_0", "state": "queued"}]
        event = line(node)
        assert (event["event"], event["chat"]) == ("message", "self")
        assert desk.run("init", "--name", "Eve").error == "profile_in_use"
        assert desk.run("link").error == "profile_in_use"
        assert [one["delivered"] for one in desk.run("outbox").lines[0]["pending"]] == [0]
        said = desk.run("device", "approve", PAIR, "--yes")
        assert [list(value) for value in said.lines] == [["code"], ["approved", "device"]]
        node.send_signal(number)
        assert node.wait(30) == 0
    assert list(desk.folder.iterdir()) == []


def test_node_goes_on_when_nobody_reads_its_output(desk: Desk) -> None:
    with process("run", "--json") as node:
        assert line(node)["ready"] is True
        big = b"x" * 60_000
        for _ in range(8):
            assert desk.run("send", "self", "-", stdin=big).code == 0
        assert len(desk.run("read", "self").lines[0]["messages"]) == 8
        assert node.stdout is not None
        node.stdout.close()
        assert desk.run("send", "self", "the reader has gone").code == 0
        node.send_signal(signal.SIGTERM)
        assert node.wait(30) == 0


def test_a_waiting_command_ends_with_130_on_ctrl_c(desk: Desk) -> None:
    with process("run", "--json") as node:
        line(node)
        with process("read", "self", "--wait", "1000", "--json") as reading:
            while desk.run("status").lines[0]["feeds"] != 2:
                pass  # until its question has arrived
            reading.send_signal(signal.SIGINT)
            assert reading.wait(30) == 130
        node.send_signal(signal.SIGINT)
        assert node.wait(30) == 0


def test_linking_ends_cleanly_while_standard_input_is_still_open(desk: Desk) -> None:
    desk.patch.setenv("KITHKIN_FAKE", "empty")
    with process("link", "--json") as linking:
        assert line(linking)["payload"] == PAIR
        assert linking.stdin is not None and linking.stderr is not None
        linking.stdin.write(b"1\n2\n3\n")
        linking.stdin.flush()
        assert [line(linking).get("left"), line(linking).get("left")] == [2, 1]
        assert linking.wait(30) == 1  # its standard input is still open
        assert b"Fatal" not in linking.stderr.read()


def test_a_command_whose_output_nobody_reads_ends_quietly(desk: Desk) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([*NODE, "status"], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE) as running:
        os.close(writing)
        assert running.stderr is not None and running.stderr.read() == b""
        assert running.wait(30) == 1


def test_a_terminal_is_asked_for_its_passphrase_and_shown_the_code(desk: Desk) -> None:
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("KITHKIN_PASSPHRASE_FILE")
    main, side = pty.openpty()
    with subprocess.Popen(
        [*NODE, "contact", "invite"],
        cwd=ROOT,
        env=environment,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    ) as running:
        os.close(side)
        shown = b""
        answered = False
        while True:
            try:
                shown += os.read(main, 4096)
            except OSError:
                break  # the terminal's other end is closed: the command has ended
            if not answered and b"Passphrase:" in shown:
                os.write(main, b"secret\n")
                answered = True
        assert running.wait(30) == 0
    os.close(main)
    assert answered and b"kithkin:invite/BBBB" in shown and "▀".encode() in shown and b"secret" not in shown
