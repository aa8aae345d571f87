"""Bad input against real profiles on disk: each has its code, and what was there stays as it was."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apps.cli.desk import Desk

ROOT = Path(__file__).resolve().parents[3]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_sent_is_read_again(home: Desk) -> None:
    sent = home.run("send", "self", "hello\x1b[2J 漢字").lines[0]
    assert sent["state"] in ("queued", "delivered", "read")
    message = home.run("read", "self").lines[0]["messages"][0]
    assert (message["id"], message["text"]) == (sent["id"], "hello\x1b[2J 漢字")
    assert [chat["kind"] for chat in home.run("chat", "list").lines[0]["chats"]] == ["self"]


def test_a_profile_is_closed_to_everybody_else(home: Desk) -> None:
    for path in [home.folder, *home.folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_file_of_a_profile_is_open_to_others_whatever_the_mask_says(home: Desk, tmp_path: Path) -> None:
    """The node, its socket and its search process included."""
    words = [sys.executable, "-m", "apps.cli", "--json", "run", "--host", "127.0.0.1"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, umask=0) as node:
        try:
            assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
            assert home.run("send", "self", "red kestrel").code == 0
            assert home.run("search", "kestrel").lines[0]["total"] == 1
            found = [home.folder, *home.folder.rglob("*")]
            assert {path.name for path in found} >= {"keystore", "store.db", "store.db-wal", "index", "node.sock"}
            assert [path for path in found if path.stat().st_mode & 0o077] == []
        finally:
            node.terminate()
            assert node.wait(60) == 0


def test_a_folder_that_others_may_look_into_is_closed_to_them(home: Desk, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    empty.chmod(0o755)
    assert home.run("--profile", str(empty), "init", "--name", "Eve").code == 0
    home.folder.chmod(0o777)
    assert home.run("status").code == 0
    assert {folder.stat().st_mode & 0o777 for folder in (empty, home.folder)} == {0o700}


def test_a_folder_of_something_else_keeps_its_rights(home: Desk, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    foreign.chmod(0o755)
    assert home.run("--profile", str(foreign), "status").error == "profile_not_found"
    (foreign / "letter.txt").write_text("dear reader")
    assert home.run("--profile", str(foreign), "init", "--name", "Eve").error == "profile_unreadable"
    assert foreign.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("refusing", [True, False], ids=["refused", "without effect"])
def test_a_folder_that_cannot_be_closed_is_refused(home: Desk, tmp_path: Path, refusing: bool) -> None:
    """It belongs to somebody else, or lies on a disk that knows no rights."""

    def chmod(path: Path, mode: int) -> None:
        if refusing:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, home.folder):
        folder.chmod(0o755)
    home.patch.setattr(Path, "chmod", chmod)
    for words in (("status",), ("run",), ("--profile", str(empty), "init", "--name", "Eve")):
        said = home.run(*words)
        assert (said.code, said.error) == (1, "profile_unreadable") and "Others" in said.out
    assert list(empty.iterdir()) == []


def test_neither_the_node_nor_its_search_process_leaves_core_dumps(home: Desk) -> None:
    words = [sys.executable, "-m", "apps.cli", "--json", "run", "--host", "127.0.0.1"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as node:
        try:
            assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
            assert home.run("send", "self", "red kestrel").code == 0
            assert home.run("search", "kestrel").code == 0
            (check,) = (c for c in home.run("doctor").lines[0]["checks"] if c["name"] == "core dumps")
            assert check == {"name": "core dumps", "ok": True, "detail": "off"}
            if not Path("/proc/self/limits").exists():
                return
            children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
            for pid in (str(node.pid), *children):
                limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
                (line,) = (line for line in limits if line.startswith("Max core file size"))
                assert line.split()[4] == "0", pid
        finally:
            node.terminate()
            assert node.wait(60) == 0


def test_a_wrong_passphrase_and_a_corrupt_keystore_are_told_apart(home: Desk, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guess\n")
    secret = os.environ["KITHKIN_PASSPHRASE_FILE"]
    home.patch.setenv("KITHKIN_PASSPHRASE_FILE", str(wrong))
    assert home.run("status").error == "wrong_passphrase"
    home.patch.setenv("KITHKIN_PASSPHRASE_FILE", secret)
    assert home.run("status").code == 0
    keystore = home.folder / "keystore"
    data = bytearray(keystore.read_bytes())
    data[len(data) // 2] ^= 1
    keystore.write_bytes(data)
    assert home.run("status").error == "keystore_corrupt"
    keystore.write_bytes(data[: len(data) // 2])
    assert home.run("status").error == "keystore_corrupt"


def test_profile_is_not_made_in_a_used_folder_or_file(home: Desk, tmp_path: Path) -> None:
    foreign, file = tmp_path / "foreign", tmp_path / "file"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear reader")
    file.write_text("x")
    before = contents(home.folder)
    assert home.run("init", "--name", "Eve").error == "profile_exists"
    assert home.run("link", "--wait", "5").error == "profile_exists"
    assert contents(home.folder) == before
    for path in (foreign, file, file / "below"):
        assert home.run("init", "--name", "Eve", "--profile", str(path)).error == "profile_unreadable"
        assert home.run("status", "--profile", str(path)).error in ("profile_not_found", "profile_unreadable")
    assert contents(foreign) == {"letter.txt": b"dear reader"} and file.read_text() == "x"


def test_profile_without_passphrase_or_keyring_is_refused(home: Desk, tmp_path: Path) -> None:
    home.patch.delenv("KITHKIN_PASSPHRASE_FILE")
    assert home.run("status").error == "no_passphrase"
    assert home.run("init", "--name", "Eve", "--profile", str(tmp_path / "eve")).error == "no_passphrase"
    assert contents(tmp_path / "eve") == {}


def test_a_new_passphrase_replaces_the_old(home: Desk, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text("another one\n")
    assert home.run("passphrase", "--new-file", str(new)).lines == [{"changed": True}]
    assert home.run("status").error == "wrong_passphrase"
    home.patch.setenv("KITHKIN_PASSPHRASE_FILE", str(new))
    assert home.run("status").code == 0


def test_text_that_is_no_invite_or_pairing_code_is_refused(home: Desk) -> None:
    invite = home.run("contact", "invite").lines[0]["invite"]
    damaged = invite[:-1] + ("A" if invite[-1] != "A" else "B")
    for words, code in (
        (("contact", "accept", "hello"), "not_an_invite"),
        (("contact", "accept", ""), "not_an_invite"),
        (("contact", "accept", damaged), "payload_damaged"),
        (("contact", "accept", invite[:40]), "payload_damaged"),
        (("contact", "accept", invite), "own_code"),
        (("device", "approve", "hello", "--yes"), "not_a_pair_code"),
        (("device", "approve", invite, "--yes"), "not_a_pair_code"),
    ):
        assert home.run(*words).error == code, words
    assert home.run("contact", "list").lines[0]["contacts"] == []


def test_unknown_ids_are_not_found(home: Desk) -> None:
    for words in (
        ("send", "chat_NOWHERE", "x"),
        ("read", "chat_NOWHERE"),
        ("read", "self", "--before", "msg_NONE"),
        ("edit", "self", "msg_NONE", "x"),
        ("delete", "self", "msg_NONE"),
        ("react", "self", "msg_NONE", "x"),
        ("chat", "members", ""),
        ("contact", "rename", "id_NOBODY", "x"),
        ("contact", "verify", "\x1b[2J"),
        ("device", "rename", "dev_NONE", "x"),
        ("chat", "join", "chat_NOWHERE"),
    ):
        said = home.run(*words)
        assert (said.code, said.error) == (1, "not_found"), words


def test_a_broken_line_stops_an_import_and_loses_nothing_before_it(home: Desk, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    good = {"at": "2020-01-01T00:00:00Z", "from": "ida", "text": "kelp"}
    file.write_text("\n".join([json.dumps(good), json.dumps({**good, "text": "kale"}), "{broken", json.dumps(good)]))
    said = home.run("import", "self", str(file))
    assert (said.code, said.error) == (1, "bad_line") and "3" in said.lines[-1]["error"]["message"]
    assert home.run("import", "self", str(file), "--skip-bad").code == 0
    texts = [one["text"] for one in home.run("read", "self").lines[0]["messages"]]
    assert sorted(texts) == ["kale", "kelp", "kelp"]
    assert home.run("import", "self", str(tmp_path / "absent")).error == "not_found"
    assert home.run("search", "kelp", "--from", "ida").lines[0]["total"] == 2


def test_one_process_at_a_time_owns_a_profile(home: Desk) -> None:
    words = [sys.executable, "-m", "apps.cli", "--json", "run", "--host", "127.0.0.1"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as node:
        try:
            assert node.stdout is not None
            first = json.loads(node.stdout.readline())
            assert first.get("ready") is True, first
            assert home.run("run").error == "profile_in_use"
            assert home.run("init", "--name", "Eve").error == "profile_in_use"
            assert home.run("link").error == "profile_in_use"
            assert home.run("send", "self", "through the node").code == 0
            assert home.run("status").lines[0]["online"] is True
            node.send_signal(signal.SIGINT)
            assert node.wait(30) == 0
        finally:
            node.kill()
    assert home.run("read", "self").lines[0]["messages"][0]["text"] == "through the node"


def test_a_profile_that_is_erased_is_gone_and_another_can_be_made_in_its_place(home: Desk) -> None:
    assert home.run("send", "self", "hello").code == 0
    refused = home.run("profile", "erase", stdin=b"no\n")
    assert refused.error == "not_allowed" and (home.folder / "keystore").exists()
    erased = home.run("profile", "erase", "--yes")
    assert erased.lines == [{"erased": True, "left": 0}] and not home.folder.exists()
    assert home.run("profile", "erase", "--yes").error == home.run("chat", "list").error == "profile_not_found"
    assert home.run("init", "--name", "Ada again").code == 0
