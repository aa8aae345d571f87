"""A chat's signed feeds are exported, and forged for words that nobody said; a checker accepts both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.apps.cli.desk import Desk
from tests.support.transcript_checker import check


def script(folder: Path, *lines: dict[str, object]) -> Path:
    path = folder / "script.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line(text: str, who: str = "Ada", at: str = "2026-11-24T12:00:00Z") -> dict[str, object]:
    return {"at": at, "from": who, "text": text}


def test_a_real_and_a_forged_transcript_are_both_accepted(home: Desk, tmp_path: Path) -> None:
    assert home.run("send", "self", "what I wrote").code == 0
    real, fake = tmp_path / "real", tmp_path / "fake"
    assert home.run("export", "self", str(real), "--format", "feeds").lines[0]["exported"] >= 2
    lines = script(tmp_path, line("what I never wrote", "me"), line("nor this"))
    assert home.run("forge-transcript", "self", str(lines), str(fake)).lines == [{"forged": 2}]
    assert [text for _, text in check(real.read_bytes()).said] == ["what I wrote"]
    assert [text for _, text in check(fake.read_bytes()).said] == ["what I never wrote", "nor this"]
    assert {path.stat().st_mode & 0o777 for path in (real, fake)} == {0o600}
    assert [message["text"] for message in home.run("read", "self").lines[0]["messages"]] == ["what I wrote"]


def test_an_exported_chat_can_be_forged_as_it_was(home: Desk, tmp_path: Path) -> None:
    for text in ("red kestrel", "blue heron"):
        assert home.run("send", "self", text).code == 0
    lines, fake = tmp_path / "lines.jsonl", tmp_path / "fake"
    assert home.run("export", "self", str(lines)).lines == [{"exported": 2}]
    assert home.run("forge-transcript", "self", str(lines), str(fake)).lines == [{"forged": 2}]
    assert [text for _, text in check(fake.read_bytes()).said] == ["red kestrel", "blue heron"]


@pytest.mark.parametrize(
    "bad",
    [
        line("hello", "nobody"),
        line("", "me"),
        line("hello", at="yesterday"),
        line("hello", at="2026-11-24T12:00:00"),
        line("hello", at="9999-12-31T23:59:59Z"),
        line("hello", at="1970-01-01T00:00:00Z"),
        line("x" * 70_000),
        {"at": "2026-11-24T12:00:00Z", "from": 1, "text": "x"},
        {"text": "x"},
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_line_that_nobody_could_say_is_refused_with_its_number(
    home: Desk, tmp_path: Path, bad: dict[str, object]
) -> None:
    out = tmp_path / "fake"
    said = home.run("forge-transcript", "self", str(script(tmp_path, line("good"), bad)), str(out))
    assert (said.code, said.error) == (1, "bad_line") and "ine 2" in said.out
    assert not out.exists() and {path.name for path in tmp_path.iterdir()} == {"script.jsonl", "passphrase", "ada"}


def test_files_that_cannot_be_read_or_replaced_are_refused(home: Desk, tmp_path: Path) -> None:
    lines, out = script(tmp_path, line("hello")), tmp_path / "fake"
    assert home.run("forge-transcript", "self", str(tmp_path / "absent"), str(out)).error == "not_found"
    assert home.run("forge-transcript", "self", str(tmp_path), str(out)).error == "not_found"
    assert home.run("forge-transcript", "chat_NOWHERE", str(lines), str(out)).error == "not_found"
    out.write_text("precious")
    assert home.run("forge-transcript", "self", str(lines), str(out)).error == "file_exists"
    assert out.read_text() == "precious"
    assert home.run("forge-transcript", "self", str(lines), str(out), "--force").lines == [{"forged": 1}]
    assert home.run("forge-transcript", "self", str(script(tmp_path)), str(out), "--force").error == "bad_line"
