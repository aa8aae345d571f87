"""The page process: `python -m sync.pages.worker PARENT MEGABYTES SECONDS`, jobs over its standard streams.

It is the only place where native code reads what others wrote.  It gets limits before it reads anything: memory, CPU
time, no files, no core dump; it has no key, no environment of the profile, and dies with whoever started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import BinaryIO

from crdt.docs.kinds import DocKind
from crdt.docs.page import PageUpdate, apply_updates, whole_update
from crdt.docs.update import make_update
from identity.process import die_with_parent, forbid_core_dumps, limit_process
from sync.pages.frame import (
    LENGTH,
    MAX_FRAME,
    MAX_REASON,
    Answer,
    At,
    Failed,
    Job,
    Made,
    decode_job,
    encode_answer,
    framed,
)

STEP = 64  # updates of a page from one sign of life to the next; a check names each


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Until its input ends.  A job that native code refuses ends the process: nobody knows in which state it is."""

    def say(answer: Answer) -> None:
        sink.write(framed(encode_answer(answer)))
        sink.flush()

    say(At(0))  # ready
    while (job := _receive(source)) is not None:
        try:
            if job.build:
                doc = apply_updates(job.updates, job.kind, lambda place: None if place % STEP else say(At(place)))
                say(Made(*whole_update(doc, job.kind)))
            else:
                for place, update in enumerate(job.updates):
                    say(At(place))
                    check(update, job.kind)
                say(Made(b"", 0))
        except (OSError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            say(Failed(f"{type(error).__name__}: {error}".encode("ascii", "replace").decode()[:MAX_REASON]))
            return


def check(update: PageUpdate, kind: DocKind) -> None:
    """One update alone, applied, read and written out."""
    whole_update(apply_updates([update], kind), kind)


def _receive(source: BinaryIO) -> Job | None:
    head = source.read(LENGTH)
    size = int.from_bytes(head, "little")
    if len(head) < LENGTH or size > MAX_FRAME:
        return None
    payload = source.read(size)
    return decode_job(payload) if len(payload) == size else None


def _try_own() -> None:
    body = make_update(bytes(32), 0, DocKind.CHAT, [("messages", "{}")])
    check(PageUpdate(bytes(32), 0, body[2:], (("messages", "absent"),)), DocKind.CHAT)


def main(parent: int, memory_mb: int, cpu_s: int) -> None:
    """The whole process, once its modules are loaded.  parent: its process id, so that one that died already counts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C means the parent; its end of the pipe says when
    os.umask(0o077)
    die_with_parent(parent)
    forbid_core_dumps()
    _try_own()  # libraries load parts of themselves late, and behind the limits no file can be opened
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints does not belong between frames
    limit_process(memory=memory_mb << 20, cpu_s=cpu_s)
    _try_own()  # where the limits themselves are in the way it ends here, before anybody could be blamed
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
