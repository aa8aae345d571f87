"""SIGKILL at a random moment: what was acknowledged as durable is there, whole batches only, in order."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sync.store.port import Table
from sync.store.sqlite import SqliteStore

KEY = bytes(range(32))
ROUNDS = 6
WRITER = """
import os, sys
from pathlib import Path
from sync.store.sqlite import SqliteStore
from sync.store.port import Batch, Table
store = SqliteStore(Path(sys.argv[1]), bytes(range(32)))
number = int(sys.argv[2])
while True:
    durable = number % 3 == 0
    batch = Batch()
    for table in (Table.META, Table.ENTRY):
        batch.put(table, number.to_bytes(4, "big"), number.to_bytes(4, "big") * 200)
    store.write(batch, durable=durable)
    os.write(1, b"%d\\n" % number if durable else b"")
    number += 1
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_acknowledged_batches_survive_sigkill(tmp_path: Path) -> None:
    pick = random.Random(8)
    following = 0
    for _ in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "s"), str(following)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        said = b""
        enough = pick.randrange(1, 60)  # acknowledgements to wait for: the kill then falls at any moment of a commit
        while said.count(b"\n") < enough:
            said += os.read(writer.stdout.fileno(), 4_096)
        with contextlib.suppress(ProcessLookupError):
            os.kill(writer.pid, signal.SIGKILL)
        said += writer.stdout.read()
        writer.stdout.close()
        writer.wait(timeout=60)
        acknowledged = int(said.split(b"\n")[-2])

        store = SqliteStore(tmp_path / "s", KEY)
        rows = store.scan(Table.META)
        assert [int.from_bytes(key, "big") for key, _ in rows] == list(range(len(rows)))
        assert all(value == key * 200 for key, value in rows)
        assert store.scan(Table.ENTRY) == rows
        assert len(rows) > acknowledged
        assert store.check() is None
        store.close()
        following = len(rows)
