"""Where a store lies: by this a folder that was copied, or put back from a copy, is told from the one it was.

A place is the inode of the store's file with its generation, and the machine's id where both lie on one file system.
It is empty where inodes mean nothing for long (FAT, FUSE, network and layered file systems).  Renaming a folder within
one file system changes none of it; every copy does.  Decision 0195.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from identity.digest import digest
from identity.labels import Label
from sync.store.port import Batch, Store, Table

LASTING = frozenset("bcachefs btrfs ext2 ext3 ext4 f2fs jfs reiserfs tmpfs xfs zfs".split())
MOVED = "KITHKIN_MOVED"
MOUNTS = Path("/proc/self/mountinfo")
MACHINE = Path("/etc/machine-id")
_GENERATION = 0x80087601  # FS_IOC_GETVERSION: differs where an inode number was given out again
_PLACE = b"place"


def place_of(path: Path) -> bytes:
    """16 bytes, or none where the file system says nothing that lasts.  It opens and closes the file, which ends every
    lock that this process has on it: `sync.store.sqlite` calls it before it takes any."""
    try:
        real = path.resolve(strict=True)
        if _file_system(real, MOUNTS.read_text("utf-8", "surrogateescape")) not in LASTING:
            return b""
        found = real.stat()
        parts = [found.st_ino.to_bytes(8, "little"), _generation(real)]
        with contextlib.suppress(OSError):
            if MACHINE.stat().st_dev == found.st_dev:
                parts.append(MACHINE.read_bytes().strip()[:64])
    except OSError:
        return b""
    return digest(Label.PLACE, *parts, size=16)


def _file_system(path: Path, mounts: str) -> str:
    """The kind of the file system that a path lies on: that of the deepest mount above it, the last of several."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        inside = path == Path(point) or Path(point) in path.parents
        if inside and len(point) >= best:
            best, kind = len(point), fields[fields.index("-", 6) + 1]
    return kind


def _generation(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        return fcntl.ioctl(descriptor, _GENERATION, bytes(8))
    except OSError:
        return bytes(8)
    finally:
        os.close(descriptor)


def was_copied(store: Store, here: bytes) -> bool:
    """Whether a store lies elsewhere than when it was opened last, as far as both places are known.  Whoever knows that
    it was moved, and that no copy is left behind, says so: `KITHKIN_MOVED=same`."""
    known = store.get(Table.META, _PLACE)
    return bool(here) and bool(known) and known != here and os.environ.get(MOVED) != "same"


def keep_place(store: Store, here: bytes) -> None:
    """Durably, where it is not kept yet."""
    if here and store.get(Table.META, _PLACE) != here:
        batch = Batch()
        put_place(batch, here)
        store.write(batch, durable=True)


def put_place(batch: Batch, here: bytes) -> None:
    """Where the store lies from the next commit on; nowhere known, if it is empty."""
    batch.put(Table.META, _PLACE, here)
