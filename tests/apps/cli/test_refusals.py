"""Bad input on the command line: each has its code and exit, nothing is lost, nothing is a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.apps.cli.desk import Desk
from tests.apps.cli.fake_service import INVITE, PAIR


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("frobnicate",),
        ("--frobnicate",),
        ("send",),
        ("send", "self"),
        ("send", "self", "x", "y"),
        ("send", "self", "x", "--nope"),
        ("send", "--nope", "self", "x"),
        ("device",),
        ("device", "frob"),
        ("init",),
        ("init", "--name"),
        ("init", "--nam", "Ada"),
        ("read", "self", "--limit", "0"),
        ("read", "self", "--limit", "-3"),
        ("read", "self", "--limit", "many"),
        ("read", "self", "--limit", "9" * 400),
        ("read", "self", "--wait", "-1"),
        ("read", "self", "--wait", "nan"),
        ("read", "self", "--wait", "inf"),
        ("read", "self", "--before", "a", "--after", "b"),
        ("search", "x", "--since", "yesterday"),
        ("search", "x", "--until", "2026-02-30"),
        ("search", "x", "--sort", "size"),
        ("export", "self", "f", "--format", "pdf"),
        ("device", "approve", "T", "--history", "some"),
        ("device", "approve", "-"),
        ("contact", "invite", "--expires", "0"),
        ("chat", "new"),
        ("chat", "set", "c", "colour", "red"),
        ("chat", "set", "c", "history", "some"),
        ("chat", "set", "c", "lifetime", "-1"),
        ("chat", "set", "c", "lifetime", "²"),
        ("profile", "set"),
        ("run", "--port", "65536"),
        ("run", "--port", "udp"),
        ("run", "--bootstrap", "nowhere"),
        ("passphrase", "--keyring", "maybe"),
        ("testnet",),
        ("status", "--profile", ""),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_usage(ada: Desk, words: tuple[str, ...]) -> None:
    said = ada.run(*words)
    assert (said.code, said.error, len(said.lines)) == (2, "usage", 1)
    shown = ada.shown(*words)
    assert shown.code == 2 and shown.out == "" and shown.err.startswith("kithkin: ") and "next:" in shown.err


def test_json_is_recognised_wherever_it_stands_but_not_behind_the_dashes(ada: Desk) -> None:
    for words in (("--json", "frob"), ("frob", "--json"), ("send", "self", "--json", "--nope")):
        assert json.loads(ada.shown(*words).out)["error"]["code"] == "usage"
    assert ada.shown("frob", "--", "--json").out == ""


def test_missing_profile_is_not_found(desk: Desk) -> None:
    said = desk.run("status")
    assert (said.code, said.error) == (1, "profile_not_found")


def test_profile_path_below_a_file_is_not_found(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        assert desk.run("--profile", str(path), "status").error == "profile_not_found"


def test_init_and_link_on_an_existing_profile_are_refused(ada: Desk) -> None:
    assert ada.run("init", "--name", "Eve").error == "profile_exists"
    assert ada.run("link").error == "profile_exists"
    assert ada.run("profile", "show").lines[0]["name"] == "Ada"


def test_wrong_missing_and_unreadable_passphrases_have_their_codes(ada: Desk, tmp_path: Path) -> None:
    wrong, empty, binary = tmp_path / "wrong", tmp_path / "empty", tmp_path / "binary"
    wrong.write_text("guess\n")
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    codes = []
    for path in (wrong, empty, binary, tmp_path / "absent", tmp_path):
        ada.patch.setenv("KITHKIN_PASSPHRASE_FILE", str(path))
        codes.append(ada.run("status").error)
    ada.patch.delenv("KITHKIN_PASSPHRASE_FILE")
    codes.append(ada.run("status").error)
    assert codes == ["wrong_passphrase", *["no_passphrase"] * 5]


def test_new_passphrase_that_cannot_be_read_is_refused(ada: Desk, tmp_path: Path) -> None:
    assert ada.run("passphrase").error == "no_passphrase"
    assert ada.run("passphrase", "--new-file", str(tmp_path / "absent")).error == "no_passphrase"
    assert ada.run("passphrase", "--keyring", "on").error == "no_passphrase"


def test_texts_of_the_wrong_kind_say_what_they_are(ada: Desk) -> None:
    for words, code, word in (
        (("contact", "accept", PAIR), "not_an_invite", "device"),
        (("device", "approve", INVITE, "--yes"), "not_a_pair_code", "invite"),
        (("contact", "accept", INVITE[:-1]), "payload_damaged", ""),
        (("device", "approve", PAIR + "A", "--yes"), "payload_damaged", ""),
    ):
        said = ada.run(*words)
        assert (said.code, said.error) == (1, code) and word in said.lines[0]["error"]["message"]
    assert len(ada.run("device", "list").lines[0]["devices"]) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "empty_text"),
        (b"\n", "empty_text"),
        (" \t\u3000".encode(), "empty_text"),
        (b"a" * 65_537, "text_too_long"),
        ("é".encode() * 32_769, "text_too_long"),
        (b"a" * 2_000_000, "text_too_long"),
        (b"nul \0", "text_invalid"),
        (b"\xff\xfe", "text_invalid"),
        (b"\xed\xa0\x80", "text_invalid"),
    ],
    ids=[
        "empty",
        "line end",
        "spaces",
        "64 KiB + 1",
        "64 KiB + 2 in two-byte letters",
        "2 MB",
        "NUL",
        "bytes",
        "surrogate",
    ],
)
def test_texts_that_no_message_can_hold(ada: Desk, text: bytes, code: str) -> None:
    said = ada.run("send", "self", "-", stdin=text)
    assert (said.code, said.error) == (1, code)
    assert ada.run("read", "self").lines[0]["messages"] == []


def test_argument_that_is_not_unicode_is_refused(ada: Desk) -> None:
    assert ada.run("send", "self", "lone \udcff").error == "text_invalid"
    assert ada.run("search", "lone \udcff").error == "bad_query"
    said = ada.run("send", "no\udcff", "x")
    assert (said.code, said.error) == (1, "not_found") and "\\udcff" in said.lines[0]["error"]["message"]


def test_the_longest_text_and_the_strangest_come_through(ada: Desk) -> None:
    texts = ["a" * 65_536, "\x1b[2J\x07 escapes", "line\none\n", "مرحبا 漢字 👩‍👩‍👧", "- dash", "-5"]
    for text in texts[:-2]:
        assert ada.run("send", "self", "-", stdin=text.encode() + b"\n").code == 0
    assert ada.run("send", "self", "--", texts[-2]).code == ada.run("send", "self", texts[-1]).code == 0
    assert [one["text"] for one in ada.run("read", "self").lines[0]["messages"]] == texts


def test_two_dashes_end_the_options(ada: Desk) -> None:
    assert ada.run("send", "self", "--", "--json").code == 0
    assert ada.run("send", "--", "self", "--reply").code == 0
    assert ada.run("send", "self", "--", "--").code == 0
    assert ada.run("send", "--reply", "msg_0", "self", "--", "-").error == "empty_text"
    texts = [one["text"] for one in ada.run("read", "self").lines[0]["messages"]]
    assert texts == ["--json", "--reply", "--"]


@pytest.mark.parametrize("query", ["", '"', '"" ""', "%", "* - ( ) :", "\0", "a\0b", "x" * 4_097], ids=range(8))
def test_queries_without_a_word(ada: Desk, query: str) -> None:
    assert ada.run("search", query).error == "bad_query"


def test_query_of_a_megabyte_is_refused(ada: Desk) -> None:
    assert ada.run("search", "-", stdin=b"word " * 200_000).error == "bad_query"
    assert ada.run("search", "-", stdin=b"word " * 300_000).error == "text_too_long"


def test_an_export_replaces_nothing_unasked(ada: Desk, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("precious")
    assert ada.run("export", "self", str(target)).error == "file_exists"
    assert target.read_text() == "precious"


def test_a_defect_is_one_line_too(ada: Desk, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("the notebook expects JSON")
    said = ada.run("import", "self", str(tmp_path / "in"))
    assert (said.code, said.error, said.err) == (1, "internal", "")


def test_what_the_system_refuses_is_no_defect(ada: Desk, tmp_path: Path) -> None:
    """Wherever it happens: the notebook opens the file without looking first."""
    for name in ("absent", "a" * 300, "absent\udcff"):
        said = ada.run("import", "self", str(tmp_path / name))
        assert (said.code, said.error, said.err) == (1, "system_refused", "")
    assert ada.run("import", "self", str(tmp_path)).error == "system_refused"
    assert "absent\\xff" in ada.shown("import", "self", str(tmp_path / "absent\udcff")).err
