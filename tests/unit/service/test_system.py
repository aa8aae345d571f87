"""What the system refuses with has a code and a sentence for people, wherever it happens."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from identity.errors import KithkinError
from sync.service.models import CODES
from sync.service.system import refusal_of, system_refusal
from tests.unit.service.offline import offline_service


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_refusal_of_the_system_has_a_code_and_a_sentence(number: int) -> None:
    refusal = system_refusal(OSError(number, os.strerror(number), os.fsdecode(b"/a/\xff")))
    assert refusal.code in CODES - {"internal"}
    refusal.message.encode()
    assert refusal.message.endswith(".")


def test_a_full_disk_and_a_wait_that_was_too_long_have_their_own_codes() -> None:
    full = {system_refusal(OSError(number, "")).code for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
    assert (full, system_refusal(TimeoutError()).code) == ({"disk_full"}, "timeout")
    assert system_refusal(OSError("only words")).message == "The system refused: only words."


def test_a_system_without_threads_or_memory_is_a_refusal_and_a_defect_is_none() -> None:
    for error in (RuntimeError("can't start new thread"), MemoryError(), OSError(errno.EMFILE, "Too many open files")):
        refusal = refusal_of(error)
        assert refusal is not None and refusal.code == "system_refused"
    assert refusal_of(RuntimeError("set changed size")) is refusal_of(KeyError("x")) is None


def test_a_service_refuses_where_the_system_does(tmp_path: Path) -> None:
    """A file that breaks off while it is read, a folder that has gone."""

    async def story() -> list[str]:
        codes = []
        async with offline_service(tmp_path / "gone", "system") as d:
            for call in (d.service.doctor(), d.service.import_messages(d.notes, Path("/proc/self/mem"))):
                with pytest.raises(KithkinError) as refusal:
                    await call
                codes.append(refusal.value.code)
        return codes

    assert asyncio.run(story()) == ["system_refused", "system_refused"]
