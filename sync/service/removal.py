"""Taking a whole profile off this machine: its keys first, so that an end in between leaves nothing that opens.

Nothing is opened for it and no passphrase asked: who may delete the folder's files needs none.  What is not a file of
the profile stays, and so does its folder then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from identity.errors import KithkinError
from identity.keyring_shell import forget_secret
from identity.keystore_file import sync_folder
from sync.service import models
from sync.service.system import system_refusals
from sync.store.sqlite import open_stores

KEYSTORE, STORE, INDEX = "keystore", "store.db", "index"
ERASES = (
    "Everything of this profile goes from this machine: keys, chats, drafts, index.",
    "What others have of you stays with them, and your backups stay where they are.",
    "Your other devices go on and still list this one: shut it out there.",
    "With the 24 words your identity and contacts come back elsewhere; without them and another device, never.",
)
_OTHERS = ("node.log", "node.sock", "window.json")
_LOCKED = 0x40000000, 512  # the bytes of its file on which SQLite puts its locks


def own_files(folder: Path) -> list[Path]:
    """What of a folder belongs to a profile, whole or half gone; its keys first."""
    names = [KEYSTORE, KEYSTORE + ".new", *sorted(c.name for c in folder.glob(STORE + "*")), INDEX, *_OTHERS]
    return [path for name in names if (path := folder / name).exists() or path.is_symlink()]


def erase(folder: Path) -> models.ProfileErased:
    """See `api.Profiles.erase_profile`.  One that was interrupted is finished by the next."""
    with system_refusals():
        if not folder.is_dir() or not any(path.name not in _OTHERS for path in own_files(folder)):
            raise KithkinError("profile_not_found", "There is no profile here.")
        with _alone(folder):
            for path in own_files(folder):
                if path.name.startswith(KEYSTORE):
                    _overwrite(path)
                _remove(path)
                if path.name.startswith(KEYSTORE):
                    sync_folder(folder)
            with contextlib.suppress(KithkinError):
                forget_secret(folder)
            sync_folder(folder)
        left = len(list(folder.iterdir()))
        if not left:
            folder.rmdir()
        return models.ProfileErased(left=left)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Raises `profile_in_use` where this process or another has the profile open, or is making one here."""
    refusal = KithkinError("profile_in_use", "A node or a window has this profile open; end it first.")
    if any(store.parent.samefile(folder) for store in open_stores() if store.parent.exists()):
        raise refusal
    descriptors = [os.open(folder, os.O_RDONLY)]
    try:
        with contextlib.suppress(FileNotFoundError):
            descriptors.append(os.open(folder / STORE, os.O_RDWR | os.O_NOFOLLOW))
        try:
            fcntl.flock(descriptors[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            for store in descriptors[1:]:
                fcntl.lockf(store, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKED[1], _LOCKED[0])
        except OSError:
            raise refusal from None
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _overwrite(path: Path) -> None:
    """Zeros in place of what a file holds, as far as the disk writes where it is told to."""
    if path.is_symlink() or not path.is_file():
        return
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
