"""Search on DuckDB, encrypted: own postings, BM25 in set-based SQL.

`docs/protocol.md`.  A batch becomes a *segment*: for each of its words one row with the numbers of the
documents that hold it, a number as often as the word occurs.  Segments of like size are merged eight at a time, so a
word has a few rows however the documents came.  Documents are numbered upwards and never twice: what is left in the
postings of a removed one joins with nothing, until `scrub` writes the file anew.

Rows are handed over as JSON arrays, a column each: `executemany` costs 1 ms a row, Arrow 50 MB of memory.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading  # noqa: TID251  a shell: a connection belongs to whoever holds the lock
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from identity.errors import KithkinError
from identity.paths import library_path
from sync.search.installed import duckdb_extension
from sync.search.memory import K1, B, hit
from sync.search.port import MAX_LIMIT, Document, Query, Result, Sort
from sync.search.words import Asked, clean, fold, parse, words

VERSION = 1
KEY = 32
THREADS = 1  # a second one costs more in handing over than a chat's index gives it to do
MEMORY_MB = 256  # a ceiling for large merges; twenty thousand messages need 60
FANOUT = 8  # segments of one level that become one of the next
MERGE_LIMIT = 1 << 18  # documents: larger segments are left alone, so a merge fits the ceiling
SCRUB_WORDS = 4_000  # occurrences that a scrub rewrites at a time, for each MB of memory,
SCRUB_OCTETS = 64 << 10  # or octets of text
ROW_GROUP = (
    16_384  # rows of a scrubbed index that DuckDB holds at once; its 122,880 take memory that grows with the text
)

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "temp_directory": "",  # what does not fit is refused, not spilled in the clear
    "threads": str(THREADS),
}
_SCHEMA = """
    CREATE TABLE {0}.state (
        version UINTEGER, unicode VARCHAR, mark BLOB, next_doc UINTEGER, next_segment UINTEGER
    );
    CREATE TABLE {0}.segments (segment UINTEGER, documents UINTEGER);
    CREATE TABLE {0}.postings (segment UINTEGER, word VARCHAR, docs UINTEGER[]);
    CREATE TABLE {0}.docs (
        doc UINTEGER, length UINTEGER, ms BIGINT, chat BLOB, author BLOB, person VARCHAR, place BLOB, id BLOB,
        source VARCHAR, body VARCHAR, folded VARCHAR
    );
"""
_DELETE = """DELETE FROM docs WHERE id IN (SELECT from_hex(unnest(from_json(?, '["VARCHAR"]'))))"""
_INSERT_DOCS = """
    INSERT INTO docs SELECT a, b, c, from_hex(d), from_hex(e), f, from_hex(g), from_hex(h), i, j, k FROM (SELECT
        unnest(from_json(?, '["UINTEGER"]')), unnest(from_json(?, '["UINTEGER"]')), unnest(from_json(?, '["BIGINT"]')),
        unnest(from_json(?, '["VARCHAR"]')), unnest(from_json(?, '["VARCHAR"]')), unnest(from_json(?, '["VARCHAR"]')),
        unnest(from_json(?, '["VARCHAR"]')), unnest(from_json(?, '["VARCHAR"]')), unnest(from_json(?, '["VARCHAR"]')),
        unnest(from_json(?, '["VARCHAR"]')), unnest(from_json(?, '["VARCHAR"]'))
    ) AS t (a, b, c, d, e, f, g, h, i, j, k)
"""
_INSERT_POSTINGS = """
    INSERT INTO postings SELECT ?, unnest(from_json(?, '["VARCHAR"]')), unnest(from_json(?, '[["UINTEGER"]]'))
"""
_MERGE = """
    INSERT INTO postings
    SELECT ?, word, flatten(list(docs ORDER BY segment)) FROM postings
    WHERE segment IN (SELECT unnest(?)) GROUP BY word ORDER BY word
