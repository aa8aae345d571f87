"""Paths as libraries take them: the one place where the name of a file becomes text for somebody else's code.

A path may hold any byte that the system allows, and Python keeps bytes that are no UTF-8 as lone surrogates (PEP 383).
SQLite takes UTF-8 alone, DuckDB takes `?` for the beginning of options, the address of a Unix socket holds about 100
bytes, keyrings hold Unicode.  Where a path does not fit, a library gets a way around it: through an open handle of the
folder on Linux, through a link in a private folder elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

HANDLES = Path("/proc/self/fd")
"""Where Linux shows this process's open files; an entry of a folder leads into it, whatever its name is."""
_IN_PERCENTS = "percents:"


def plain(path: Path, *, without: str = "", limit: int | None = None) -> bool:
    """Whether a library that takes UTF-8 without these characters, `limit` bytes at most, takes this path as it is."""
    text, octets = str(path), os.fsencode(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not any(char in text for char in without) and (limit is None or len(octets) <= limit)


@contextlib.contextmanager
def library_path(path: Path, *, without: str = "", limit: int | None = None) -> Iterator[str]:
    """The text by which a library reaches the file at `path` while the block lasts.

    The file need not exist, its folder must; the file's own name is one of ours and fits.  without: characters that
    the library gives a meaning; limit: bytes.  Raises OSError where the folder cannot be opened.
    """
    path = path.absolute()
    if plain(path, without=without, limit=limit):
        yield str(path)
        return
    with contextlib.ExitStack() as stack:
        if HANDLES.is_dir():
            handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            folder = HANDLES / str(handle)
        else:
            import shutil  # late, as below: most paths are plain, and a command starts before it would be loaded
            import tempfile

            private = Path(tempfile.mkdtemp(prefix="kithkin-"))
            stack.callback(shutil.rmtree, private, ignore_errors=True)
            folder = private / "folder"
            folder.symlink_to(path.parent, target_is_directory=True)
        yield str(folder / path.name)


def path_text(path: Path) -> str:
    """An absolute path as Unicode, for keyrings and JSON: as it is, or in percents where it is no Unicode."""
    if plain(path):
        return str(path)
    from urllib.parse import quote

    return _IN_PERCENTS + quote(os.fsencode(path))


def path_of(text: str) -> Path:
    """What `path_text` made a text of.  An absolute path begins with a slash or a drive, so nothing else looks like
    this."""
    if not text.startswith(_IN_PERCENTS):
        return Path(text)
    from urllib.parse import unquote_to_bytes

    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_IN_PERCENTS))))
