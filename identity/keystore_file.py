"""The shell around the keystore: its bytes on the disk, replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from identity.errors import KithkinError
from identity.keystore import MAX_KEYSTORE


def read_keystore(path: Path) -> bytes:
    """The file's bytes.  Raises KithkinError `profile_not_found`, `profile_unreadable`, `keystore_corrupt`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEYSTORE + 1)
    except FileNotFoundError:
        raise KithkinError("profile_not_found", "There is no profile here; make one with `kithkin init`.") from None
    except OSError as error:
        raise KithkinError("profile_unreadable", f"The profile cannot be read: {error.strerror}.") from None
    if len(data) > MAX_KEYSTORE:
        raise KithkinError("keystore_corrupt", "The keystore of this profile is damaged: it is far too long.")
    return data


def replace_keystore(path: Path, data: bytes) -> None:
    """Durably puts `data` at `path`, mode 0600: a crash leaves the old file or the new one, never a piece.

    Raises OSError; the caller knows what the file is for.
    """
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # what a crash left; O_EXCL below then never writes through a planted link
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes a rename durable.  Windows has no handle on folders and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
