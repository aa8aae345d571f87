"""A process that holds keys leaves no core dump."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = """
import resource
from identity.process import dumps_core, forbid_core_dumps
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
before = dumps_core()
forbid_core_dumps()
print(before or most == 0, dumps_core(), resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what it thinks of the process")


def ran(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)


def test_core_dumps_are_allowed_before_and_off_after(tmp_path: Path) -> None:
    assert ran(FORBIDDEN, tmp_path).stdout.split() == ["True", "False", "0"]


@linux
def test_a_process_that_aborts_leaves_nothing_in_its_folder(tmp_path: Path) -> None:
    died = ran(FORBIDDEN + "import os; os.abort()", tmp_path)
    assert died.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


@linux
def test_linux_is_told_besides_that_the_process_is_not_to_be_dumped(tmp_path: Path) -> None:
    script = FORBIDDEN + "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert ran(script, tmp_path).stdout.splitlines()[1] == "0"
