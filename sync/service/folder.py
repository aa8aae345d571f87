"""The folder of a profile, as the system has it: nobody else may look into it, and nothing else is written there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from identity.errors import KithkinError
from sync.store.sqlite import open_stores

OTHERS = 0o077  # rights of the group and of everybody


def close_to_others(folder: Path) -> None:
    """Makes the folder 0700.  Raises `profile_unreadable` where it cannot be: it belongs to another user, or lies on a
    disk that knows no rights.

    The files inside are sealed or 0600; names, sizes and times of them, and the socket of the node, are not, and the
    next file that a library makes might have other rights.
    """
    if os.name == "nt":
        return  # rights there are inherited lists; a user's own folders are closed to other users
    try:
        if not folder.stat().st_mode & OTHERS:
            return
        folder.chmod(0o700)
        left, reason = folder.stat().st_mode & OTHERS, "its rights stay as they are"
    except OSError as error:
        left, reason = OTHERS, error.strerror or str(error)
    if left:
        raise KithkinError(
            "profile_unreadable", f"Others may look into that folder, and it cannot be closed to them: {reason}."
        )


def refuse_own_files(path: Path) -> None:
    """Raises `not_allowed` where a file that somebody names lies in the folder of a profile that this process has open,
    or is its store by another name.  Nothing is opened for that.

    Whoever writes there would put his file in the place of the keystore or the store.  And to open the store's file
    once more, if only to read it, and to close it again lets go of every lock that this process has on it.
    """
    for store in open_stores():
        with contextlib.suppress(OSError):
            inside = store.parent.resolve() in path.resolve().parents
            named = [store.with_name(store.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
            if inside or (path.exists() and any(one.exists() and path.samefile(one) for one in named)):
                raise KithkinError(
                    "not_allowed", "That lies in the folder of the profile itself; name a place outside of it."
                )
