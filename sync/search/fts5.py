"""Search on SQLite FTS5, encrypted: the backend for phones, and wherever DuckDB has no build.

`docs/protocol.md`.  FTS5 gets the tokens of `words.py`, joined by spaces, never the text: its own tokenizers
know neither NFKC nor scripts without spaces.  The full-text table keeps no content; deleting gives it the same tokens
again, which takes them out of the tree at once (`secure-delete`).  Document numbers only grow: FTS5 is three times
slower at numbers that do not ascend.
"""

from __future__ import annotations

import contextlib
import threading  # noqa: TID251  a shell: a connection belongs to whoever holds the lock
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw

from identity.errors import KithkinError
from identity.paths import library_path
from sync.search.memory import hit
from sync.search.port import MAX_LIMIT, Document, Query, Result, Sort
from sync.search.words import Asked, clean, fold, parse, words
from sync.store.sqlite import MAX_PATH, is_full

VERSION = 1
KEY = 32

_SETTINGS = """
    PRAGMA cache_size = -4096; PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 4194304;
    PRAGMA secure_delete = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA synchronous = NORMAL
"""
_SCHEMA = """
    CREATE TABLE state (version INTEGER NOT NULL, unicode TEXT NOT NULL, cursor BLOB NOT NULL);
    CREATE TABLE docs (
        doc INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, chat BLOB NOT NULL, author BLOB NOT NULL,
        source TEXT NOT NULL, person TEXT NOT NULL, ms INTEGER NOT NULL, place BLOB NOT NULL, body TEXT NOT NULL,
        folded TEXT
    );
    -- Full detail for the score alone: without positions FTS5 counts every word as rare as every other.
    CREATE VIRTUAL TABLE tokens USING fts5 (words, content = '', tokenize = "ascii tokenchars '_'", detail = full);
    INSERT INTO tokens (tokens, rank) VALUES ('secure-delete', 1);
"""
_INSERT = (
    "INSERT INTO docs (id, chat, author, source, person, ms, place, body, folded) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# Texts are read for the answer alone: counting all hits would otherwise carry each of them through the sort.
_FIND = """
    WITH found AS MATERIALIZED (
        SELECT d.doc, d.place, d.id, t.score
        FROM (SELECT rowid AS doc, -rank AS score FROM tokens WHERE tokens MATCH ?) AS t JOIN docs AS d ON d.doc = t.doc
        {where}
    ), top AS (SELECT * FROM found ORDER BY {first} LIMIT ?)
    SELECT d.id, d.chat, d.author, d.source, d.ms, d.place, d.body, top.score, (SELECT count(*) FROM found)
    FROM top JOIN docs AS d ON d.doc = top.doc ORDER BY {last}
"""
_ORDER = {Sort.TIME: "{0}.place DESC, {0}.id DESC", Sort.SCORE: "{0}.score DESC, {0}.place DESC, {0}.id DESC"}
_Value = TypeVar("_Value")


class Fts5Search:
    """`Search` in one encrypted SQLite file; `key`: 32 bytes, used as they are.  Opens at the first call."""

    backend = "fts5"

    def __init__(self, path: Path, key: bytes) -> None:
        if len(key) != KEY:
            raise ValueError("an index key has 32 bytes")
        self.path = path
        self._key = key
        self._lock = threading.Lock()
        self._database: apsw.Connection | None = None

    def cursor(self) -> bytes:
        return self._serve(lambda database: cast(bytes, _one(database, "SELECT cursor FROM state")))

    def count(self) -> int:
        return self._serve(lambda database: cast(int, _one(database, "SELECT count(*) FROM docs")))

    def add(self, documents: Sequence[Document], *, removed: Sequence[bytes] = (), cursor: bytes | None = None) -> None:
        latest = {document.id: document for document in documents}
        gone = {*removed, *latest}

        def commit(database: apsw.Connection) -> None:
            with _transaction(database):
                _delete(database, gone)
                _insert(database, latest.values())
                if cursor is not None:
                    database.execute("UPDATE state SET cursor = ?", (cursor,))

        self._serve(commit)

    def remove(self, ids: Sequence[bytes], *, cursor: bytes | None = None) -> None:
        self.add((), removed=ids, cursor=cursor)

    def query(self, query: Query) -> Result:
        asked = parse(query.text)
        limit = min(max(query.limit, 0), MAX_LIMIT)
        where, values = _filters(query, asked)
        order = _ORDER[query.sort]
        sql = _FIND.format(where=where, first=order.format("found"), last=order.format("top"))

        def find(database: apsw.Connection) -> Result:
            rows = cast("list[Any]", database.execute(sql, (_match(asked), *values, max(limit, 1))).fetchall())
            hits = tuple(hit(Document(*row[:7]), row[7], asked) for row in rows[:limit])
            return Result(hits, rows[0][8] if rows else 0)

        return self._serve(find)

    def flush(self) -> None:
        self._serve(lambda database: database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall())

    def scrub(self) -> None:
        def rewrite(database: apsw.Connection) -> None:
            # Merging leaves nothing of tokens that were taken out before `secure-delete` reached their page.
            database.execute("INSERT INTO tokens (tokens) VALUES ('optimize')")
            database.execute("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        self._serve(rewrite)

    def reset(self) -> None:
        with self._lock:
            self._shut()
            _delete_files(self.path)

    def release(self) -> None:
        with self._lock:
            self._shut()

    def close(self) -> None:
        self.release()

    def _serve(self, call: Callable[[apsw.Connection], _Value]) -> _Value:
        with self._lock:
            try:
                return call(self._database or self._open())
            except apsw.Error as error:
                if isinstance(error, apsw.BusyError):
                    refusal = KithkinError("profile_in_use", "another process has this search index open")
                elif is_full(error, self._database):
                    raise KithkinError("disk_full", "the disk is full: new messages cannot be searched yet") from error
                else:
                    refusal = KithkinError("profile_unreadable", f"the search index failed: {error}")
                self._shut()
                raise refusal from error

    def _shut(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close(True)

    def _open(self) -> apsw.Connection:
        database = self._database = self._connect()
        try:
            if _sound(database):
                return database
        except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError):
            pass  # damaged or not ours: the logs hold everything, so start again
        self._shut()
        _delete_files(self.path)
        database = self._database = self._connect()
        if not _sound(database):
            raise KithkinError("profile_unreadable", "the search index could not be made")
        return database

    def _connect(self) -> apsw.Connection:
        self.path.touch(mode=0o600)
        with library_path(self.path, limit=MAX_PATH) as name:  # SQLite follows it to the real path, which it keeps
            database = apsw.Connection(name)
        database.set_busy_timeout(0)
        database.execute("PRAGMA cipher = 'chacha20'")
        database.execute(f"PRAGMA key = 'raw:{self._key.hex()}'")
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        return database


def _sound(database: apsw.Connection) -> bool:
    """Whether this is an index of this version and of these Unicode tables; makes one of an empty file."""
    database.execute("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").fetchall()
    database.execute(_SETTINGS).fetchall()
    with _transaction(database):
        if not database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():
            database.execute(_SCHEMA)
            database.execute("INSERT INTO state VALUES (?, ?, x'')", (VERSION, unicodedata.unidata_version))
    return database.execute("SELECT version, unicode FROM state").fetchall() == [(VERSION, unicodedata.unidata_version)]


def _delete(database: apsw.Connection, ids: set[bytes]) -> None:
    for key in ids:
        for doc, body in database.execute("SELECT doc, body FROM docs WHERE id = ?", (key,)).fetchall():
            joined = " ".join(words(cast(str, body)).tokens)
            database.execute("INSERT INTO tokens (tokens, rowid, words) VALUES ('delete', ?, ?)", (doc, joined))
            database.execute("DELETE FROM docs WHERE doc = ?", (doc,))


def _insert(database: apsw.Connection, documents: Iterable[Document]) -> None:
    ((first,),) = cast(
        "list[tuple[int]]", database.execute("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence").fetchall()
    )
    rows, tokens = [], []
    for number, document in enumerate(documents, first):
        body, source = clean(document.text), clean(document.source)
        split = words(body)
        rows.append(
            (
                document.id,
                document.chat,
                document.author,
                source,
                fold(source),
                document.at_ms,
                document.order,
                body,
                split.folded,
            )
        )
        tokens.append((number, " ".join(split.tokens)))
    database.executemany(_INSERT, rows)
    database.executemany("INSERT INTO tokens (rowid, words) VALUES (?, ?)", tokens)


def _match(asked: Asked) -> str:
    """FTS5's own language.  Tokens hold letters, digits, marks and `_` alone: quoting them is enough."""
    return " AND ".join(f'"{term.low}"' if term.exact else f'"{term.low}"*' for term in asked.terms)


def _filters(query: Query, asked: Asked) -> tuple[str, list[bytes | str | int]]:
    parts: list[str] = []
    values: list[bytes | str | int] = []
    for stretch in asked.inside:
        parts.append("instr(d.folded, ?) > 0")
        values.append(stretch)
    if query.chats:
        parts.append(f"d.chat IN ({_places(query.chats)})")
        values += query.chats
    if query.authors or query.sources:
        parts.append(f"(d.author IN ({_places(query.authors)}) OR d.person IN ({_places(query.sources)}))")
        values += [*query.authors, *(fold(clean(source)) for source in query.sources)]
    if query.since_ms is not None:
        parts.append("d.ms >= ?")
        values.append(query.since_ms)
    if query.until_ms is not None:
        parts.append("d.ms < ?")
        values.append(query.until_ms)
    return (" WHERE " + " AND ".join(parts) if parts else ""), values


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)


def _one(database: apsw.Connection, sql: str) -> object:
    row = database.execute(sql).fetchone()
    return None if row is None else row[0]


@contextlib.contextmanager
def _transaction(database: apsw.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _delete_files(path: Path) -> None:
    for name in (path.name, path.name + "-wal", path.name + "-shm", path.name + "-journal"):
        path.with_name(name).unlink(missing_ok=True)
