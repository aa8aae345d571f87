"""The store on disk: encrypted SQLite (sqlite3mc), one table of (key, value) for each `Table`, one process.

`docs/protocol.md`; the choices are measured in `docs/decisions/0060-store-layout.md`.  The log (WAL) is one
file written in order, so syncing it after a durable batch makes every batch before it durable as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading  # noqa: TID251  a shell: the engine's loop and its worker share one connection
import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TypeVar, cast

import apsw

from identity.errors import KithkinError
from identity.paths import library_path
from sync.store.port import Action, Batch, Extent, Row, StoreClosed, Table

VERSION = 3  # of the layout below; a store with another one is left alone
KEY = 32
CACHE_KIB = 4_096
CHECKPOINT_PAGES = 4_000  # 16 MB of log before it is written back: pages that many batches change are written once
MAX_PATH = 500  # bytes; SQLite takes 512, and puts `-wal` and the like behind it
LOG_LIMIT = 24 << 20  # bytes the log file keeps after a large batch

_WRITE = {
    Action.PUT: "INSERT INTO t{} VALUES(?1, ?2) ON CONFLICT(k) DO UPDATE SET v = ?2",
    Action.DELETE: "DELETE FROM t{} WHERE k = ?1",
    Action.DELETE_RANGE: "DELETE FROM t{} WHERE k >= ?1 AND k < ?2",
}
_GET = "SELECT v FROM t{} WHERE k = ?1"
_GET_MANY = "SELECT k, v FROM t{} WHERE k IN ({})"
_SCAN = {  # (reverse, has an end)
    (False, False): "SELECT k, v FROM t{} WHERE k >= ?1 AND ?2 IS NULL ORDER BY k LIMIT ?3",
    (False, True): "SELECT k, v FROM t{} WHERE k >= ?1 AND k < ?2 ORDER BY k LIMIT ?3",
    (True, False): "SELECT k, v FROM t{} WHERE k >= ?1 AND ?2 IS NULL ORDER BY k DESC LIMIT ?3",
    (True, True): "SELECT k, v FROM t{} WHERE k >= ?1 AND k < ?2 ORDER BY k DESC LIMIT ?3",
}
_EXTENT = "SELECT count(*), coalesce(sum(length(v)), 0) FROM t{} WHERE k >= ?1 AND (?2 IS NULL OR k < ?2)"
_TOUCH = "UPDATE sync_point SET n = n + 1"
_CREATE = "CREATE TABLE t{} (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL)"
_SETTINGS = f"""
    PRAGMA cache_size = -{CACHE_KIB};
    PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
    PRAGMA journal_size_limit = {LOG_LIMIT};
    PRAGMA secure_delete = ON;
    PRAGMA mmap_size = 0;
    PRAGMA cache_spill = OFF;
    PRAGMA temp_store = MEMORY;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON
