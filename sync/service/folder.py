"""The folder of a profile, as the system has it: nobody else may look into it."""

from __future__ import annotations

import os
from pathlib import Path

from identity.errors import KithkinError

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