"""
# A scrub's steps: 64 documents are the least that it takes at a time (4 MiB of text, or 2 million words of one letter).
_PIECES = """
    SELECT min(doc), max(doc), count(*), sum(length), sum(strlen(body) + coalesce(strlen(folded), 0))
    FROM old.docs GROUP BY doc // 64 ORDER BY 1
"""
_COPY = """
    INSERT INTO new.postings SELECT ?, word, list(doc) FROM (
        SELECT word, unnest(list_filter(docs, lambda d: d BETWEEN ? AND ?)) AS doc FROM old.postings
        WHERE segment IN (SELECT unnest(?))
    ) WHERE doc IN (SELECT doc FROM new.docs WHERE doc BETWEEN ? AND ?) GROUP BY word ORDER BY word
"""
# Three statements, because planning is most of the cost of a search: how often each term occurs (none: that is the
# answer), which documents hold them all, and what the few that are shown say.
_OCCURS = {
    True: "SELECT {0}, coalesce(sum(len(docs)), 0) FROM postings WHERE word = ?",
    False: "SELECT {0}, coalesce(sum(len(docs)), 0) FROM postings WHERE word >= ? AND word <= ?",
}
_TERM = {
    True: "SELECT {0} AS term, ?::DOUBLE AS weight, unnest(docs) AS doc FROM postings WHERE word = ?",
    False: "SELECT {0} AS term, ?::DOUBLE AS weight, unnest(docs) AS doc FROM postings WHERE word >= ? AND word <= ?",
}
_FIND = """
    SELECT doc, score, count(*) OVER () FROM (
        SELECT d.doc, d.place, d.id, sum(f.weight * f.occurs / (f.occurs + ?::DOUBLE + ?::DOUBLE * d.length)) AS score
        FROM (SELECT term, weight, doc, count(*) AS occurs FROM ({terms}) GROUP BY term, weight, doc) AS f
        JOIN docs AS d ON d.doc = f.doc
        {where} GROUP BY d.doc, d.place, d.id HAVING count(*) = {count}
    ) ORDER BY {order} LIMIT ?