"""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FEW, MANY = 8, 250  # keys from which one statement asks for several, and how many at once
_UNSYNCED = {apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC}
_Value = TypeVar("_Value")


class SqliteStore:
    """`Store` in one encrypted file and its log.  Calls may come from any thread; one at a time is served.

    `key`: 32 random bytes, used as they are (no slow derivation: the keystore has done that).  `vfs` names the file
    layer below the encryption; tests put a simulated disk there.  `look` may read the file's surroundings before it is
    locked; what it returns is kept in `seen`.  Raises KithkinError: profile_in_use (another process
    has it), profile_newer, profile_unreadable (wrong key, damaged, not a store, no permission), disk_full.
    """

    def __init__(
        self, path: Path, key: bytes, *, vfs: str | None = None, look: Callable[[Path], bytes] | None = None
    ) -> None:
        if len(key) != KEY:
            raise ValueError("a store key has 32 bytes")
        self.path = path
        self.seen = b""
        self.listeners: list[Callable[[Batch], None]] = []
        self._lock = threading.Lock()
        self._synchronous = ""
        self._unsynced = False
        self._broken: KithkinError | None = None
        self._database: apsw.Connection | None = None
        if len(os.fsencode(os.path.realpath(path))) > MAX_PATH:
            raise KithkinError(
                "profile_unreadable", f"that folder lies too deep: {MAX_PATH} bytes of path are the most"
            )
        try:
            _create(path)
            # SQLite's locks are those of the process: closing any other descriptor of this file would let them go, so
            # whoever wants to look at the file does it now, and nobody opens it later.
            self.seen = look(path) if look is not None else b""
            with library_path(path, limit=MAX_PATH) as name:  # SQLite follows it to the real path, which it keeps
                self._database = apsw.Connection(name, vfs=None if vfs is None else f"multipleciphers-{vfs}")
            _OPEN.add(self)
            self._prepare(self._database, key)
        except (apsw.Error, OSError) as error:
            refusal = self._refusal(error)
            self.close()
            raise refusal from error
        except KithkinError:
            self.close()
            raise

    def get(self, table: Table, key: bytes) -> bytes | None:
        sql = _GET.format(int(table))
        return self._serve(lambda database: _first(database, sql, key))

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        if len(keys) < FEW:
            sql = _GET.format(int(table))
            return self._serve(lambda database: [_first(database, sql, key) for key in keys])

        def look_up(database: apsw.Connection) -> list[bytes | None]:
            found: dict[bytes, bytes] = {}
            for start in range(0, len(keys), MANY):
                part = keys[start : start + MANY]
                sql = _GET_MANY.format(int(table), ",".join("?" * len(part)))
                found.update(cast("list[Row]", database.execute(sql, tuple(part)).fetchall()))
            return [found.get(key) for key in keys]

        return self._serve(look_up)

    def scan(
        self,
        table: Table,
        start: bytes = b"",
        end: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[Row]:
        sql = _SCAN[reverse, end is not None].format(int(table))
        values = (start, end, -1 if limit is None else max(limit, 0))
        return self._serve(lambda database: cast("list[Row]", database.execute(sql, values).fetchall()))

    def extent(self, table: Table, start: bytes = b"", end: bytes | None = None) -> Extent:
        sql = _EXTENT.format(int(table))

        def measure(database: apsw.Connection) -> Extent:
            ((rows, octets),) = cast("list[tuple[int, int]]", database.execute(sql, (start, end)).fetchall())
            return Extent(rows, octets)

        return self._serve(measure)

    def write(self, batch: Batch, *, durable: bool) -> None:
        def commit(database: apsw.Connection) -> None:
            if not len(batch):
                if durable:
                    self._sync(database)
                return
            self._set_synchronous(database, "FULL" if durable else "NORMAL")
            with _transaction(database):
                for table, action, rows in batch.changes():
                    sql = _WRITE[action].format(int(table))
                    if len(rows) == 1:
                        database.execute(sql, rows[0])
                    else:
                        # Neighbours share pages.  The sort is stable: of one key the last value stays the last.
                        database.executemany(sql, sorted(rows, key=itemgetter(0)))
                if durable and self._unsynced:
                    # A batch that changes nothing (deletes what is not there) would write nothing, hence sync nothing.
                    database.execute(_TOUCH)
            self._unsynced = not durable

        self._serve(commit)
        for tell in self.listeners:
            tell(batch)

    @contextlib.contextmanager
    def unlogged(self) -> Iterator[None]:
        """A store that holds nothing yet is filled without its log, which halves what is written; all of it is durable
        when the block ends.  A crash inside leaves nothing that can be used."""
        self._serve(lambda database: database.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall())
        self._synchronous = "OFF"
        yield

        def log_again(database: apsw.Connection) -> None:
            self._set_synchronous(database, "FULL")
            with _transaction(database):
                database.execute(_TOUCH)  # a commit that syncs the file, with everything before it
            database.execute("PRAGMA journal_mode = WAL").fetchall()
            database.execute(_SETTINGS).fetchall()

        self._serve(log_again)

    def scrub(self) -> None:
        # secure_delete has zeroed what was deleted; older images of those pages are left in the log alone.
        def empty_log(database: apsw.Connection) -> None:
            self._sync(database)
            database.execute("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        self._serve(empty_log)

    def release(self) -> None:
        self._serve(lambda database: database.execute("PRAGMA shrink_memory").fetchall())

    def check(self) -> str | None:
        """None when every page opens and the tables are sound, else what is wrong, in a sentence (`doctor`)."""
        try:
            found = self._serve(lambda database: database.execute("PRAGMA integrity_check(1)").fetchall())
        except KithkinError as error:
            return error.message
        return None if found == [("ok",)] else f"the store is damaged: {found[0][0]}"

    def close(self) -> None:
        """Writes the log back and lets the profile go.  A second call does nothing."""
        with self._lock:
            _OPEN.discard(self)
            database, self._database = self._database, None
            if database is None:
                return
            if self._unsynced and self._broken is None:
                # A clean end keeps everything.  On a full disk the log stays, and is read at the next start.
                with contextlib.suppress(apsw.Error):
                    self._sync(database)
            database.close(True)

    def _serve(self, call: Callable[[apsw.Connection], _Value]) -> _Value:
        with self._lock:
            if self._database is None:
                raise StoreClosed("the store is closed")
            if self._broken is not None:
                raise self._broken
            try:
                return call(self._database)
            except apsw.Error as error:
                raise self._refusal(error) from error

    def _prepare(self, database: apsw.Connection, key: bytes) -> None:
        database.set_busy_timeout(0)
        database.execute("PRAGMA cipher = 'chacha20'")
        database.execute(f"PRAGMA key = 'raw:{key.hex()}'")
        # Before the first access: then the lock is taken at once and held, and no shared-memory file is made.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        ((version,),) = cast("list[tuple[int]]", database.execute("PRAGMA user_version").fetchall())
        if version > VERSION:
            raise KithkinError("profile_newer", "this profile was written by a newer version: update this program")
        there = {row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if 0 < version < VERSION:
            raise KithkinError(
                "profile_unreadable", "this profile was made by an earlier version, whose formats are not read any more"
            )
        if version < VERSION and there:
            raise KithkinError("profile_unreadable", f"{self.path.name} is a database of something else")
        # Incremental: a commit never moves pages about, `scrub` gives free ones back.  Before anything is written.
        database.execute("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").fetchall()
        database.execute(_SETTINGS).fetchall()  # each statement runs once the one before gave its row
        self._set_synchronous(database, "FULL")
        with _transaction(database):  # also where nothing is missing: it takes the lock
            for table in Table:
                if f"t{int(table)}" not in there:
                    database.execute(_CREATE.format(int(table)))
            if version < VERSION:
                database.execute("CREATE TABLE sync_point (n INTEGER NOT NULL)")
                database.execute("INSERT INTO sync_point VALUES (0)")
                database.execute(f"PRAGMA user_version = {VERSION}")

    def _set_synchronous(self, database: apsw.Connection, level: str) -> None:
        if level != self._synchronous:
            database.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _sync(self, database: apsw.Connection) -> None:
        """A commit of nothing is not written, hence not synced: change one number instead."""
        if not self._unsynced:
            return
        self._set_synchronous(database, "FULL")
        with _transaction(database):
            database.execute(_TOUCH)
        self._unsynced = False

    def _refusal(self, error: apsw.Error | OSError) -> KithkinError:
        """The one place where the library's errors become ours."""
        match error:
            case apsw.BusyError() | apsw.LockedError():
                return KithkinError("profile_in_use", "another process has this profile open")
            case apsw.NotADBError() | apsw.CorruptError():
                return KithkinError("profile_unreadable", f"{self.path.name} is damaged or belongs to another key")
            case apsw.IOError() if _result(error) in _UNSYNCED:
                # After a failed sync the system may call those bytes clean though they never reached the disk: whoever
                # goes on writes behind a hole.  Only a fresh start reads what is really there.
                self._broken = KithkinError("profile_unreadable", "the disk did not keep what was written: start again")
                return self._broken
            case _ if is_full(error, self._database):
                return _disk_full()
            case _:
                return KithkinError("profile_unreadable", f"{self.path} cannot be read and written: {error}")


