"""One open connection as an application holds it: it sends frames, receives frames, and ends.

Everything runs in the event loop in which the host was started.  Frames go to `on_frames` in batches, whole and in
order.  Until it is set, and for a reader that uses `receive` instead, they wait here and flow control slows the peer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from netstack.events import Opened, PathKind, Reason
from netstack.udp.port import Address

OnFrames = Callable[[Sequence[bytes]], None]
FRAME_COST = 64  # bytes that a waiting frame counts beside its content, so that tiny ones count too


class ConnectionHost(Protocol):
    """The part of a host that a connection uses; `conn` is the host's number of it."""

    def send(self, conn: int, frame: bytes) -> bool:
        """See `Connection.send`."""
        ...

    def end(self, conn: int) -> None:
        """See `Connection.end`."""
        ...

    def close(self, conn: int) -> None:
        """See `Connection.close`."""
        ...

    def abort(self, conn: int, reason: Reason, detail: str) -> None:
        """See `Connection.abort`."""
        ...

    def hold(self, conn: int, size: int) -> None:
        """The application has not read `size` bytes of frames yet: flow control counts them."""
        ...

    def queued(self, conn: int) -> int:
        """See `Connection.queued`."""
        ...

    def path(self, conn: int) -> PathKind:
        """See `Connection.path`."""
        ...

    def rtt(self, conn: int) -> float:
        """See `Connection.rtt`."""
        ...


class Connection:
    """An encrypted connection to the holder of `remote_key`, made by `Host.connect`, a host's callback or a swarm.

    `remote_key`, `local_key`: public keys, both proved.  `handshake_hash`: 64 bytes that bind a protocol above to this
    connection.  `initiator`: whether we dialled.  `address`: where the peer is at present.  `half_open`: set it True to
    go on sending after the peer has ended; else we end when its last frame is read.  `ended`: the peer sends nothing
    more.  `reason`, `detail`: why the connection is closed, None and "" before.  `on_end()` and `on_close(reason)` are
    called once, if set.  `id`: its number at the host.
    """

    def __init__(self, host: ConnectionHost, opened: Opened) -> None:
        self.id = opened.conn
        self.remote_key = opened.remote_key
        self.local_key = opened.local_key
        self.handshake_hash = opened.handshake_hash
        self.initiator = opened.initiator
        self.address: Address = opened.address
        self.half_open = False
        self.reason: Reason | None = None  # set when it closes
        self.detail = ""
        self.ended = False  # the peer will send nothing more
        self.on_close: Callable[[Reason], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._host = host
        self._on_frames: OnFrames | None = None
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._room = True
        self._change = asyncio.Event()  # replaced at every use: wakes every waiting coroutine
        self._done = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the connection is over, in both directions."""
        return self.reason is not None

    @property
    def on_frames(self) -> OnFrames | None:
        """A callback for batches of frames; setting it delivers what waits.  Not together with `receive`."""
        return self._on_frames

    @on_frames.setter
    def on_frames(self, callback: OnFrames | None) -> None:
        """Sets the callback and delivers the frames that wait."""
        self._on_frames = callback
        if callback is not None and self._waiting:
            frames = list(self._waiting)
            self._waiting.clear()
            self._hold(0)
            callback(frames)

    def send(self, frame: bytes) -> bool:
        """Queues one frame.  False: `drain` before sending much more, or the connection is closed and drops it.

        Frames sent in one iteration of the event loop share datagrams.  Raises ValueError above 16 MiB.
        """
        if self.closed:
            return False
        room = self._host.send(self.id, frame)
        if not room:
            self._room = False
        return room

    async def drain(self) -> None:
        """Waits until there is room to send.  Raises ConnectionResetError once the connection is closed."""
        while not self._room and not self.closed:
            await self._changed()
        if self.closed:
            raise ConnectionResetError(f"the connection is closed: {self.reason}")

    async def receive(self) -> bytes | None:
        """Waits for the next frame; None after the last.  Not together with `on_frames`."""
        while not self._waiting:
            if self.ended or self.closed:
                self._end_too()
                return None
            await self._changed()
        frame = self._waiting.popleft()
        self._hold(self._held - len(frame) - FRAME_COST)
        return frame

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The frames that `receive` would return, until the last."""
        return self._frames()

    async def _frames(self) -> AsyncIterator[bytes]:
        while (frame := await self.receive()) is not None:
            yield frame

    @property
    def unread(self) -> int:
        """Frames received and not read yet; flow control slows the peer while there are many."""
        return len(self._waiting)

    @property
    def queued(self) -> int:
        """Bytes sent and not acknowledged yet."""
        return self._host.queued(self.id)

    @property
    def path(self) -> PathKind:
        """How the peer is reached at present: a relayed connection may become a direct one."""
        return self._host.path(self.id)

    @property
    def rtt(self) -> float:
        """Smoothed round-trip time in seconds, 0.0 before the first sample."""
        return self._host.rtt(self.id)

    def end(self) -> None:
        """Ends our direction after what was sent; frames of the peer still arrive."""
        self._host.end(self.id)

    def close(self) -> None:
        """Delivers what was sent, reads nothing more, then closes."""
        self._host.close(self.id)

    def abort(self, detail: str = "", reason: Reason = Reason.PROTOCOL) -> None:
        """Closes at once and drops what is queued.  `detail`: the rule of the layer above that the peer broke."""
        self._host.abort(self.id, reason, detail)

    async def wait_closed(self) -> Reason:
        """Waits until the connection is closed; returns why."""
        await self._done.wait()
        return self.reason or Reason.CLOSED

    # for the host

    def deliver(self, frames: list[bytes]) -> None:
        """Frames arrived."""
        if self._on_frames is not None:
            self._on_frames(frames)
            return
        self._waiting.extend(frames)
        self._hold(self._held + sum(map(len, frames)) + FRAME_COST * len(frames))
        self._wake()

    def writable(self) -> None:
        """There is room to send again."""
        self._room = True
        self._wake()

    def peer_ended(self) -> None:
        """The peer's direction ended."""
        self.ended = True
        self._wake()
        if self.on_end is not None:
            self.on_end()
        if not self._waiting:
            self._end_too()

    def over(self, reason: Reason, detail: str) -> None:
        """The connection is closed."""
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
            self._host.hold(self.id, size)

    def _wake(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def _changed(self) -> None:
        await self._change.wait()
