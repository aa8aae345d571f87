"""The lines of the local socket: which exist, how long they may be, where the socket lies.

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
from collections.abc import Iterator
from pathlib import Path

from identity.errors import DecodeError
from identity.paths import library_path

VERSION = 1
SOCKET = "node.sock"
MAX_REQUEST = 1024 * 1024
MAX_REPLY = 64 * 1024 * 1024
_MAX_ADDRESS = 100
"""sockaddr_un holds 108 bytes on Linux and 104 elsewhere."""


async def read_line(reader: asyncio.StreamReader) -> bytes | None:
    """One line without its end, None at the end of the stream.  Raises DecodeError beyond the reader's limit."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise DecodeError("a line of the socket is too long") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


@contextlib.contextmanager
def address(folder: Path) -> Iterator[str]:
    """A path under which the socket of that profile can be bound or reached now, however deep the folder lies."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(library_path(folder / SOCKET, limit=_MAX_ADDRESS))
        except OSError as error:
            raise FileNotFoundError(str(folder)) from error
        yield path
