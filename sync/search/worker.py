"""Search in a process of its own, started at the first call and gone when idle.

`docs/decisions/0061-duckdb-in-a-child-process.md`.  DuckDB never gives back 60 MB of the process it ran in, and its
indexing would take the engine's interpreter for as long as it runs.  The child is `python -m sync.search.worker`;
frames (`frame.py`) pass over its standard input and output.  It ends by itself when nothing was asked for a while, or
when the parent is gone; the parent starts the next one when it needs it, so nobody keeps a timer.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading  # noqa: TID251  a shell: one call at a time over one pipe
import time  # noqa: TID251  a shell: waits for a dying predecessor
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from identity.errors import DecodeError, KithkinError
from identity.process import forbid_core_dumps
from sync.search.frame import Add, Ask, Call, Done, Found, Message, Refused, Start, receive, send
from sync.search.port import Document, Query, Result, Search

IDLE_S = 10.0
PREDECESSOR_S = 10.0  # how long the process of a node that was killed may take to notice
END_S = 20.0  # how long a child may finish what it is at
_ROOT = Path(__file__).parents[2]


class WorkerSearch:
    """`Search` on DuckDB in a child process.  Waiting for it holds no interpreter lock: call it from a thread."""

    backend = "duckdb"

    def __init__(self, path: Path, key: bytes, *, idle_s: float = IDLE_S) -> None:
        self._start = Start(os.fsencode(path.absolute()), key, idle_s)
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one now."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def cursor(self) -> bytes:
        match self._call(Call("cursor")):
            case Done(bytes() as cursor):
                return cursor
        raise _unexpected()

    def count(self) -> int:
        match self._call(Call("count")):
            case Done(int() as count):
                return count
        raise _unexpected()

    def add(self, documents: Sequence[Document], *, removed: Sequence[bytes] = (), cursor: bytes | None = None) -> None:
        self._call(Add(tuple(documents), tuple(removed), cursor))

    def remove(self, ids: Sequence[bytes], *, cursor: bytes | None = None) -> None:
        self.add((), removed=ids, cursor=cursor)

    def query(self, query: Query) -> Result:
        match self._call(Ask(query)):
            case Found(result):
                return result
        raise _unexpected()

    def flush(self) -> None:
        self._call(Call("flush"))

    def scrub(self) -> None:
        self._call(Call("scrub"))

    def reset(self) -> None:
        self._call(Call("reset"))

    def release(self) -> None:
        with self._lock:
            self._end()

    def close(self) -> None:
        self.release()

    def _call(self, request: Message) -> Message:
        with self._lock:
            try:
                answer = self._exchange(request)
            except (OSError, EOFError):
                # An idle child may have ended just as it was asked, or was killed.  Every request may be repeated.
                self._end()
                try:
                    answer = self._exchange(request)
                except (OSError, EOFError, DecodeError) as error:
                    self._end()
                    raise _unexpected() from error
            except DecodeError as error:
                self._end()
                raise _unexpected() from error
        if isinstance(answer, Refused):
            raise KithkinError(answer.code, answer.message)
        return answer

    def _exchange(self, request: Message) -> Message:
        child = self._child
        if child is None:
            child = self._child = _spawn()
            send(_pipe(child.stdin), self._start)
        send(_pipe(child.stdin), request)
        return receive(_pipe(child.stdout))

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(OSError):
            _pipe(child.stdin).close()  # its sign to end
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        _pipe(child.stdout).close()


def _spawn() -> subprocess.Popen[bytes]:
    # -P: the folder one happens to be in is no place to import from; this program's own is.
    command = [sys.executable, "-P", "-m", "sync.search.worker"]
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _pipe(pipe: BinaryIO | object) -> BinaryIO:
    if pipe is None:
        raise EOFError
    return pipe  # type: ignore[return-value]


def _unexpected() -> KithkinError:
    return KithkinError("profile_unreadable", "the search process ended unexpectedly: try again")


def serve(search: Search, request: Message) -> Message:
    """One request's answer; every refusal is an answer too."""
    try:
        match request:
            case Add(documents, removed, cursor):
                search.add(documents, removed=removed, cursor=cursor)
                return Done(None)
            case Ask(query):
                return Found(search.query(query))
            case Call("cursor"):
                return Done(search.cursor())
            case Call("count"):
                return Done(search.count())
            case Call("flush"):
                search.flush()
                return Done(None)
            case Call("scrub"):
                search.scrub()
                return Done(None)
            case Call("reset"):
                search.reset()
                return Done(None)
            case _:
                return Refused("usage", "the search does not know this request")
    except KithkinError as error:
        return Refused(error.code, error.message)


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """The child: serves until the parent closes its end, or nothing came for a while."""
    from sync.search.duckdb import DuckSearch  # the parent never loads it

    start = receive(source)
    if not isinstance(start, Start):
        raise DecodeError("the first frame says where the index is")
    search = DuckSearch(Path(os.fsdecode(start.path)), start.key)
    # A thread that reads, because waiting for a pipe with a time limit is not the same everywhere.
    requests: queue.Queue[Message | None] = queue.Queue(1)
    threading.Thread(target=_read, args=(source, requests), daemon=True).start()
    first = True
    while True:
        try:
            request = requests.get(timeout=start.idle_s)
        except queue.Empty:
            break
        if request is None:
            break
        answer = serve(search, request)
        until = time.monotonic() + PREDECESSOR_S
        while first and answer == Refused("profile_in_use", _message(answer)) and time.monotonic() < until:
            time.sleep(0.05)
            answer = serve(search, request)
        first = False
        send(sink, answer)
    search.close()


def _message(answer: Message) -> str:
    return answer.message if isinstance(answer, Refused) else ""


def _read(source: BinaryIO, requests: queue.Queue[Message | None]) -> None:
    try:
        while True:
            requests.put(receive(source))
    except (EOFError, OSError, DecodeError):
        requests.put(None)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C means the parent; its end of the pipe says when
    os.umask(0o077)
    forbid_core_dumps()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints does not belong between frames
    status = 1
    try:
        with contextlib.suppress(BrokenPipeError, EOFError):
            main(sys.stdin.buffer, answers)
        with contextlib.suppress(OSError):
            answers.close()
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        # The thread that reads may hold the lock of standard input; an ordinary exit would wait for it and abort.
        os._exit(status)
