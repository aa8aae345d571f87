"""The local server: offers one `Service` to other processes of the same user, over a 0600 Unix socket in the profile.

Which calls exist and what their arguments are is read from the protocol class itself (`sync.service.calls`), as the
client's methods are (`sync.service.remote`).  `sync.service.frames` has the lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import socket
import struct
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_json

from identity.errors import DecodeError, KithkinError
from identity.paths import path_of
from sync.service import models
from sync.service.api import Approval, Service
from sync.service.calls import CALLS, Call, Kind
from sync.service.frames import MAX_REPLY, MAX_REQUEST, SOCKET, VERSION, address, read_line
from sync.service.system import refusal_of

MAX_CALLS = 64
"""Calls under way on one connection; more are refused, since a caller that pipelines that much is at fault."""


def socket_path(value: object) -> object:
    """An absolute path out of JSON (`identity.paths.path_text`): the caller has another folder.  Raises ValueError."""
    path = path_of(value) if isinstance(value, str) else value
    if isinstance(path, Path) and (not path.is_absolute() or "\0" in str(path)):
        raise ValueError("an absolute path is needed here")
    return path


SocketPath = Annotated[Path, BeforeValidator(socket_path)]


class Request(BaseModel):
    """Exactly one of `call`, `input`, `cancel`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: int = Field(ge=0, lt=2**53)
    call: str | None = Field(default=None, max_length=64)
    args: dict[str, Any] = Field(default_factory=dict)
    input: str | None = Field(default=None, max_length=64)
    cancel: bool = False


@functools.cache
def arguments(call: Call) -> type[BaseModel]:
    """The model of a call's arguments, from the method's signature."""
    hints = get_type_hints(call.method, localns={"models": models})
    hints = {name: SocketPath if hint is Path else hint for name, hint in hints.items()}
    fields: dict[str, Any] = {
        parameter.name: (hints[parameter.name], ... if parameter.default is parameter.empty else parameter.default)
        for parameter in list(inspect.signature(call.method).parameters.values())[1:]
    }
    return create_model(call.name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def request_of(line: bytes) -> Request:
    """Raises DecodeError."""
    try:
        return Request.model_validate_json(line)
    except ValidationError as error:
        raise DecodeError(f"not a line of the socket: {error.error_count()} errors") from None


def line_of(reply: dict[str, Any]) -> bytes:
    """A reply that no line can hold becomes a refusal."""
    problem = "The answer is too long for one line; ask for fewer."
    try:
        line = to_json(reply)
    except PydanticSerializationError:
        line, problem = b"", "The answer is not valid Unicode."
    if not line or len(line) >= MAX_REPLY:
        line = to_json({"id": reply["id"], "error": {"code": "usage", "message": problem}})
    return line + b"\n"


class ServiceServer:
    """`async with ServiceServer(service, folder):` serves until the block ends.  The caller owns the profile's lock, so
    a socket that is already there is a dead process's and is replaced."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        self._path = folder / SOCKET
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ServiceServer:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            with address(self._folder) as path:
                listener.bind(path)
        except OSError as error:
            listener.close()
            raise KithkinError("profile_unreadable", f"No socket can be made in the profile: {error}.") from error
        finally:
            os.umask(mask)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=MAX_REQUEST)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        sessions = list(self._sessions)
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._sessions.add(task)
        try:
            if same_user(writer.get_extra_info("socket")):
                await Session(self._service, reader, writer).serve()
        except asyncio.CancelledError:
            writer.transport.abort()  # the server is closing: nobody waits for a client that reads nothing
        finally:
            self._sessions.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def same_user(peer: socket.socket) -> bool:
    """The socket's mode says so already; the kernel's word costs nothing where it is given."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return user in (os.geteuid(), 0)


class Session:
    """One connected process: its calls run beside each other and end with it."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._inputs: dict[int, asyncio.Queue[str]] = {}

    async def serve(self) -> None:
        self._writer.write(line_of({"service": VERSION}))
        try:
            while (line := await read_line(self._reader)) is not None:
                await self._take(request_of(line))
        except DecodeError as error:
            await self._say({"id": 0, "error": {"code": "usage", "message": f"Refused: {error}."}})
        finally:
            calls = list(self._calls.values())
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _take(self, request: Request) -> None:
        if request.cancel:
            if (call := self._calls.get(request.id)) is not None:
                call.cancel()
        elif request.input is not None:
            if (queue := self._inputs.get(request.id)) is not None and queue.empty():
                queue.put_nowait(request.input)
        elif request.id in self._calls or len(self._calls) >= MAX_CALLS:
            raise DecodeError("too many calls at once, or two with one id")
        else:
            await self._start(request)

    async def _start(self, request: Request) -> None:
        call = CALLS.get(request.call or "")
        if call is None:
            await self._fail(request.id, KithkinError("usage", f"There is no call {request.call!r}."))
            return
        try:
            checked = arguments(call).model_validate(request.args)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or call.name
            await self._fail(request.id, KithkinError("usage", f"{where}: {first['msg']}."))
            return
        args = {name: getattr(checked, name) for name in type(checked).model_fields}
        method = getattr(self._service, call.name)
        match call.kind:
            case Kind.STREAM:
                # Subscribed before the next request is looked at: "events, then chats" misses nothing in between.
                work = self._stream(request.id, method(**args))
            case Kind.DIALOGUE:
                self._inputs[request.id] = asyncio.Queue()
                work = self._approve(request.id, method(**args))
            case Kind.VALUE:
                work = self._value(request.id, method(**args))
        self._calls[request.id] = asyncio.create_task(self._run(request.id, work))

    async def _run(self, number: int, work: Any) -> None:
        try:
            await work
        except KithkinError as error:
            await self._fail(number, error)
        except asyncio.CancelledError:
            self._writer.write(line_of({"id": number, "end": True}))  # not waited for: the client may read nothing
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                traceback.print_exc(file=sys.stderr)
                refusal = KithkinError("internal", "A defect of ours; the node's log has the details.")
            await self._fail(number, refusal)
        finally:
            self._calls.pop(number, None)
            self._inputs.pop(number, None)

    async def _value(self, number: int, answer: Awaitable[models.Line]) -> None:
        await self._say({"id": number, "value": await answer})

    async def _stream(self, number: int, events: AsyncIterator[models.Event]) -> None:
        async for event in events:
            await self._say({"id": number, "item": event})
        await self._say({"id": number, "end": True})

    async def _approve(self, number: int, begun: AbstractAsyncContextManager[Approval]) -> None:
        async with begun as approval:
            await self._say({"id": number, "item": approval.grant})
            if await self._inputs[number].get() != "confirm":
                raise KithkinError("usage", "Only `confirm` can be said to an approval.")
            await self._say({"id": number, "item": await approval.confirm()})
            done = await approval.done()
        await self._say({"id": number, "value": done})

    async def _fail(self, number: int, error: KithkinError) -> None:
        await self._say({"id": number, "error": {"code": error.code, "message": error.message}})

    async def _say(self, reply: dict[str, Any]) -> None:
        self._writer.write(line_of(reply))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
