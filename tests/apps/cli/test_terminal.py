"""Lines of standard input: read while somebody waits for them, and not a moment longer."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading

import pytest

from apps.cli.terminal import Lines


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
