"""The search port: what is put into the index and asked of it, whatever keeps it.

`docs/protocol.md`.  The index is a fold that can be thrown away: the caller's `cursor` says up to where it
has been fed and is kept in the same commit as the documents, so after a crash the caller feeds it again from there, and
documents that come twice replace themselves.  Backends: `duckdb.py` (behind `worker.py`), `fts5.py`, `memory.py`;
`backend.py` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable

MAX_TEXT = 64 << 10  # bytes of UTF-8; a message's text has no more
MAX_LIMIT = 10_000  # hits of one answer


class Sort(Enum):
    """The order of hits."""

    TIME = "time"  # newest first, by `Document.order`
    SCORE = "score"  # best first, equal ones newest first


@dataclass(frozen=True, slots=True)
class Document:
    """One message as it reads now.  An edit is the same `id` again; a deletion is `remove`."""

    id: bytes  # 32 B, the message
    chat: bytes  # 32 B
    author: bytes  # identity or member id
    source: str  # whom an imported message quotes, else empty
    at_ms: int  # the time shown, and the one that `since_ms` and `until_ms` mean
    order: bytes  # its place in the timeline, compared as bytes
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """`text` as typed (`words.parse`).  Empty filters let everything through; `authors` and `sources` together name one
    person, so either may match.  since_ms <= at < until_ms."""

    text: str
    chats: tuple[bytes, ...] = ()
    authors: tuple[bytes, ...] = ()
    sources: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    sort: Sort = Sort.TIME
    limit: int = 20


class Mark(NamedTuple):
    """A match in a snippet: code points from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that matches.  marks: the matches in `snippet`."""

    id: bytes
    chat: bytes
    author: bytes
    source: str
    at_ms: int
    order: bytes
    text: str
    score: float
    snippet: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a query found: the hits that were asked for, and how many there are."""

    hits: tuple[Hit, ...]
    total: int  # of all that match, whatever the limit


@runtime_checkable
class Search(Protocol):
    """Calls block (a disk, another process) and may come from any thread, one at a time is served.

    Raises KithkinError: `bad_query`, `disk_full` (the batch is absent as a whole), `profile_in_use`,
    `profile_unreadable` (the index failed: `reset` and feed it again).
    An index that cannot be opened (damaged, another version, other Unicode tables) is thrown away: its cursor is empty.
    """

    @property
    def backend(self) -> str:
        """What keeps the index: "duckdb", "fts5", or "memory" in tests."""
        ...

    def cursor(self) -> bytes:
        """What came with the last batch; empty for a new index."""
        ...

    def count(self) -> int:
        """Documents in the index."""
        ...

    def add(self, documents: Sequence[Document], *, removed: Sequence[bytes] = (), cursor: bytes | None = None) -> None:
        """One commit: what is `removed` goes, `documents` come (the last of equal ids counts), the cursor moves.

        A thousand documents at a time is the right size; a single one is fine.
        """
        ...

    def remove(self, ids: Sequence[bytes], *, cursor: bytes | None = None) -> None:
        """`add` of nothing."""
        ...

    def query(self, query: Query) -> Result:
        """The best hits, at most MAX_LIMIT.  Raises `bad_query` where the text holds no word."""
        ...

    def flush(self) -> None:
        """Write what is pending into place.  Nothing committed depends on it."""
        ...

    def scrub(self) -> None:
        """Leave no word of a removed or replaced document in any file of the index."""
        ...

    def reset(self) -> None:
        """An empty index with an empty cursor."""
        ...

    def release(self) -> None:
        """Give memory back: the node is idle.  The next call opens again by itself."""
        ...

    def close(self) -> None:
        """Let the files go.  A later call opens them again."""
        ...
