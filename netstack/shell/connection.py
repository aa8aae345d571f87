"""One open connection as an application holds it: frames out, frames in, an end.

Everything runs in the event loop that the host was started in.  Frames come to `on_frames` in batches, whole and in
order; until it is set, and for whoever reads with `receive` instead, they wait here and the peer is slowed down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from netstack.events import Opened, PathKind, Reason
from netstack.udp.port import Address

OnFrames = Callable[[Sequence[bytes]], None]
FRAME_COST = 64  # what a waiting frame takes beside its bytes, so that tiny ones count too


class Port(Protocol):
    """What a connection needs of its host."""

    def send(self, conn: int, frame: bytes) -> bool: ...
    def end(self, conn: int) -> None: ...
    def close(self, conn: int) -> None: ...
    def abort(self, conn: int, reason: Reason, detail: str) -> None: ...
    def hold(self, conn: int, size: int) -> None: ...
    def queued(self, conn: int) -> int: ...
    def path(self, conn: int) -> PathKind: ...
    def rtt(self, conn: int) -> float: ...


class Connection:
    """`half_open` False: when the peer has ended and its frames are taken, we end too."""

    def __init__(self, port: Port, opened: Opened) -> None:
        self.id = opened.conn
        self.remote_key = opened.remote_key
        self.local_key = opened.local_key
        self.handshake_hash = opened.handshake_hash
        self.initiator = opened.initiator
        self.address: Address = opened.address
        self.half_open = False
        self.reason: Reason | None = None  # set once it is closed
        self.detail = ""
        self.ended = False  # the peer will send nothing more
        self.on_close: Callable[[Reason], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._port = port
        self._on_frames: OnFrames | None = None
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._room = True
        self._change = asyncio.Event()  # replaced at every use: wakes whoever waits for anything
        self._done = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self.reason is not None

    @property
    def on_frames(self) -> OnFrames | None:
        return self._on_frames

    @on_frames.setter
    def on_frames(self, callback: OnFrames | None) -> None:
        self._on_frames = callback
        if callback is not None and self._waiting:
            frames = list(self._waiting)
            self._waiting.clear()
            self._hold(0)
            callback(frames)

    def send(self, frame: bytes) -> bool:
        """Queues one frame.  False: `drain` before sending much more; after the end it is dropped.

        Frames sent in one turn of the event loop share datagrams.  Raises ValueError above 16 MiB.
        """
        if self.closed:
            return False
        room = self._port.send(self.id, frame)
        if not room:
            self._room = False
        return room

    async def drain(self) -> None:
        """Until there is room to send.  Raises ConnectionResetError once the connection is closed."""
        while not self._room and not self.closed:
            await self._changed()
        if self.closed:
            raise ConnectionResetError(f"the connection is closed: {self.reason}")

    async def receive(self) -> bytes | None:
        """The next frame, None after the last.  Not together with `on_frames`."""
        while not self._waiting:
            if self.ended or self.closed:
                self._end_too()
                return None
            await self._changed()
        frame = self._waiting.popleft()
        self._hold(self._held - len(frame) - FRAME_COST)
        return frame

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._frames()

    async def _frames(self) -> AsyncIterator[bytes]:
        while (frame := await self.receive()) is not None:
            yield frame

    @property
    def queued(self) -> int:
        """Bytes sent and not acknowledged yet."""
        return self._port.queued(self.id)

    @property
    def path(self) -> PathKind:
        """What lies between us: a relayed connection may become a direct one."""
        return self._port.path(self.id)

    @property
    def rtt(self) -> float:
        """Smoothed round trip in seconds, 0.0 before the first."""
        return self._port.rtt(self.id)

    def end(self) -> None:
        """We send nothing more; the peer's frames still come."""
        self._port.end(self.id)

    def close(self) -> None:
        """Delivers what was sent, takes nothing more."""
        self._port.close(self.id)

    def abort(self, detail: str = "", reason: Reason = Reason.PROTOCOL) -> None:
        """Over at once: the peer broke the rules of the layer above, which `detail` says."""
        self._port.abort(self.id, reason, detail)

    async def wait_closed(self) -> Reason:
        await self._done.wait()
        return self.reason or Reason.CLOSED

    # for the host

    def deliver(self, frames: list[bytes]) -> None:
        if self._on_frames is not None:
            self._on_frames(frames)
            return
        self._waiting.extend(frames)
        self._hold(self._held + sum(map(len, frames)) + FRAME_COST * len(frames))
        self._wake()

    def writable(self) -> None:
        self._room = True
        self._wake()

    def peer_ended(self) -> None:
        self.ended = True
        self._wake()
        if self.on_end is not None:
            self.on_end()
        if not self._waiting:
            self._end_too()

    def over(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        self._done.set()
        self._wake()
        if self.on_close is not None:
            self.on_close(reason)

    # inner

    def _end_too(self) -> None:
        if not self.half_open and not self.closed:
            self.end()

    def _hold(self, size: int) -> None:
        self._held = size
        if not self.closed:
            self._port.hold(self.id, size)

    def _wake(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def _changed(self) -> None:
        await self._change.wait()
