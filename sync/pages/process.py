"""The node's side of the page process: starts it, waits as long as it makes progress, names what ended it.

A page is built by one process.  Where that dies, hangs or refuses, a second run applies each update by itself: one that
ends the process alone is set aside by its feed and seq, and the page is built without it.  Where none does, the page as
a whole is too much, and nobody is blamed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from crdt.docs.kinds import DocKind
from crdt.docs.page import PageUpdate
from identity.errors import DecodeError, KithkinError
from sync.pages.frame import (
    LENGTH,
    MAX_UPDATES,
    Answer,
    At,
    Failed,
    Job,
    Made,
    decode_answer,
    encode_job,
    framed,
    most_bytes,
)

WORKER = (sys.executable, "-P", "-m", "sync.pages.worker")
MEMORY_MB = 512  # beyond what the process has when it starts, and beyond `MEMORY_FACTOR` times the job
MEMORY_FACTOR = 8
START_S = 60.0  # until it is ready: a busy machine loads libraries slowly
STALL_S = 20.0  # without progress; one update takes microseconds
CPU_S = 300  # of one process: the bound where nobody is left to wait for it
MAX_SET_ASIDE = 64  # found in one export; each costs a process, and up to `STALL_S`
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
WITHOUT_PROCESSES = ("ios", "android", "emscripten", "wasi")  # values of `sys.platform`
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class SetAside:
    """An update that ended the page process: feed, seq, and how, in a few words."""

    core: bytes
    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Built:
    """A page as a Yjs update, how many messages it holds, and what had to be left out of it."""

    update: bytes
    count: int
    aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True, slots=True)
class TooMuch:
    """No page: it ended the process as a whole, or too many of its updates did; `aside` names those found."""

    reason: str
    aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that did not come to its end.  place: of the update it was at, None before the first."""

    place: int | None
    reason: str


