"""The system may refuse any call at any moment: a code and a sentence, never a defect, and nothing is lost.

Each command is run once to count its calls of the system, then again with the first, the second, the third … of them
refused.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest

from sync.service import profiles as real
from sync.service.models import CODES
from tests.apps.cli.desk import Desk, Said
from tests.apps.cli.test_node import ROOT
from tests.support.refusing_system import refusing

ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EMFILE, errno.EROFS)
COMMANDS = {
    "status": ("status",),
    "send": ("send", "self", "sent"),
    "search": ("search", "kestrel"),
    "doctor": ("doctor", "--repair"),
    "export": ("export", "self", "{tmp}/out.jsonl", "--force"),
    "export pages": ("export", "self", "{tmp}/pages", "--format", "yjs", "--force"),
    "export feeds": ("export", "self", "{tmp}/feeds", "--format", "feeds", "--force"),
    "forge": ("forge-transcript", "self", "{tmp}/forged.jsonl", "{tmp}/forged", "--force"),
    "back up": ("backup", "create", "{tmp}/backup"),
    "import": ("import", "self", "{tmp}/in.jsonl"),
    "passphrase": ("passphrase", "--new-file", "{tmp}/passphrase"),
    "approve": ("device", "approve", "kithkin:pair/AAAA", "--yes"),
}


SPREAD = 9  # `make test` refuses every ninth call, `make soak` each


@pytest.mark.parametrize("name", COMMANDS)
def test_a_refused_call_of_the_system_is_a_code_and_nothing_is_lost(home: Desk, tmp_path: Path, name: str) -> None:
    refuse_each(home, tmp_path, name, SPREAD)


@pytest.mark.soak
@pytest.mark.parametrize("name", COMMANDS)
def test_every_refused_call_is_a_code_and_nothing_is_lost(home: Desk, tmp_path: Path, name: str) -> None:
    refuse_each(home, tmp_path, name, 1)


def refuse_each(home: Desk, folder: Path, name: str, step: int) -> None:
    line = '{"at":"2024-01-01T00:00:00Z","from":"ida","text":"imported kelp"}\n'
    (folder / "in.jsonl").write_text(line)
    (folder / "forged.jsonl").write_text(line.replace("ida", "me"))
    home.patch.setenv("KITHKIN_BACKUP_PASSPHRASE_FILE", str(folder / "passphrase"))
    assert home.run("send", "self", "red kestrel").code == 0
    words = [word.replace("{tmp}", str(folder)) for word in COMMANDS[name]]
    with refusing(None) as counted:
        home.run(*words)
    assert counted.calls > 10
    for number, error in zip(range(len(name) % step, counted.calls, step), cycle(ERRORS), strict=False):
        with refusing(number, error) as system:
            said = home.run(*words)
        if system.refused is None:
            break  # the way was shorter this time
        has_its_code(said, (number, errno.errorcode[error], system.refused))
    texts = [message["text"] for message in home.run("read", "self").lines[0]["messages"]]
    assert texts.count("red kestrel") == 1
    assert [check for check in home.run("doctor").lines[0]["checks"] if not check["ok"]] == []


def has_its_code(said: Said, what: object) -> None:
    assert said.code in (0, 1) and "Traceback" not in said.err, (what, said)
    if said.code:
        assert said.error in CODES - {"internal"}, (what, said)


def test_a_profile_that_could_not_be_made_is_made_at_the_next_try(desk: Desk, tmp_path: Path) -> None:
    desk.profiles = real
    with refusing(None) as counted:
        assert desk.run("--profile", str(tmp_path / "counted"), "init", "--name", "Ada").code == 0
    for number, error in zip(range(1, counted.calls, 2), cycle(ERRORS), strict=False):
        init = ("--profile", str(tmp_path / f"profile{number}"), "init", "--name", "Ada")
        with refusing(number, error) as system:
            said = desk.run(*init)
        has_its_code(said, (number, errno.errorcode[error], system.refused))
        again = desk.run(*init)
        assert again.code == 0 or again.error == "profile_exists"
        assert desk.run(*init[:2], "status").code == 0


FEW_FILES = """
import resource, sys
from apps.cli.main import main
import apps.cli.program, sync.service.profiles, sync.service.remote
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), 1024))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("files", [6, 7, 8, 9, 10, 12])
def test_a_process_that_may_open_few_files_says_so(home: Desk, files: int) -> None:
    script = [sys.executable, "-W", "default", "-c", FEW_FILES, str(files), "--json", "search", "kestrel"]
    said = subprocess.run(script, cwd=ROOT, capture_output=True, timeout=60)
    if said.returncode:
        assert json.loads(said.stdout)["error"]["code"] in CODES - {"internal"}, said
    assert b"Traceback" not in said.stderr and b"never awaited" not in said.stderr, said.stderr.decode()
