"""Standard input: lines are read while somebody waits for them and no longer; Ctrl-C ends a passphrase prompt."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.cli.terminal import Lines
from tests.apps.cli.desk import Desk
from tests.apps.cli.test_node import line, process

ROOT = Path(__file__).resolve().parents[3]


class Terminal:
    """A `kithkin` that a person sits in front of: `keys` are typed, `until` reads what stands on the screen."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self.process = process
        self.screen = ""

    def until(self, text: str) -> None:
        """Raises AssertionError where the program ends without having said it."""
        while text not in self.screen and (piece := self._read()):
            self.screen += piece
        assert text in self.screen, self.screen

    def keys(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def end(self) -> int:
        """The exit code, once everything it said is read."""
        while piece := self._read():
            self.screen += piece
        return self.process.wait(30)

    def _read(self) -> str:
        ready, _, _ = select.select([self._descriptor], [], [], 20)
        assert ready, f"Nothing more is said after: {self.screen}"
        try:
            return os.read(self._descriptor, 4096).decode(errors="replace")
        except OSError:  # Linux: nobody holds the other end any more
            return ""


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def terminal(*words: str, program: tuple[str, ...] = ("-m", "apps.cli")) -> Iterator[Terminal]:
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, *program, *words],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_own_terminal,
        env={name: value for name, value in os.environ.items() if name != "KITHKIN_PASSPHRASE_FILE"},
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(mine, process)
        finally:
            process.kill()
            os.close(mine)


@pytest.mark.parametrize("prompt", ["New passphrase: ", "Once more: "])
def test_one_ctrl_c_at_a_passphrase_prompt_ends_with_130(tmp_path: Path, prompt: str) -> None:
    with terminal("--profile", str(tmp_path / "ada"), "init", "--name", "Ada") as seat:
        seat.until("New passphrase: ")
        if prompt == "Once more: ":
            seat.keys("secret\n")
        seat.until(prompt)
        seat.keys("\x03")
        assert seat.end() == 130
    assert "Traceback" not in seat.screen
    assert not (tmp_path / "ada").exists()


def test_one_ctrl_c_at_the_prompt_that_opens_a_profile_ends_with_130(home: Desk) -> None:
    with terminal("--profile", str(home.folder), "read", "self") as seat:
        seat.until("Passphrase: ")
        seat.keys("\x03")
        assert seat.end() == 130
    assert "Traceback" not in seat.screen


def test_passphrases_that_differ_are_asked_for_again_and_no_file_is_recommended(tmp_path: Path) -> None:
    with terminal("--profile", str(tmp_path / "ada"), "init", "--name", "Ada") as seat:
        seat.until("New passphrase: ")
        seat.keys("one\n")
        seat.until("Once more: ")
        seat.keys("other\n")
        assert seat.end() == 1
    assert "The two passphrases differ." in seat.screen
    assert "next: Run the command again and type the same passphrase twice." in seat.screen
    assert "KITHKIN_PASSPHRASE_FILE" not in seat.screen


def test_empty_passphrase_at_a_terminal_is_asked_for_again_and_no_file_is_recommended(home: Desk) -> None:
    with terminal("--profile", str(home.folder), "status") as seat:
        seat.until("Passphrase: ")
        seat.keys("\n")
        assert seat.end() == 1
    assert "next: Run the command again and type a passphrase." in seat.screen
    assert "KITHKIN_PASSPHRASE_FILE" not in seat.screen


@pytest.mark.parametrize("words", [("init", "--name", "Eve"), ("link",)])
def test_profile_that_exists_is_refused_before_a_passphrase_is_asked_for(home: Desk, words: tuple[str, ...]) -> None:
    with terminal("--profile", str(home.folder), *words) as seat:
        seat.until("kithkin: There is a profile here already.")
        assert seat.end() == 1
    assert "assphrase: " not in seat.screen


@pytest.mark.parametrize("words", [("run",), ("init", "--name", "Eve"), ("link",)])
def test_running_node_is_noticed_before_a_passphrase_is_asked_for(desk: Desk, words: tuple[str, ...]) -> None:
    with process("run", "--json") as node:
        line(node)
        with terminal("--profile", str(desk.folder), *words) as seat:
            seat.until("kithkin: A node runs on this profile already; other commands go through it.")
            assert seat.end() == 1
    assert "assphrase: " not in seat.screen


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "standard input"]


def test_no_thread_goes_on_reading_a_standard_input_that_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()

    async def story() -> list[str | None]:
        with os.fdopen(reading) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            with Lines() as lines:
                os.write(writing, b"one\ntw")
                first = await lines.next()
                assert readers()
            assert not readers()
            os.write(writing, b"o\nthree\n")
            return [first, stdin.readline(), stdin.readline()]

    assert asyncio.run(story()) == ["one", "o\n", "three\n"]
    os.close(writing)


def test_what_replaces_standard_input_meanwhile_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> tuple[list[str | None], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"mine\n")))
        lines = Lines()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"another's\n")))
        with lines:
            return [await lines.next(), await lines.next()], sys.stdin.read()

    assert asyncio.run(story()) == (["mine", None], "another's\n")


def test_a_standard_input_that_is_missing_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> str | None:
        monkeypatch.setattr(sys, "stdin", None)
        with Lines() as lines:
            return await lines.next()

    assert asyncio.run(story()) is None
