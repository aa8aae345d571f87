"""`python -m netstack`: JSON lines, exit codes, and no bytes but the peer's on `connect`'s output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from identity.keys import SigningKey
from netstack.__main__ import main
from tests.support.signals import heed_interrupts

ROOT = Path(__file__).resolve().parents[3]
BOB = SigningKey.from_seed(b"b" * 32)
TOPIC = "ab" * 32
LIMIT = 60


def spawn(*arguments: str, env: dict[str, str] | None = None, **pipes: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "netstack", *arguments],
        cwd=ROOT,
        env={**os.environ, "KITHKIN_BOOTSTRAP": "", **(env or {})},
        stdout=subprocess.PIPE,
        **pipes,
    )


@contextmanager
def echoing(*arguments: str, end: signal.Signals = signal.SIGTERM) -> Iterator[dict[str, Any]]:
    """A running `echo`; its first line.  It must end with 0 on the signal and say nothing more."""
    process = spawn("echo", "--seed", BOB.seed.hex(), *arguments, preexec_fn=heed_interrupts)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.send_signal(end)
        rest, _ = process.communicate(timeout=LIMIT)
        assert (process.returncode, rest) == (0, b"")
    finally:
        process.kill()
        process.communicate()


def connect(ready: dict[str, Any], data: bytes, *, key: str | None = None) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "netstack", "connect", key or ready["key"], "--address", ready["address"]],
        cwd=ROOT,
        env={**os.environ, "KITHKIN_BOOTSTRAP": ""},
        input=data,
        capture_output=True,
        timeout=LIMIT,
    )
    return done.returncode, done.stdout, done.stderr


def test_echo_and_connect_through_pipes() -> None:
    with echoing() as ready:
        assert ready == {"ready": True, "key": BOB.public.hex(), "address": ready["address"]}
        assert ready["address"].startswith("127.0.0.1:")
        for data in (b"", b"hello\n", bytes(range(256)) * 4096):
            assert connect(ready, data) == (0, data, b"")


def test_a_command_that_stays_ends_when_its_terminal_hangs_up() -> None:
    with echoing("--host", "127.0.0.1", end=signal.SIGHUP) as ready:
        assert ready["ready"] is True


def test_connect_reads_and_writes_files(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(300_000))
    with (
        echoing("--host", "127.0.0.1", end=signal.SIGINT) as ready,
        source.open("rb") as here,
        target.open("wb") as there,
    ):
        command = [sys.executable, "-m", "netstack", "connect", ready["key"], "--address", ready["address"]]
        done = subprocess.run(command, cwd=ROOT, stdin=here, stdout=there, stderr=subprocess.PIPE, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, b"")
    assert target.read_bytes() == source.read_bytes()


def test_connect_to_an_absent_key_is_an_error() -> None:
    with echoing() as ready:
        code, out, errors = connect(ready, b"x", key=SigningKey.from_seed(bytes(32)).public.hex())
        assert (code, out) == (1, b"")
        assert json.loads(errors)["error"]["code"] == "not_found"


def test_signal_ends_connect() -> None:
    with echoing() as ready:
        process = spawn("connect", ready["key"], "--address", ready["address"], stdin=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"one line\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one line\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0


def test_throughput_measures_one_stream() -> None:
    process = spawn("throughput", "--mb", "8")
    out, _ = process.communicate(timeout=LIMIT)
    [line] = out.splitlines()
    figures = json.loads(line)
    assert process.returncode == 0
    assert figures["bytes"] == 8 << 20
    assert figures["mb_s"] == pytest.approx(figures["bytes"] / figures["seconds"] / 1e6, rel=0.01)


def told(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """(code, where) of the one error line."""
    captured = capsys.readouterr()
    where = "out" if captured.out else "err"
    [line] = (captured.out + captured.err).splitlines()
    error = json.loads(line)["error"]
    assert error["message"]
    return error["code"], where


@pytest.mark.parametrize("command", [["announce", TOPIC], ["lookup", TOPIC]])
def test_topic_commands_need_a_dht(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 2
    assert told(capsys) == ("usage", "out")


def test_empty_bootstrap_setting_means_no_dht(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KITHKIN_BOOTSTRAP", "127.0.0.1:1")
    assert main(["connect", BOB.public.hex(), "--bootstrap", ""]) == 1
    assert told(capsys) == ("not_found", "err")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["echo", "--seed", "ab"],
        ["echo", "--seed", "zz" * 32],
        ["echo", "--port", "65536"],
        ["echo", "--port", "-1"],
        ["echo", "--what"],
        ["echo", "--host", "999.1.1.1"],
        ["echo", "--bootstrap", "nowhere"],
        ["connect"],
        ["connect", "ab"],
        ["connect", "00" * 32],
        ["connect", BOB.public.hex(), "--address", "localhost"],
        ["announce", "ab"],
        ["lookup"],
        ["throughput", "--mb", "0"],
        ["throughput", "--mb", "1e9"],
    ],
)
def test_wrong_arguments_are_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert told(capsys)[0] == "usage"


def test_help_prints_text_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "throughput" in capsys.readouterr().out
