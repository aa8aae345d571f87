"""A disk in memory below the encryption: it knows what was synced, runs full, and loses power.

Until `sync`, each write of a file is only pending.  A power cut keeps any subset of the pending sectors, whatever the
order of writing: what a real disk cache may do.  File names are durable at once (the store syncs its folder itself, and
SQLite that of its log).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import apsw

SECTOR = 4_096
Random = Callable[[int], bytes]


@dataclass(slots=True)
class Body:
    now: bytearray = field(default_factory=bytearray)  # as the process sees it
    kept: bytes = b""  # as it was at the last sync
    dirty: set[int] = field(default_factory=set)  # sectors written since

    def sync(self) -> None:
        self.kept = bytes(self.now)
        self.dirty.clear()


_names = (f"testdisk{number}" for number in itertools.count())


class Disk(apsw.VFS):
    """Use `disk.name` as the `vfs` of a store, and any path.  `capacity`: bytes in all files, None for no end."""

    def __init__(self, files: dict[str, Body] | None = None) -> None:
        self.name = next(_names)
        self.files = {} if files is None else files
        self.capacity: int | None = None
        self.fail_sync = False
        self.syncs = 0
        super().__init__(self.name, base="unix")

    def used(self) -> int:
        return sum(len(body.now) for body in self.files.values())

    def power_cut(self, rng: Random) -> Disk:
        """The disk that the next process finds."""
        after: dict[str, Body] = {}
        for name, body in self.files.items():
            image = bytearray(body.kept)
            length = len(body.now) if rng(1)[0] & 1 else len(body.kept)
            for sector in sorted(body.dirty):
                if rng(1)[0] & 1:
                    part = body.now[sector * SECTOR : (sector + 1) * SECTOR]
                    image.extend(bytes(max(0, sector * SECTOR + len(part) - len(image))))
                    image[sector * SECTOR : sector * SECTOR + len(part)] = part
            image.extend(bytes(max(0, length - len(image))))
            after[name] = Body(image, bytes(image))
        return Disk(after)

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> DiskFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        flags[1] = flags[0]
        return DiskFile(self, self.files.setdefault(path, Body()))

    def xDelete(self, name: str, sync_folder: bool) -> None:
        self.files.pop(name, None)

    def xAccess(self, name: str, flags: int) -> bool:
        return name in self.files

    def xFullPathname(self, name: str) -> str:
        return name


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, body: Body) -> None:  # nothing below it: every call of a file is answered here
        self.disk = disk
        self.body = body

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self.body.now[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        now = self.body.now
        grow = max(0, offset + len(data) - len(now))
        if self.disk.capacity is not None and grow and self.disk.used() + grow > self.disk.capacity:
            raise apsw.FullError("disk full")
        now.extend(bytes(grow))
        now[offset : offset + len(data)] = data
        self.body.dirty.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))

    def xTruncate(self, size: int) -> None:
        # A cut file is cut at once: keeping the old tail is what `kept` does already for sectors that were rewritten.
        del self.body.now[size:]

    def xSync(self, flags: int) -> None:
        self.disk.syncs += 1
        if self.disk.fail_sync:
            failed = apsw.IOError("sync failed")
            failed.extendedresult = apsw.SQLITE_IOERR_FSYNC  # type: ignore[attr-defined]
            raise failed
        self.body.sync()

    def xFileSize(self) -> int:
        return len(self.body.now)

    def xClose(self) -> None:
        pass

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, operation: int, pointer: int) -> bool:
        return False

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xSectorSize(self) -> int:
        return SECTOR
