"""Where a backup is written: a new file, or one of mine that is there already and takes what is new.

A shell.  Raises KithkinError `file_exists`, `not_allowed`, `disk_full`, `wrong_passphrase`, `backup_damaged`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from identity.errors import KithkinError
from identity.keys import Random
from identity.private_file import create, draft_of, open_existing, put
from sync.backup.file import DAMAGED, BackupFile, BackupWriter, worn
from sync.backup.format import HEADER, MAGIC, new_header
from sync.backup.sweep import Record
from sync.store.sqlite import is_full


@dataclass(slots=True)
class Target:
    """draft: the new file, which is to have the name `path`; None: a file that is appended to, and that held what was
    finished up to `end`."""

    path: Path
    file: IO[bytes]
    writer: BackupWriter
    draft: Path | None = None
    replace: bool = False
    end: int = 0
    _done: bool = False

    def add(self, record: Record) -> None:
        """Rows of the state.  Raises `Spoiled`, `disk_full`."""
        with refusals():
            self.writer.add(record)

    def finish(self) -> int:
        """The state is durable: a new file gets its name.  Returns how long the file is."""
        size = os.fstat(self.file.fileno()).st_size
        with refusals():
            if self.draft is not None:
                put(self.draft, self.path, replace=self.replace)
        self._done = True
        return size

    def close(self) -> None:
        """Where it was not finished, the file is what it was before."""
        with contextlib.suppress(OSError):
            if not self._done and self.draft is not None:
                self.draft.unlink(missing_ok=True)
            elif not self._done:
                self.file.truncate(self.end)
        self.file.close()


def begin(
    path: Path, passphrase: str, rng: Random, *, identity: bytes, own: Collection[bytes], anew: bool = False
) -> Target:
    """own: device ids whose backups may be gone on with: this device's and those whose place it took.  anew: whatever
    is there of mine is not reused."""
    with refusals():
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise KithkinError("not_allowed", "That is a link, a folder or a device; name a file.")
        if not path.exists():
            draft = draft_of(path, rng)
            header, key = new_header(passphrase, rng)
            file = create(draft)
            return Target(path, file, BackupWriter.begin(file, header, key, rng), draft)
        return _existing(path, passphrase, rng, identity, own, anew)


def _existing(path: Path, passphrase: str, rng: Random, identity: bytes, own: Collection[bytes], anew: bool) -> Target:
    file = open_existing(path, write=True)
    try:
        if file.read(HEADER)[2 : 2 + len(MAGIC)] != MAGIC:
            raise KithkinError("file_exists", "That file exists and is no backup; give another name.")
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KithkinError("not_allowed", "Another backup is being written into that file.") from None
        opened = BackupFile.open(file, passphrase)
        before, end = opened.last_finished()
        if before is None:
            raise KithkinError(DAMAGED, "That file holds no finished backup; delete it or give another name.")
        if before.identity != identity:
            raise KithkinError("file_exists", "That file holds the backup of somebody else; give another name.")
        if before.device not in own:
            raise KithkinError("file_exists", "That file holds the backup of another device; give another name.")
        if not anew and not worn(before, end):
            return Target(path, file, BackupWriter.go_on(opened, rng, before, end), end=end)
        draft = draft_of(path, rng)
        fresh = create(draft)
        file.close()
        return Target(path, fresh, BackupWriter.begin(fresh, opened.header, opened.key, rng), draft, replace=True)
    except BaseException:
        file.close()
        raise


def open_backup(path: Path, passphrase: str) -> BackupFile:
    """For reading.  Raises KithkinError `not_found`, `backup_damaged`, `wrong_passphrase`."""
    try:
        file = open_existing(path, write=False)
    except OSError as error:
        raise KithkinError("not_found", f"That backup cannot be read: {error.strerror}.") from None
    try:
        return BackupFile.open(file, passphrase)
    except BaseException:
        file.close()
        raise


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """What the system refuses with, in the service's words."""
    try:
        yield
    except FileExistsError:
        raise KithkinError("file_exists", "That file appeared meanwhile; give another name.") from None
    except OSError as error:
        if is_full(error, None):
            raise KithkinError("disk_full", "The disk is full; the backup that was there before is whole.") from None
        raise KithkinError("not_allowed", f"That file cannot be written: {error.strerror}.") from None
