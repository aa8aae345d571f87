"""The same `Service`, in another process: calls go over the profile's socket to the node that runs there.

No method is written here: `SocketService` gets each from the protocol (`sync.service.calls`).  What an answer becomes
is the caller's choice; the models, and pydantic with them, are imported only where they are wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from identity.errors import DecodeError, KithkinError
from identity.paths import path_text
from sync.service.api import Service
from sync.service.calls import CALLS, Call, Kind
from sync.service.frames import MAX_REPLY, MAX_REQUEST, VERSION, address, read_line
from sync.service.gap_queue import GapQueue

if TYPE_CHECKING:
    from typing import Self

    from sync.service import models

ClassT = TypeVar("ClassT")
Reader = Callable[[str, Any], Any]
"""(name in `sync.service.models`, JSON value) -> what the caller gets."""
MAX_WAITING = 65_536
"""Items of one stream that may wait for their reader."""
GAP = {"event": "gap", "chat": None}
"""`models.GapEvent` as it stands in a line; events are the one stream there is."""
STOPPED = "The node stopped before it answered; look whether it was done."


def as_model(name: str, value: Any) -> Any:
    """The value as the model of that name, checked."""
    from sync.service import models

    if name == "Event":
        return _events().validate_python(value)
    return getattr(models, name).model_validate(value)


@functools.cache
def _events() -> Any:
    from pydantic import TypeAdapter

    from sync.service import models

    return TypeAdapter(models.Event)


@dataclass(frozen=True, slots=True)
class Reply:
    """One line of the node.  All but an item are the last for their request."""

    id: int
    value: Any = None
    item: Any = None
    error: KithkinError | None = None


def reply_of(line: bytes) -> Reply:
    """Raises DecodeError."""
    try:
        said = json.loads(line)
        number, error = said["id"], said.get("error")
        refused = KithkinError(error["code"], error["message"]) if error is not None else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DecodeError("not a line of the socket") from None
    if type(number) is not int:
        raise DecodeError("a reply to nothing")
    return Reply(number, said.get("value"), said.get("item"), refused)


def line_of(request: dict[str, Any]) -> bytes:
    """Raises KithkinError `text_invalid` (lone surrogates) or `text_too_long`."""
    try:
        line = json.dumps(request, ensure_ascii=False, default=_plain).encode()
    except UnicodeEncodeError:
        raise KithkinError("text_invalid", "The text is not valid Unicode.") from None
    if len(line) >= MAX_REQUEST:
        raise KithkinError("text_too_long", "That is too much for one call.")
    return line + b"\n"


def _plain(value: Any) -> Any:
    """What arguments hold beside JSON's own types: times, paths, sequences."""
    if isinstance(value, datetime):
        return value.isoformat()
    return path_text(value) if isinstance(value, Path) else list(value)


class Exchange:
    """One request and the replies to it.  Leaving it early withdraws it."""

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel = channel
        self._number = number
        self._items: GapQueue[Any] = GapQueue(MAX_WAITING, GAP)
        self._final: Reply | None = None
        self._closed = False

    def take(self, reply: Reply) -> None:
        """Keeps a reply until it is asked for.  A stream whose reader is too slow gets a gap in place of items."""
        if reply.item is not None:
            self._items.put(reply.item)
        elif self._final is None:
            self._final = reply
            self._items.end()

    async def answer(self) -> Any:
        """The next item or the value, where there must be one.  Raises the node's KithkinError."""
        if (answer := await self.next()) is None:
            raise KithkinError("timeout", STOPPED)
        return answer

    async def next(self) -> Any:
        """As `answer`, but None at the end."""
        if self._closed:
            return None
        if (item := await self._items.get()) is not None:
            return item
        self._closed = True
        self._channel.forget(self._number)
        if self._final is None:
            return None
        if self._final.error is not None:
            raise self._final.error
        return self._final.value

    def input(self, word: str) -> None:
        """A word into a dialogue."""
        self._channel.write({"id": self._number, "input": word})

    def withdraw(self) -> None:
        """Cancels the call in the node, unless it has ended."""
        if not self._closed:
            self._closed = True
            self._channel.forget(self._number)
            with contextlib.suppress(KithkinError):
                self._channel.write({"id": self._number, "cancel": True})


class Items:
    """A stream of answers, from the moment it was asked for."""

    def __init__(self, exchange: Exchange, read: Callable[[Any], Any]) -> None:
        self._exchange = exchange
        self._read_item = read

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        item = await self._exchange.next()
        if item is None:
            raise StopAsyncIteration
        return self._read_item(item)

    async def aclose(self) -> None:
        self._exchange.withdraw()


