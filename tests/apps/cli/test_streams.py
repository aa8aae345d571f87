"""Standard streams that are closed, full or nobody's, and signals: an exit code, no traceback, nothing misplaced."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sync.service import profiles as real
from tests.apps.cli.desk import Desk
from tests.apps.cli.fake_service import PAIR
from tests.apps.cli.test_node import NODE, ROOT
from tests.support.signals import heed_interrupts

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
CLOSED = b"kithkin: Standard output takes nothing: it is closed.\n"
FULL = b"kithkin: Standard output takes nothing: No space left on device.\n"


def shell(streams: str, *words: str, program: list[str] = NODE) -> subprocess.Popen[bytes]:
    """The command with its streams as a shell would set them."""
    script = ["sh", "-c", f'exec "$@" {streams}', "sh", *program, *words]
    return subprocess.Popen(
        script, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
    )


def ended(streams: str, *words: str, program: list[str] = NODE) -> tuple[int, bytes, bytes]:
    with shell(streams, *words, program=program) as running:
        out, err = running.communicate(timeout=60)
    assert b"Traceback" not in out + err and b"Exception" not in out + err
    return running.returncode, out, err


@pytest.mark.parametrize("words", [("status",), ("--json", "status"), ("--help",), ("--version",), ("--json", "nope")])
def test_a_closed_standard_output_is_said_and_ends_with_one(desk: Desk, words: tuple[str, ...]) -> None:
    assert ended(">&-", *words) == (1, b"", CLOSED)


@full
@pytest.mark.parametrize("words", [("status",), ("--json", "status"), ("--help",), ("--version",), ("--json", "nope")])
def test_a_full_standard_output_is_said_and_ends_with_one(desk: Desk, words: tuple[str, ...]) -> None:
    assert ended(">/dev/full", *words) == (1, b"", FULL)


@pytest.mark.parametrize("streams", ["2>&-", pytest.param("2>/dev/full", marks=full)])
def test_notes_never_stand_among_json_lines_where_standard_error_is_gone(desk: Desk, streams: str) -> None:
    code, out, _ = ended(streams, "--json", "device", "approve", PAIR, "--yes")
    assert (code, [list(json.loads(line)) for line in out.splitlines()]) == (0, [["code"], ["approved", "device"]])


@pytest.mark.parametrize("streams", ["2>&-", pytest.param("2>/dev/full", marks=full), "<&- 2>&-"])
def test_a_refusal_that_cannot_be_said_is_an_exit_code(desk: Desk, streams: str) -> None:
    assert ended(streams, "frobnicate") == (2, b"", b"")
    assert ended(streams, "--profile", "/dev/null", "import", "self", "absent") == (1, b"", b"")


def test_a_closed_standard_input_is_an_empty_one(desk: Desk) -> None:
    code, out, _ = ended("<&-", "--json", "send", "self", "-")
    assert (code, json.loads(out)["error"]["code"]) == (1, "empty_text")
    desk.patch.setenv("KITHKIN_FAKE", "empty")
    code, out, _ = ended("<&-", "--json", "link")
    assert (code, json.loads(out.splitlines()[-1])["error"]["code"]) == (1, "wrong_code")


def test_a_real_profile_is_whole_after_a_command_without_any_stream(desk: Desk) -> None:
    """No file of the profile gets the number of a stream that something prints to."""
    desk.profiles = real
    assert desk.run("init", "--name", "Ada").code == 0
    program = [sys.executable, "-m", "apps.cli"]
    assert ended("<&- >&- 2>&-", "send", "self", "said to nobody", program=program) == (1, b"", b"")
    assert [m["text"] for m in desk.run("read", "self").lines[0]["messages"]] == ["said to nobody"]
    assert desk.run("doctor").code == 0


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", pytest.param(">/dev/full 2>/dev/full", marks=full)])
def test_a_node_without_streams_serves_until_it_is_ended(desk: Desk, streams: str) -> None:
    with shell(streams, "run", "--json") as node:
        while desk.run("send", "self", "through the socket").code != 0:
            assert node.poll() is None
        assert len(desk.run("read", "self").lines[0]["messages"]) == 1
        node.send_signal(signal.SIGTERM)
        assert node.communicate(timeout=60) == (b"", b"") and node.returncode == 0


def test_a_node_ends_when_its_terminal_hangs_up(desk: Desk) -> None:
    with shell("", "run", "--json") as node:
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        node.send_signal(signal.SIGHUP)
        try:
            assert node.wait(60) == 0
        finally:
            node.kill()  # else leaving the block would wait for it
    assert list(desk.folder.iterdir()) == []


def test_a_node_that_was_told_to_ignore_hangups_goes_on(desk: Desk) -> None:
    """As `nohup kithkin run &` asks for."""
    words = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *NODE, "run", "--json"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        node.send_signal(signal.SIGHUP)
        assert desk.run("send", "self", "still there").code == 0
        node.send_signal(signal.SIGTERM)
        assert node.wait(60) == 0


HOMELESS = """
import pwd, sys
def nobody(number):
    raise KeyError(number)
pwd.getpwuid = nobody
from apps.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("home", [{}, {"HOME": ""}])
def test_without_a_home_folder_a_profile_has_to_be_named(desk: Desk, home: dict[str, str]) -> None:
    """No HOME, and nobody of that number in the password file."""
    environment = {"PATH": "/usr/bin:/bin", **home}

    def said(*words: str) -> tuple[int, dict[str, object]]:
        script = [sys.executable, "-c", HOMELESS, "--json", *words]
        done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, timeout=60)
        assert done.stderr == b""
        return done.returncode, json.loads(done.stdout)

    code, line = said("status")
    assert (code, line["error"]["code"]) == (2, "usage") and "--profile" in line["error"]["message"]  # type: ignore[index]
    code, line = said("--profile", str(desk.folder), "status")
    assert (code, line["error"]["code"]) == (1, "profile_not_found")  # type: ignore[index]
    code, line = said("relay", "use", "f")
    assert (code, line["error"]["code"]) == (1, "not_available_yet")  # type: ignore[index]
    assert said("version")[0] == 0
