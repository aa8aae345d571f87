"""The lines of the local socket: which exist, how long they may be, how they are read and written.

A line is one JSON object and `\\n`.  The server greets; the client asks with an id of its own choosing:

    server  {"service":1}
    client  {"id":1,"call":"send","args":{"chat":…,"text":…}}     server  {"id":1,"value":{…}} or {"id":1,"error":{…}}
    client  {"id":2,"call":"events"}                              server  {"id":2,"item":{…}} … until cancelled
    client  {"id":3,"call":"device_approve","args":{…}}           server  {"id":3,"item":{GRANT}}
    client  {"id":3,"input":"confirm"}                            server  {"id":3,"item":{DIGITS}}, {"id":3,"value":{…}}
    client  {"id":2,"cancel":true}                                server  {"id":2,"end":true}
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from identity.errors import DecodeError, KithkinError
from sync.service.models import Problem

Line = TypeVar("Line", bound=BaseModel)

VERSION = 1
SOCKET = "node.sock"
MAX_REQUEST = 1024 * 1024
MAX_REPLY = 64 * 1024 * 1024
_MAX_ADDRESS = 100
"""sockaddr_un holds 108 bytes on Linux and 104 elsewhere."""


class Greeting(BaseModel):
    """The first line of the server: which version it speaks."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    service: int


class Request(BaseModel):
    """Exactly one of `call`, `input`, `cancel`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: int = Field(ge=0, lt=2**53)
    call: str | None = Field(default=None, max_length=64)
    args: dict[str, Any] = Field(default_factory=dict)
    input: str | None = Field(default=None, max_length=64)
    cancel: bool = False


class Reply(BaseModel):
    """Exactly one of `value`, `item`, `error`, `end`; all but `item` are the last for that id."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: int
    value: dict[str, Any] | None = None
    item: dict[str, Any] | None = None
    error: Problem | None = None
    end: bool = False


async def read_line(reader: asyncio.StreamReader) -> bytes | None:
    """One line without its end, None at the end of the stream.  Raises DecodeError beyond the reader's limit."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise DecodeError("a line of the socket is too long") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def parse(model: type[Line], line: bytes) -> Line:
    """Raises DecodeError."""
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        raise DecodeError(f"not a line of the socket: {error.error_count()} errors") from None


def line_of(value: dict[str, Any], limit: int) -> bytes:
    """Raises KithkinError `text_invalid` (lone surrogates) or `text_too_long`."""
    try:
        line = to_json(value)
    except PydanticSerializationError:
        raise KithkinError("text_invalid", "The text is not valid Unicode.") from None
    if len(line) >= limit:
        raise KithkinError("text_too_long", "That is too much for one call.")
    return line + b"\n"


@contextlib.contextmanager
def address(folder: Path) -> Iterator[str]:
    """A path under which the socket of that profile can be bound or reached now, however deep the folder lies."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield path
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FileNotFoundError(str(folder)) from error
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