class PageProcess:
    """`with PageProcess() as pages: pages.build(...)`.  Calls wait: make them from a thread, one at a time.

    One process serves until it ends, or a page needs more memory than it was given.
    """

    def __init__(
        self,
        *,
        worker: Sequence[str] | None = None,
        stall_s: float = STALL_S,
        memory_mb: int = MEMORY_MB,
        cpu_s: int = CPU_S,
    ) -> None:
        self._worker, self._stall_s, self._memory_mb, self._cpu_s = tuple(worker or WORKER), stall_s, memory_mb, cpu_s
        self._child: _Child | None = None

    def __enter__(self) -> PageProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def build(self, updates: Sequence[PageUpdate], kind: DocKind = DocKind.CHAT) -> Built | TooMuch:
        """The page of these updates, in their order.

        Raises KithkinError `not_available_yet` where the system starts no processes, `system_refused` where it refuses
        to, or where they end before they are given anything.
        """
        left, aside = list(updates), []
        if len(left) > MAX_UPDATES:
            return TooMuch(f"it holds more than {MAX_UPDATES:,} updates")
        made = self._run(Job(True, kind, tuple(left)))
        if isinstance(made, _Ended):
            start = 0
            while start < len(left):
                ended = self._run(Job(False, kind, tuple(left[start:])))
                if isinstance(ended, Made):
                    break
                if ended.place is None or ended.place >= len(left) - start:
                    raise KithkinError("system_refused", f"The process that builds pages {ended.reason}.")
                start += ended.place
                found = left.pop(start)
                aside.append(SetAside(found.core, found.seq, ended.reason))
                if len(aside) == MAX_SET_ASIDE:
                    return TooMuch(f"{MAX_SET_ASIDE} of its entries end the process that builds it", tuple(aside))
            if aside:
                made = self._run(Job(True, kind, tuple(left)))
        if isinstance(made, _Ended):
            return TooMuch(f"the process that builds it {made.reason}", tuple(aside))
        return Built(made.update, made.count, tuple(aside))

    def _run(self, job: Job) -> Made | _Ended:
        payload = encode_job(job)
        place: int | None = None
        child = self._fitting(self._memory_mb + (MEMORY_FACTOR * len(payload) >> 20))
        try:
            child.send(framed(payload))
            while True:
                match child.receive(most_bytes(job.updates)):
                    case At(place):
                        continue
                    case Made() as made:
                        return made
                    case Failed(reason):
                        ended = f"refused it ({_plain(reason)})"
                        break
        except TimeoutError:
            ended = f"made no progress for {self._stall_s:g} s"
        except DecodeError:
            ended = "answered with bytes that are no answer"
        except (EOFError, OSError):
            ended = _how(child.status())
        self._end()
        return _Ended(place, ended)

    def _fitting(self, memory_mb: int) -> _Child:
        """The process there is, if it may use so much memory; else another one."""
        if self._child is None or self._child.memory_mb < memory_mb:
            self._end()
            self._child = _Child(self._worker, memory_mb, self._cpu_s, self._stall_s)
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _Child:
    """One process and its two pipes, neither of which may stand still for longer than `stall_s`."""

    def __init__(self, worker: Sequence[str], memory_mb: int, cpu_s: int, stall_s: float) -> None:
        if not sys.executable or sys.platform in WITHOUT_PROCESSES:
            raise KithkinError("not_available_yet", "This system starts no processes, so pages are not built here.")
        # Nothing of ours is in its environment: no path of a profile, no passphrase file.  Nor is its standard error
        # ours: what native code says of a panic may quote what somebody wrote.
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        limits = (str(os.getpid()), str(memory_mb), str(cpu_s))
        pipe, noise = subprocess.PIPE, None if os.environ.get("KITHKIN_DEBUG") else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen([*worker, *limits], stdin=pipe, stdout=pipe, stderr=noise, env=environment)
        except OSError as error:
            raise KithkinError("system_refused", f"The system refused: {error.strerror or error}.") from error
        self.memory_mb = memory_mb
        self._stall_s = stall_s
        self._to, self._from = _pipe(self._process.stdin), _pipe(self._process.stdout)
        os.set_blocking(self._to.fileno(), False)
        os.set_blocking(self._from.fileno(), False)
        self._got = bytearray()
        self._ready(START_S)

    def _ready(self, start_s: float) -> None:
        """Waits for its first frame, before which nothing was given to it.  Raises `system_refused`."""
        patience, self._stall_s = self._stall_s, start_s
        try:
            self.receive(LENGTH)
        except (EOFError, OSError, DecodeError):
            status = self.status()
            self.end()
            raise KithkinError("system_refused", f"The process that builds pages {_how(status)}.") from None
        self._stall_s = patience

    def status(self) -> int:
        """How it ended, or ends now."""
        try:
            return self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()

    def send(self, data: bytes) -> None:
        """Raises TimeoutError, OSError."""
        rest = memoryview(data)
        while rest:
            self._wait(self._to, selectors.EVENT_WRITE)
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._to.fileno(), rest) :]

    def receive(self, limit: int) -> Answer:
        """The next answer, of at most `limit` bytes.  Raises TimeoutError, EOFError, OSError, DecodeError."""
        while len(self._got) < LENGTH or len(self._got) < LENGTH + self._size(limit):
            self._wait(self._from, selectors.EVENT_READ)
            try:
                data = os.read(self._from.fileno(), 1 << 20)
            except BlockingIOError:
                continue
            if not data:
                raise EOFError
            self._got += data
        end = LENGTH + self._size(limit)
        answer = decode_answer(bytes(self._got[LENGTH:end]))
        del self._got[:end]
        return answer

    def _size(self, limit: int) -> int:
        size = int.from_bytes(self._got[:LENGTH], "little")
        if size > limit:
            raise DecodeError("an answer is over its bound")
        return size

    def _wait(self, pipe: IO[bytes], event: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(self._stall_s):
                raise TimeoutError


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OSError("a process without pipes")
    return pipe


def _how(status: int) -> str:
    """How a process ended, in words: "was ended by SIGSEGV"."""
    if status >= 0:
        return f"ended with {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