"""
_SHOW = "SELECT doc, id, chat, author, source, ms, place, body FROM docs WHERE doc IN ({})"
_ORDER = {Sort.TIME: "place DESC, id DESC", Sort.SCORE: "score DESC, place DESC, id DESC"}
_Value = TypeVar("_Value")


class DuckSearch:
    """`Search` in one encrypted DuckDB file; `key`: 32 bytes; `memory_mb`: what DuckDB may take.

    Opens at the first call (60 ms).
    """

    backend = "duckdb"

    def __init__(self, path: Path, key: bytes, *, memory_mb: int = MEMORY_MB) -> None:
        if len(key) != KEY:
            raise ValueError("an index key has 32 bytes")
        self.path = path
        self._key = key
        self._memory_mb = memory_mb
        self._lock = threading.Lock()
        self._database: duckdb.DuckDBPyConnection | None = None
        self._names = contextlib.ExitStack()  # what the open database's path is reached by

    def cursor(self) -> bytes:
        return bytes(self._serve(lambda database: _rows(database, "SELECT mark FROM state")[0][0]))

    def count(self) -> int:
        return int(self._serve(lambda database: _rows(database, "SELECT count(*) FROM docs")[0][0]))

    def add(self, documents: Sequence[Document], *, removed: Sequence[bytes] = (), cursor: bytes | None = None) -> None:
        latest = {document.id: document for document in documents}
        gone = {*removed, *latest}

        def commit(database: duckdb.DuckDBPyConnection) -> None:
            database.execute("BEGIN")
            if gone:
                database.execute(_DELETE, [_json([key.hex() for key in gone])])
            if latest:
                _insert(database, latest.values())
            if cursor is not None:
                database.execute("UPDATE state SET mark = ?", [cursor])
            database.execute("COMMIT")

        self._serve(commit)
        if latest:
            # The batch is in: a merge that finds no room is not its failure, the next one tries again.
            with contextlib.suppress(KithkinError):
                self._serve(_merge)

    def remove(self, ids: Sequence[bytes], *, cursor: bytes | None = None) -> None:
        self.add((), removed=ids, cursor=cursor)

    def query(self, query: Query) -> Result:
        asked = parse(query.text)
        limit = min(max(query.limit, 0), MAX_LIMIT)
        return self._serve(lambda database: _search(database, query, asked, limit))

    def flush(self) -> None:
        self._serve(lambda database: database.execute("CHECKPOINT"))

    def scrub(self) -> None:
        """Writes the living documents to a new file: DuckDB does not wipe the blocks that it frees."""
        fresh = self.path.with_name(self.path.name + ".new")
        self._serve(lambda _: None)
        with self._lock:
            self._shut()
            _delete_files(fresh)
            try:
                with contextlib.ExitStack() as names:
                    database = _connect({"old": self.path, "new": fresh}, self._key, self._memory_mb, names)
                    try:
                        _rewrite(database, self._memory_mb)
                    finally:
                        database.close()
                fresh.replace(self.path)
                _delete_files(fresh)
            except (duckdb.Error, OSError) as error:
                _delete_files(fresh)
                raise _refusal(error) from error

    def reset(self) -> None:
        with self._lock:
            self._shut()
            _delete_files(self.path)

    def release(self) -> None:
        with self._lock:
            self._shut()

    def close(self) -> None:
        self.release()

    def _serve(self, call: Callable[[duckdb.DuckDBPyConnection], _Value]) -> _Value:
        with self._lock:
            try:
                if self._database is None:
                    self._database = self._open()
                return call(self._database)
            except (duckdb.Error, OSError) as error:
                # Closing drops an open transaction, and a database that DuckDB has declared invalid.
                self._shut()
                raise _refusal(error) from error

    def _shut(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()
        self._names.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        for last in (False, True):
            database = None
            try:
                database = _connect({"ix": self.path}, self._key, self._memory_mb, self._names)
                database.execute("USE ix")
                if _sound(database):
                    return database
                database.close()
            except duckdb.Error as error:
                if database is not None:
                    database.close()
                if last or _refusal(error).code != "profile_unreadable":
                    raise
            _delete_files(self.path)  # damaged, or of another version: the logs hold everything
        raise KithkinError("profile_unreadable", "the search index could not be made")


def _connect(
    files: dict[str, Path], key: bytes, memory_mb: int, names: contextlib.ExitStack
) -> duckdb.DuckDBPyConnection:
    """A connection that can reach these encrypted files and nothing else; its settings cannot be changed any more.

    names: closed by the caller after the connection, it holds what the paths lead through.
    """
    database = duckdb.connect(":memory:", config={**_CONFIG, "memory_limit": f"{memory_mb}MB"})
    try:
        # Writing encrypted files takes OpenSSL, which httpfs brings; loaded from its package, never fetched.
        extension = duckdb_extension()
        if extension is None:
            raise KithkinError("profile_unreadable", "the search needs the package duckdb-extension-httpfs")
        with library_path(extension) as known:
            database.execute(f"LOAD {_quoted(known)}")
        for name, path in files.items():
            known = names.enter_context(library_path(path))
            options = f", ROW_GROUP_SIZE {ROW_GROUP}" if name == "new" else ""
            database.execute(f"ATTACH {_quoted(known)} AS {name} (ENCRYPTION_KEY '{key.hex()}'{options})")
            path.chmod(0o600)
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
    except BaseException:
        database.close()
        raise
    return database


def _sound(database: duckdb.DuckDBPyConnection) -> bool:
    """Whether this is an index of this version and of these Unicode tables; makes one of an empty file."""
    if not _rows(database, "SELECT 1 FROM duckdb_tables() WHERE database_name = 'ix' LIMIT 1"):
        database.execute(_SCHEMA.format("ix"))
        database.execute("INSERT INTO state VALUES (?, ?, ''::BLOB, 0, 0)", [VERSION, unicodedata.unidata_version])
    return _rows(database, "SELECT version, unicode FROM state") == [(VERSION, unicodedata.unidata_version)]


def _insert(database: duckdb.DuckDBPyConnection, documents: Iterable[Document]) -> None:
    ((first, segment),) = _rows(database, "SELECT next_doc, next_segment FROM state")
    columns: list[list[Any]] = [[] for _ in range(11)]
    postings: defaultdict[str, list[int]] = defaultdict(list)
    number = first
    for number, document in enumerate(documents, first):
        body, source = clean(document.text), clean(document.source)
        split = words(body)
        for token in split.tokens:
            postings[token].append(number)
        row = (
            number,
            len(split.tokens),
            document.at_ms,
            document.chat.hex(),
            document.author.hex(),
            fold(source),
            document.order.hex(),
            document.id.hex(),
            source,
            body,
            split.folded,
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    database.execute(_INSERT_DOCS, [_json(column) for column in columns])
    order = sorted(postings)  # min and max of each block of rows then say which blocks a search can skip
    database.execute(_INSERT_POSTINGS, [segment, _json(order), _json([postings[word] for word in order])])
    database.execute("INSERT INTO segments VALUES (?, ?)", [segment, number + 1 - first])
    database.execute("UPDATE state SET next_doc = ?, next_segment = ?", [number + 1, segment + 1])


def _merge(database: duckdb.DuckDBPyConnection) -> None:
    """Segments of one level, FANOUT of them, become one; the result may complete the next level."""
    while True:
        levels: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for segment, documents in _rows(database, "SELECT segment, documents FROM segments ORDER BY segment"):
            levels[documents.bit_length() // FANOUT.bit_length()].append((segment, documents))
        full = next((level for _, level in sorted(levels.items()) if len(level) >= FANOUT), [])
        documents = sum(count for _, count in full)
        if not full or documents > MERGE_LIMIT:
            return
        old = [segment for segment, _ in full]
        ((new,),) = _rows(database, "SELECT next_segment FROM state")
        database.execute("BEGIN")
        database.execute(_MERGE, [new, old])
        for table in ("postings", "segments"):
            database.execute(f"DELETE FROM {table} WHERE segment IN (SELECT unnest(?))", [old])  # noqa: S608  fixed names
        database.execute("INSERT INTO segments VALUES (?, ?)", [new, documents])
        database.execute("UPDATE state SET next_segment = ?", [new + 1])
        database.execute("COMMIT")


def _rewrite(database: duckdb.DuckDBPyConnection, memory_mb: int) -> None:
    """Copies what lives from `old` to `new`, stretch by stretch of documents; each makes one segment."""
    database.execute(_SCHEMA.format("new"))
    held = _rows(
        database, "SELECT segment, min(list_min(docs)), max(list_max(docs)) FROM old.postings GROUP BY segment"
    )
    number = 0
    for number, (first, last, documents) in enumerate(_stretches(database, memory_mb), 1):
        database.execute("INSERT INTO new.docs FROM old.docs WHERE doc BETWEEN ? AND ? ORDER BY doc", [first, last])
        near = [segment for segment, low, high in held if low <= last and high >= first]
        database.execute(_COPY, [number - 1, first, last, near, first, last])
        database.execute("INSERT INTO new.segments VALUES (?, ?)", [number - 1, documents])
        database.execute("CHECKPOINT new")  # what has not been put into place yet takes memory
    database.execute("INSERT INTO new.state SELECT version, unicode, mark, next_doc, ? FROM old.state", [number])
    database.execute("CHECKPOINT new")


def _stretches(database: duckdb.DuckDBPyConnection, memory_mb: int) -> list[tuple[int, int, int]]:
    """(first document, last document, how many) of stretches that hold a bounded number of words and octets each."""
    found: list[tuple[int, int, int]] = []
    words_in = octets_in = 0
    for first, last, documents, occurrences, octets in _rows(database, _PIECES):
        words_in, octets_in = words_in + int(occurrences), octets_in + int(octets)
        if found and words_in <= SCRUB_WORDS * memory_mb and octets_in <= SCRUB_OCTETS * memory_mb:
            found[-1] = (found[-1][0], last, found[-1][2] + documents)
        else:
            found.append((first, last, documents))
            words_in, octets_in = int(occurrences), int(octets)
    return found


def _search(database: duckdb.DuckDBPyConnection, query: Query, asked: Asked, limit: int) -> Result:
    ((total, mean),) = _rows(database, "SELECT count(*), greatest(avg(length), 1) FROM docs")
    bounds = [[term.low] if term.exact else [term.low, term.high] for term in asked.terms]
    counting = " UNION ALL ".join(_OCCURS[term.exact].format(number) for number, term in enumerate(asked.terms))
    occurs = dict(_rows(database, counting, [bound for pair in bounds for bound in pair]))
    if not all(occurs.values()):
        return Result((), 0)
    values: list[Any] = [K1 * (1 - B), K1 * B / mean]
    for number, pair in enumerate(bounds):
        holding = min(int(occurs[number]), total)  # of occurrences: in chats nearly that of documents
        values += [(K1 + 1) * math.log(1 + (total - holding + 0.5) / (holding + 0.5)), *pair]
    where, wanted = _filters(query, asked)
    sql = _FIND.format(
        terms=" UNION ALL ".join(_TERM[term.exact].format(number) for number, term in enumerate(asked.terms)),
        count=len(asked.terms),
        where=where,
        order=_ORDER[query.sort],
    )
    found = _rows(database, sql, [*values, *wanted, max(limit, 1)])
    shown = found[:limit]
    if not shown:
        return Result((), found[0][2] if found else 0)
    texts = _rows(database, _SHOW.format(", ".join(str(int(doc)) for doc, _, _ in shown)))
    documents = {doc: Document(*rest) for doc, *rest in texts}
    return Result(tuple(hit(documents[doc], score, asked) for doc, score, _ in shown), found[0][2])


def _filters(query: Query, asked: Asked) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    for stretch in asked.inside:
        parts.append("contains(d.folded, ?)")
        values.append(stretch)
    if query.chats:
        parts.append("d.chat IN (SELECT unnest(?::BLOB[]))")
        values.append(list(query.chats))
    if query.authors or query.sources:
        parts.append("(d.author IN (SELECT unnest(?::BLOB[])) OR d.person IN (SELECT unnest(?::VARCHAR[])))")
        values += [list(query.authors), [fold(clean(source)) for source in query.sources]]
    if query.since_ms is not None:
        parts.append("d.ms >= ?")
        values.append(query.since_ms)
    if query.until_ms is not None:
        parts.append("d.ms < ?")
        values.append(query.until_ms)
    return ("WHERE " + " AND ".join(parts) if parts else ""), values


def _refusal(error: duckdb.Error | OSError) -> KithkinError:
    """DuckDB has no codes for what the system says: the text is all there is."""
    said = str(error)
    if "Could not set lock" in said or "already attached" in said or "file handle conflict" in said:
        return KithkinError("profile_in_use", "another process has this search index open")
    if any(sign in said for sign in ("No space left", "File too large", "Disk quota", "Could not write all bytes")):
        return KithkinError("disk_full", "the disk is full: new messages cannot be searched yet")
    return KithkinError("profile_unreadable", f"the search index failed: {said.splitlines()[0] if said else error!r}")


def _rows(database: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    return database.execute(sql, list(values)).fetchall()


def _json(values: Sequence[object]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"


def _delete_files(path: Path) -> None:
    for name in (path.name, path.name + ".wal", path.name + ".wal.checkpoint", path.name + ".wal.recovery"):
        path.with_name(name).unlink(missing_ok=True)