class SocketApproval:
    """`api.Approval` over the socket."""

    def __init__(self, exchange: Exchange, read: Reader, grant: models.AccessGrant) -> None:
        self._exchange = exchange
        self._read_as = read
        self._grant = grant

    @property
    def grant(self) -> models.AccessGrant:
        return self._grant

    async def confirm(self) -> models.Digits:
        self._exchange.input("confirm")
        digits: models.Digits = self._read_as("Digits", await self._exchange.answer())
        return digits

    async def done(self) -> models.Approved:
        approved: models.Approved = self._read_as("Approved", await self._exchange.answer())
        return approved


class Channel:
    """The socket of a running node and the exchanges on it.  `async with` closes it; calls under way then raise."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, read: Reader) -> None:
        self._reader = reader
        self._writer = writer
        self._read_as = read
        self._exchanges: dict[int, Exchange] = {}
        self._last = 0
        self._gone = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, folder: Path, read: Reader) -> Self | None:
        """None where no node runs on that profile.  Raises `profile_unreadable`, `profile_in_use`."""
        try:
            with address(folder) as path:
                reader, writer = await asyncio.open_unix_connection(path, limit=MAX_REPLY)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except OSError as error:
            sentence = f"The profile's socket cannot be used: {error.strerror}."
            raise KithkinError("profile_unreadable", sentence) from error
        if not _same_version(await read_line(reader)):
            writer.close()
            raise KithkinError("profile_in_use", "A node of another version runs on this profile; stop it first.")
        return cls(reader, writer, read)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection; the node cancels what is under way on it."""
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        reason = STOPPED
        try:
            while (line := await read_line(self._reader)) is not None:
                reply = reply_of(line)
                exchange = self._exchanges.get(reply.id)
                if exchange is not None:
                    exchange.take(reply)
                elif reply.id == 0 and reply.error is not None:
                    reason = reply.error.message
        except DecodeError as error:
            reason = f"The node's answer cannot be read: {error}."
        finally:
            self._gone = True
            for number, exchange in list(self._exchanges.items()):
                exchange.take(Reply(number, error=KithkinError("timeout", reason)))

    def write(self, request: dict[str, Any]) -> None:
        """Raises KithkinError `timeout` where the node has gone, and as `line_of`."""
        if self._gone:
            raise KithkinError("timeout", "The node has stopped.")
        self._writer.write(line_of(request))

    def forget(self, number: int) -> None:
        """What still comes for that request is thrown away."""
        self._exchanges.pop(number, None)

    def begin(self, call: Call, args: dict[str, Any]) -> Exchange:
        """Sends a request."""
        if call.name == "search":
            from sync.service.text import check_query

            check_query(args["query"])  # else a query that no line holds would be refused as a text
        self._last += 1
        begun = Exchange(self, self._last)
        self.write({"id": self._last, "call": call.name, "args": args})
        self._exchanges[self._last] = begun
        return begun

    async def ask(self, call: Call, args: dict[str, Any]) -> Any:
        """The value of a call."""
        begun = self.begin(call, args)
        try:
            return self._read_as(call.answer, await begun.answer())
        finally:
            begun.withdraw()

    def stream(self, call: Call, args: dict[str, Any]) -> AsyncIterator[Any]:
        """The items of a call, which has been sent when this returns."""
        return Items(self.begin(call, args), functools.partial(self._read_as, call.answer))

    @contextlib.asynccontextmanager
    async def dialogue(self, call: Call, args: dict[str, Any]) -> AsyncIterator[SocketApproval]:
        """The one dialogue there is: an approval."""
        begun = self.begin(call, args)
        try:
            yield SocketApproval(begun, self._read_as, self._read_as("AccessGrant", await begun.answer()))
        finally:
            begun.withdraw()


def _same_version(greeting: bytes | None) -> bool:
    try:
        said = json.loads(greeting or b"")
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("service") == VERSION


def _method(call: Call) -> Callable[..., Any]:
    """A method of a Channel that makes this call."""

    async def ask(self: Channel, /, *args: Any, **kwargs: Any) -> Any:
        return await self.ask(call, call.arguments(args, kwargs))

    def stream(self: Channel, /, *args: Any, **kwargs: Any) -> Any:
        return self.stream(call, call.arguments(args, kwargs))

    def dialogue(self: Channel, /, *args: Any, **kwargs: Any) -> Any:
        return self.dialogue(call, call.arguments(args, kwargs))

    made = {Kind.VALUE: ask, Kind.STREAM: stream, Kind.DIALOGUE: dialogue}
    return functools.wraps(call.method)(made[call.kind])


def _derived(client: ClassT) -> ClassT:
    for call in CALLS.values():
        setattr(client, call.name, _method(call))
    return client


@_derived
class SocketService(Channel, Service):
    """The service of a running node.  To a type checker its methods are the protocol's, and at run time they are made
    from the protocol's signatures."""


async def connect(folder: Path, read: Reader = as_model) -> SocketService | None:
    """The service of the node that runs on that profile, None where none runs.  Raises as `Channel.open`."""
    return await SocketService.open(folder, read)
