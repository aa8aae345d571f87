"""The page process has limits, and what ends it is set aside by its name while the rest of the page is built.

The worker of these tests is the real one, with a hook in front of native code: an update that holds a marked word does
what that word says.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crdt.docs.chat import Message
from crdt.docs.kinds import DocKind
from crdt.docs.page import PageEntry, PageUpdate, admitted_updates, apply_updates, whole_update
from crdt.docs.schema import dump_value
from crdt.docs.update import make_update
from crdt.docs.yjs import client_bytes, varuint
from identity.errors import KithkinError
from sync.pages import process
from sync.pages.frame import At, Failed, Job, Made, decode_answer, decode_job, encode_answer, encode_job
from sync.pages.process import Built, PageProcess, SetAside, TooMuch
from tests.support.hostile_pages import HOSTILE
from tests.unit.docs.values import CORE, OTHER

STALL_S = 4.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory and the early death are Linux's")


def entry(core: bytes, seq: int, text: str) -> PageEntry:
    return PageEntry(core, seq, make_update(core, seq, DocKind.CHAT, [dump_value(Message(bytes(16), text))]))


def page(*texts: str) -> list[PageUpdate]:
    return admitted_updates(entry(CORE, seq, text) for seq, text in enumerate(texts))


def built(updates: list[PageUpdate], **limits: float) -> Built | TooMuch:
    with PageProcess(worker=HOSTILE, stall_s=STALL_S) as pages:
        return pages.build(updates)


def only(updates: list[PageUpdate]) -> tuple[bytes, int]:
    return whole_update(apply_updates(updates))


def test_the_process_builds_what_this_process_would_build() -> None:
    entries = [entry(core, seq, f"message {seq}") for core in (CORE, OTHER) for seq in range(40)]
    updates = admitted_updates(entries)
    gone = [update._replace(gone=((("messages", f"x/{update.seq}/0"),))) for update in updates]
    with PageProcess() as pages:
        for job in (updates, updates[:1], [], gone):
            assert pages.build(job) == Built(*only(job))


@pytest.mark.parametrize(
    ("word", "how"),
    [
        ("KILL", "was ended by SIGKILL"),
        ("ABORT", "was ended by SIGABRT"),
        ("CRASH", "was ended by SIGSEGV"),
        ("EXIT", "ended with 3"),
        ("PANIC", "refused it (Panic: a panic of native code)"),
        ("GARBAGE", "answered with bytes that are no answer"),
        ("FLOOD", "answered with bytes that are no answer"),
        ("HANG", f"made no progress for {STALL_S:g} s"),
    ],
)
def test_an_update_that_ends_the_process_is_set_aside_and_the_rest_is_built(word: str, how: str) -> None:
    updates = page("one", "two", f"do {word} now", "four", "five")
    rest = [update for update in updates if update.seq != 2]
    assert built(updates) == Built(*only(rest), (SetAside(CORE, 2, how),))


@linux
def test_an_update_that_eats_memory_is_set_aside() -> None:
    updates = page("one", "do EAT now", "three")
    made = built(updates)
    assert isinstance(made, Built) and made.count == 2
    assert [(one.core, one.seq) for one in made.aside] == [(CORE, 1)] and "Memory" in made.aside[0].reason


def test_several_such_updates_are_each_named() -> None:
    updates = page("KILL", "two", "EXIT", "ABORT", "five", "KILL")
    made = built(updates)
    assert isinstance(made, Built) and made.count == 2
    assert [one.seq for one in made.aside] == [0, 2, 3, 5]


def test_bytes_that_the_guard_would_refuse_crash_native_code_and_not_the_node() -> None:
    """Arrays in arrays: the guard stands before native code because of these, and glass behind the guard."""
    nested = b"\x75\x01" * 90_000 + b"\x75\x00"
    name, key = b"messages", b"k"
    update = b"\x01\x01" + client_bytes(7) + b"\x00\x28\x01" + varuint(len(name)) + name + varuint(len(key)) + key
    hostile = PageUpdate(OTHER, 9, update + b"\x01" + nested + b"\x00")
    good = page("one", "two")
    with PageProcess(stall_s=STALL_S) as pages:
        made = pages.build([*good, hostile])
        assert isinstance(made, Built) and (made.update, made.count) == only(good)
        assert [(one.core, one.seq) for one in made.aside] == [(OTHER, 9)]


def test_a_page_that_is_too_much_as_a_whole_blames_nobody() -> None:
    made = built(page("one", "MANY", "three"))
    assert made == TooMuch("the process that builds it was ended by SIGABRT")


def test_more_hostile_updates_than_one_export_looks_for_are_kept_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_SET_ASIDE", 3)
    made = built(page(*["EXIT"] * 5))
    assert isinstance(made, TooMuch) and [one.seq for one in made.aside] == [0, 1, 2]


def test_the_process_has_no_environment_no_files_and_no_core_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITHKIN_PASSPHRASE_FILE", "/nowhere")
    monkeypatch.setenv("KITHKIN_PROFILE", "/nowhere")
    made = built(page("TELL"))
    assert isinstance(made, Built)
    assert made.aside[0].reason == "refused it (Told: environment [], file refused, core 0)"


@linux
def test_the_process_dies_with_whoever_started_it(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom tests.support.hostile_pages import HOSTILE\n"
        "from tests.unit.pages.test_process import page\nfrom sync.pages.process import PageProcess\n"
        "pages = PageProcess(worker=HOSTILE)\npages.build([])\nprint(pages._child._process.pid, flush=True)\n"
        "pages.build(page('HANG'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=process._ROOT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watched = os.pidfd_open(child)
        parent.send_signal(signal.SIGKILL)
        # The descriptor of a process is readable once that process has ended.
        import select

        ready, _, _ = select.select([watched], [], [], 60)
        os.close(watched)
    assert ready


def test_a_system_that_starts_no_processes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "android")
    with PageProcess() as pages, pytest.raises(KithkinError) as refusal:
        pages.build(page("one"))
    assert refusal.value.code == "not_available_yet"


@pytest.mark.parametrize("worker", [("/nowhere/python",), (sys.executable, "-c", "raise SystemExit(4)")])
def test_a_process_that_does_not_start_is_a_refusal(worker: tuple[str, ...]) -> None:
    with PageProcess(worker=worker) as pages, pytest.raises(KithkinError) as refusal:
        pages.build(page("one"))
    assert refusal.value.code == "system_refused"


def test_frames_are_read_as_they_were_written() -> None:
    job = Job(True, DocKind.CHAT, (PageUpdate(CORE, 7, b"update", (("edits", "k/7/0"),)), PageUpdate(OTHER, 0, b"")))
    assert decode_job(encode_job(job)) == job
    for answer in (At(0), At(70_000), Made(b"bytes", 3), Failed("why")):
        assert decode_answer(encode_answer(answer)) == answer
