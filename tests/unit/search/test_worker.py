"""The search process: there when asked, gone when idle, killed without loss."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from identity.errors import KithkinError
from sync.search.port import Query
from sync.search.worker import WorkerSearch
from tests.unit.search.backends import KEY, document, needs_duckdb, texts

pytestmark = needs_duckdb

pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfd on this system")


def wait_for_end(pid: int) -> bool:
    """Whether the process is over within half a minute; needs no polling."""
    handle = os.pidfd_open(pid)
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


def test_process_starts_at_the_first_call_and_ends_when_released(tmp_path: Path) -> None:
    search = WorkerSearch(tmp_path / "index", KEY)
    seen = [search.pid]
    search.add([document("1", "word")])
    seen.append(search.pid)
    search.release()
    seen.append(search.pid)
    assert texts(search, "word") == ["word"]
    seen.append(search.pid)
    assert [pid is not None for pid in seen] == [False, True, False, True]
    assert seen[1] != seen[3]
    search.close()


@pidfd
def test_process_ends_by_itself_when_idle(tmp_path: Path) -> None:
    search = WorkerSearch(tmp_path / "index", KEY, idle_s=0.2)
    search.add([document("1", "word")], cursor=b"c")
    pid = search.pid
    assert pid is None or wait_for_end(pid)
    assert (search.cursor(), texts(search, "word")) == (b"c", ["word"])
    search.close()


@pidfd
def test_killed_process_loses_no_acknowledged_batch(tmp_path: Path) -> None:
    search = WorkerSearch(tmp_path / "index", KEY)
    for number in range(6):
        search.add([document(str(number), f"word {number}", order=number)], cursor=b"%d" % number)
        if number % 2:
            pid = search.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert wait_for_end(pid)
    assert (search.cursor(), search.count()) == (b"5", 6)
    search.close()


@pidfd
def test_process_ends_with_its_parent_and_the_next_waits_for_its_lock(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom sync.search.worker import WorkerSearch\n"
        f"search = WorkerSearch(Path({str(tmp_path / 'index')!r}), bytes(range(32)), idle_s=600)\n"
        "search.add([], cursor=b'kept')\nprint(search.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert parent.returncode == -signal.SIGKILL
    search = WorkerSearch(tmp_path / "index", KEY)
    assert search.cursor() == b"kept"
    assert search.pid != int(parent.stdout)
    search.close()


def test_process_ignores_ctrl_c(tmp_path: Path) -> None:
    search = WorkerSearch(tmp_path / "index", KEY)
    search.add([document("1", "word")])
    pid = search.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert texts(search, "word") == ["word"]
    assert search.pid == pid
    search.close()


def test_refusals_keep_their_codes_across_the_pipe(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    search = WorkerSearch(tmp_path / "index", KEY)
    for call, code in ((lambda: search.query(Query("%")), "bad_query"), (search.count, "profile_unreadable")):
        with pytest.raises(KithkinError) as refusal:
            call()
        assert refusal.value.code == code
    search.close()


def test_large_batch_passes_the_pipe(tmp_path: Path) -> None:
    search = WorkerSearch(tmp_path / "index", KEY)
    search.add([document(str(n), f"word{n} " + "é犬" * 8_000, order=n) for n in range(60)])
    assert (search.count(), search.query(Query("犬 word7")).total) == (60, 1)
    search.close()
