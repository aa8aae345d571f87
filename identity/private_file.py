"""Files that hold a person's words (exports, backups): for their owner alone, whole or not there, through no link.

The one place that makes them.  A file is written beside its place under a name that nobody can guess, mode 0600, and is
put there once all of it is on the disk.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from identity.keys import Random
from identity.keystore_file import sync_folder

MODE = 0o600
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_OLD = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def draft_of(path: Path, rng: Random) -> Path:
    """A name beside it for what is not yet whole; short, because the name itself may be as long as names can be."""
    return path.with_name(f".kithkin-{rng(8).hex()}")


def create(path: Path) -> IO[bytes]:
    """A new file for its owner alone, read and written.  Raises OSError, FileExistsError for anything that is there."""
    return os.fdopen(os.open(path, _NEW, MODE), "w+b")


def open_existing(path: Path, *, write: bool) -> IO[bytes]:
    """A file that is there; a link, a pipe and a folder are none.  Raises OSError."""
    flags = _OLD if write else _OLD & ~os.O_RDWR | os.O_RDONLY
    file = os.fdopen(os.open(path, flags), "r+b" if write else "rb")
    try:
        if not path.is_file():
            raise OSError(22, "it is no file", str(path))
    except BaseException:
        file.close()
        raise
    return file


@contextlib.contextmanager
def private_file(path: Path, rng: Random, *, replace: bool) -> Iterator[IO[bytes]]:
    """Writes a file that is there as a whole when the block ends, and not at all where it raises.

    replace: what is there makes room, in one step.  Raises FileExistsError where something is and must not, OSError.
    """
    draft = draft_of(path, rng)
    with create(draft) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            put(draft, path, replace=replace)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def put(draft: Path, path: Path, *, replace: bool) -> None:
    """Gives a whole file its name, durably.  Raises FileExistsError where that is taken and may not be replaced."""
    if replace:
        draft.replace(path)
    else:
        try:
            os.link(draft, path)  # unlike a rename it never takes the place of anything
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists() or path.is_symlink():
                raise FileExistsError(17, "it exists", str(path)) from None
            draft.rename(path)
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
