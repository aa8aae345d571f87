"""Names of files that come into being below some folders, those that are gone again included (inotify)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

IN_CREATE, IN_MOVED_TO = 0x100, 0x80
_HEAD = struct.Struct("iIII")


class Watch:
    """`with Watch(folder) as watch:` notes what is made in these folders, not below their own folders."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.names: set[str] = set()

    def __enter__(self) -> Watch:
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "no inotify here")
        for folder in self._folders:
            self.add(folder)
        return self

    def add(self, folder: Path) -> None:
        """One more folder, from now on."""
        if self._libc.inotify_add_watch(self._handle, os.fsencode(folder), IN_CREATE | IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.read()
        os.close(self._handle)

    def read(self) -> None:
        """Takes what has been noted so far."""
        while True:
            try:
                data = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                *_, size = _HEAD.unpack_from(data, at)
                at += _HEAD.size
                self.names.add(os.fsdecode(data[at : at + size].rstrip(b"\0")))
                at += size

    def others(self, known: Sequence[str]) -> set[str]:
        """Those whose names begin with none of these."""
        return {name for name in self.names if not name.startswith(tuple(known))}