_OPEN: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


def open_stores() -> list[Path]:
    """The files of all stores that this process has open: nobody else may open and close one of them meanwhile."""
    return [store.path for store in list(_OPEN)]


def is_full(error: apsw.Error | OSError, database: apsw.Connection | None) -> bool:
    """Whether the disk, a quota or a limit on file size had no room.  `database` is where the error came from."""
    match error:
        case apsw.FullError():
            return True
        case apsw.IOError():
            return database is not None and database.system_errno in _FULL
        case OSError():
            return error.errno in _FULL
        case _:
            return False


def _result(error: apsw.Error) -> int:
    """SQLite's extended result code; the library's type stubs do not know the attribute."""
    return int(getattr(error, "extendedresult", 0))


def _disk_full() -> KithkinError:
    return KithkinError("disk_full", "the disk is full: nothing was lost; free some space and try again")


def _first(database: apsw.Connection, sql: str, key: bytes) -> bytes | None:
    row = database.execute(sql, (key,)).fetchone()
    return None if row is None else cast(bytes, row[0])


@contextlib.contextmanager
def _transaction(database: apsw.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some errors have rolled back already
            database.execute("ROLLBACK")
        raise


def _create(path: Path) -> None:
    """An empty file that only its owner may read, its name synced: SQLite would make it with the usual mask."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
    except FileExistsError:
        return
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
