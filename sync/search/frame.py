"""What the engine and its search process say to each other: JSON arrays behind four bytes of length.

Both ends are this program on one machine, joined by pipes that nobody else holds.  Still a frame has a bound, and what
is not a request or an answer is a DecodeError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, BinaryIO

from identity.errors import DecodeError
from sync.search.port import Document, Hit, Mark, Query, Result, Sort

MAX_FRAME = 256 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Start:
    """The first request, without an answer.  path: as the system has it, since it may be no UTF-8."""

    path: bytes
    key: bytes
    idle_s: float


@dataclass(frozen=True, slots=True)
class Add:
    """A batch for `Search.add`; answered by `Done(None)`."""

    documents: tuple[Document, ...]
    removed: tuple[bytes, ...]
    cursor: bytes | None


@dataclass(frozen=True, slots=True)
class Ask:
    """A query; answered by `Found`."""

    query: Query


@dataclass(frozen=True, slots=True)
class Call:
    """What takes no argument: cursor, count, flush, scrub, reset."""

    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """A call has succeeded; `value` is what it returns."""

    value: bytes | int | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a query has found."""

    result: Result


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was refused: the code and the message of a KithkinError."""

    code: str
    message: str


Message = Start | Add | Ask | Call | Done | Found | Refused


def send(pipe: BinaryIO, message: Message) -> None:
    """Raises OSError where nobody reads any more."""
    payload = encode(message)
    pipe.write(len(payload).to_bytes(4, "little") + payload)
    pipe.flush()


def receive(pipe: BinaryIO) -> Message:
    """Raises EOFError where nobody writes any more."""
    length = int.from_bytes(_exactly(pipe, 4), "little")
    if length > MAX_FRAME:
        raise DecodeError("a frame is over its bound")
    return decode(_exactly(pipe, length))


def encode(message: Message) -> bytes:
    return json.dumps(_plain(message), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def decode(payload: bytes) -> Message:
    try:
        return _message(json.loads(payload))
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DecodeError("not a search frame") from error


def _plain(message: Message) -> list[Any]:
    match message:
        case Start(path, key, idle_s):
            return ["start", path.hex(), key.hex(), idle_s]
        case Add(documents, removed, cursor):
            rows = [
                (d.id.hex(), d.chat.hex(), d.author.hex(), d.source, d.at_ms, d.order.hex(), d.text) for d in documents
            ]
            return ["add", rows, [key.hex() for key in removed], None if cursor is None else cursor.hex()]
        case Ask(query):
            chats, authors = ([value.hex() for value in values] for values in (query.chats, query.authors))
            rest = (query.sources, query.since_ms, query.until_ms, query.sort.value, query.limit)
            return ["ask", query.text, chats, authors, *rest]
        case Call(name):
            return ["call", name]
        case Done(bytes() as value):
            return ["bytes", value.hex()]
        case Done(value):
            return ["done", value]
        case Found(result):
            return ["found", [_plain_hit(hit) for hit in result.hits], result.total]
        case Refused():
            return ["refused", *astuple(message)]


def _plain_hit(hit: Hit) -> tuple[Any, ...]:
    place = (hit.id.hex(), hit.chat.hex(), hit.author.hex(), hit.source, hit.at_ms, hit.order.hex())
    return (*place, hit.text, hit.score, hit.snippet, hit.marks)


def _message(plain: Any) -> Message:
    match plain:
        case ["start", path, key, int() | float() as idle_s]:
            return Start(bytes.fromhex(path), bytes.fromhex(key), idle_s)
        case ["add", rows, removed, cursor]:
            documents = tuple(
                Document(
                    bytes.fromhex(i), bytes.fromhex(c), bytes.fromhex(a), str(s), int(at), bytes.fromhex(o), str(t)
                )
                for i, c, a, s, at, o, t in rows
            )
            return Add(documents, tuple(_unhex(removed)), None if cursor is None else bytes.fromhex(cursor))
        case ["ask", str(text), chats, authors, sources, since, until, sort, int(limit)]:
            filters = (tuple(_unhex(chats)), tuple(_unhex(authors)), tuple(sources))
            return Ask(Query(text, *filters, since, until, Sort(sort), limit))
        case ["call", str(name)]:
            return Call(name)
        case ["bytes", value]:
            return Done(bytes.fromhex(value))
        case ["done", (int() | None) as value]:
            return Done(value)
        case ["found", hits, int(total)]:
            return Found(Result(tuple(_hit(*hit) for hit in hits), total))
        case ["refused", str(code), str(message)]:
            return Refused(code, message)
        case _:
            raise DecodeError("not a search frame")


def _hit(i: str, c: str, a: str, s: str, at: int, o: str, text: str, score: float, snippet: str, marks: Any) -> Hit:
    spans = tuple(Mark(start, end) for start, end in marks)
    return Hit(
        bytes.fromhex(i), bytes.fromhex(c), bytes.fromhex(a), s, at, bytes.fromhex(o), text, score, snippet, spans
    )


def _unhex(values: list[str]) -> Iterator[bytes]:
    return map(bytes.fromhex, values)


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    data = pipe.read(length)
    if len(data) != length:
        raise EOFError
    return data
