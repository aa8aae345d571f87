"""Protomux: many channels over the frames of one connection, as npm `protomux` has them.  Sans-IO, without timers.

`docs/protocol.md`, "Protomux".  Each side numbers its own channels and writes with its own numbers.  Two opens of one
(protocol, id) pair up in order; a channel is open once both were sent.  Messages of a channel that we have not opened
yet are parked.  Actions of the peer become events; a violation is a `Fault`, after which the connection has to be
closed and nothing more is read.

    mux.receive(frame) -> events        for every frame of the connection
    mux.open(...), send(...), close(...)
    mux.take_effects()                   after `open`, which may answer an offer
    mux.take_outgoing() -> frames       after any of these: the frames to send
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from identity.codec import Reader, Writer
from identity.errors import DecodeError

BATCH, OPEN, REJECT, CLOSE = range(4)  # types of the control channel, number 0
MAX_BATCH = 64 * 1024  # bytes of one batch that we write; the family reads up to 8 MB
MAX_NAME = 256  # bytes of a protocol name, and of an id
MAX_CHANNELS = 4096  # that one side may have open or offered at a time
MAX_PARKED = 512 * 1024  # bytes waiting for channels to be opened here
ITEM_COST = 16  # bytes that an item of a batch may take beside its content
PARKED_COST = 512  # bytes that a parked message counts beside its content

Name = tuple[str, bytes]  # (protocol, id); an empty id is "none"


@dataclass(frozen=True, slots=True)
class Offered:
    """The peer opened a channel of a protocol that `pair` was called for.  Answer with `open` or `refuse`."""

    protocol: str
    id: bytes
    handshake: bytes


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """Both sides have opened the channel; `channel` is our number of it."""

    channel: int
    protocol: str
    id: bytes
    handshake: bytes  # the peer's


@dataclass(frozen=True, slots=True)
class Message:
    """One message on an open channel; `channel` is our number of it."""

    channel: int
    type: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The peer closed the channel, or rejected it.  Its number may be used again from now on."""

    channel: int
    rejected: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """The peer broke the protocol: close the connection and say why."""

    reason: str


Event = Offered | ChannelOpened | Message | ChannelClosed | Fault


@dataclass(slots=True)
class Local:
    """A channel that we opened; `remote` is the peer's number of it, 0 until it is known."""

    name: Name
    remote: int = 0
    closed: bool = False  # by us before the peer answered: the number waits for that answer


@dataclass(slots=True)
class Remote:
    """A channel that the peer opened; `local` is our number of it, 0 while it is on offer."""

    name: Name
    handshake: bytes
    local: int = 0
    parked: list[tuple[int, bytes]] = field(default_factory=list)
    cost: int = 0  # bytes of the parking allowance that it takes


class Protomux:
    """One side of the channels of one connection.

    `limit`: bytes of the longest frame that we write, which the peer's cap has to admit.  `max_channels`: open or
    offered at a time by one side.  `max_parked`: bytes that wait for channels that we have not opened.  `fault`: the
    peer's violation, None while there is none.
    """

    def __init__(
        self, *, limit: int = 512 * 1024, max_channels: int = MAX_CHANNELS, max_parked: int = MAX_PARKED
    ) -> None:
        self.fault: Fault | None = None
        self._limit = limit
        self._max_channels = max_channels
        self._max_parked = max_parked
        self._locals: list[Local | None] = []  # [number - 1]
        self._free: list[int] = []
        self._resting: list[int] = []  # freed numbers of which somebody may still have to hear that they are closed
        self._remotes: list[Remote | None] = []  # [number - 1]
        self._remote_count = 0
        self._outgoing: dict[Name, deque[int]] = {}  # opened here, not yet there
        self._incoming: dict[Name, deque[int]] = {}  # opened there, not yet here
        self._pairs: set[tuple[str, bytes | None]] = set()
        self._parked = 0
        self._events: list[Event] = []
        self._queue: list[tuple[int, bytes]] = []  # (our number, type | body) in the order written

    @property
    def parked(self) -> int:
        """Bytes held for channels that we have not opened, with `PARKED_COST` for each message."""
        return self._parked

    # our actions

    def pair(self, protocol: str, id: bytes | None = None) -> None:
        """Offers of this protocol (of this id alone, if given) become `Offered` events instead of being rejected."""
        self._pairs.add((protocol, id))

    def unpair(self, protocol: str, id: bytes | None = None) -> None:
        """Ends `pair` with the same arguments."""
        self._pairs.discard((protocol, id))

    def open(self, protocol: str, id: bytes = b"", handshake: bytes = b"") -> int:
        """Opens a channel, or answers the oldest offer of that name; returns our number of it.

        Messages may be sent at once.  Where it answers an offer, `take_effects` has the opening and parked messages.
        Raises ValueError with too many channels open.
        """
        name = (protocol, id)
        if self._free:
            number = self._free.pop()
        elif len(self._locals) >= self._max_channels and self._resting:
            number = self._resting.pop()
        else:
            if len(self._locals) >= self._max_channels:
                raise ValueError("too many channels")
            self._locals.append(None)
            number = len(self._locals)
        channel = Local(name)
        self._locals[number - 1] = channel
        writer = Writer()
        writer.uint(OPEN).uint(number).string(protocol).buffer(id).raw(handshake)
        self._queue.append((0, writer.finish()))
        if name in self._incoming:
            remote_number = self._take_waiting(self._incoming, name)
            remote = self._remotes[remote_number - 1]
            if remote is not None:
                self._match(number, channel, remote_number, remote)
        else:
            self._outgoing.setdefault(name, deque()).append(number)
        return number

    def refuse(self, protocol: str, id: bytes = b"") -> None:
        """Rejects every offer of that name that we have not opened."""
        name = (protocol, id)
        while name in self._incoming:
            self._reject(self._take_waiting(self._incoming, name))

    def send(self, channel: int, type: int, body: bytes = b"") -> bool:
        """Queues a message; False if the channel is closed.  Raises ValueError above the frame limit."""
        local = self._local(channel)
        if local is None or local.closed:
            return False
        head = bytes((type,)) if type <= 0xFC else Writer().uint(type).finish()
        if len(body) + ITEM_COST > self._limit:
            raise ValueError("message is too long for a frame")
        self._queue.append((channel, head + body))
        return True

    def close(self, channel: int) -> None:
        """Closes our channel; it gives no more events.  May be called twice."""
        local = self._local(channel)
        if local is None or local.closed:
            return
        self._queue.append((0, Writer().uint(CLOSE).uint(channel).finish()))
        if local.remote:
            self._release(channel, local)
        else:
            local.closed = True

    def take_outgoing(self) -> list[bytes]:
        """The frames to send for all actions since the last call: a single message as it is, several as batches."""
        queue = self._queue
        if not queue:
            return []
        self._queue = []
        frames: list[bytes] = []
        start = 0
        while start < len(queue):
            stop, size = start + 1, len(queue[start][1])
            while stop < len(queue) and size + len(queue[stop][1]) <= min(MAX_BATCH, self._limit - 1024):
                size += len(queue[stop][1]) + ITEM_COST
                stop += 1
            frames.append(frame_of(queue[start:stop]))
            start = stop
        return frames

    # the peer's actions

    def receive(self, frame: bytes) -> list[Event]:
        """The events of a frame, after those that `open` left.  Nothing is read after a `Fault`.

        A number freed by this frame is given out again after the next one came, when its events were handled: what they
        say of the old channel must not be taken for the new one.
        """
        self._free += self._resting
        self._resting.clear()
        if self.fault is None and frame:
            try:
                first = frame[0]
                if 0 < first <= 0xFC and len(frame) > 1 and frame[1] <= 0xFC:
                    self._message(first, frame[1], frame[2:])  # nearly every frame
                else:
                    self._dispatch(Reader(frame, minimal=False), frame)
            except DecodeError as error:
                self.fault = Fault(str(error))
                self._events.append(self.fault)
        return self.take_effects()

    def take_effects(self) -> list[Event]:
        """The events since the last call: those of an `open` that answered an offer."""
        events, self._events = self._events, []
        return events

    def _dispatch(self, reader: Reader, frame: bytes) -> None:
        number = reader.uint()
        if number:
            self._message(number, reader.uint(), frame[reader.at :])
            return
        kind = reader.uint()
        if kind == BATCH:
            self._batch(reader)
        else:
            self._control(kind, reader)

    def _batch(self, reader: Reader) -> None:
        number = reader.uint()
        while reader.left:
            length = reader.uint()
            if not length:
                number = reader.uint()
                continue
            item = reader.fixed(length)
            fields = Reader(item, minimal=False)
            kind = fields.uint()
            if number:
                self._message(number, kind, item[fields.at :])
            elif kind == BATCH:
                raise DecodeError("a batch inside a batch")
            else:
                self._control(kind, fields)

    def _control(self, kind: int, reader: Reader) -> None:
        if kind == OPEN:
            self._on_open(reader.uint(), reader.string(MAX_NAME), reader.buffer(MAX_NAME), reader.rest())
        elif kind == REJECT:
            self._on_reject(reader.uint())
        elif kind == CLOSE:
            self._on_close(reader.uint())
        # other kinds belong to later versions and are ignored

    def _message(self, number: int, type: int, body: bytes) -> None:
        remote = self._remotes[number - 1] if number <= len(self._remotes) else None
        if remote is None:
            return  # sent before our close arrived there
        if remote.local:
            self._events.append(Message(remote.local, type, body))
            return
        self._park(remote, len(body))
        remote.parked.append((type, body))

    def _on_open(self, number: int, protocol: str, id: bytes, handshake: bytes) -> None:
        if number == 0:
            return  # the control channel is always open; a declaration of it may mean something one day
        if number > len(self._remotes) + 1 or (number <= len(self._remotes) and self._remotes[number - 1]):
            raise DecodeError("opens a channel number that is not free")
        if self._remote_count >= self._max_channels:
            raise DecodeError("opens too many channels")
        if number > len(self._remotes):
            self._remotes.append(None)
        name = (protocol, id)
        if name in self._outgoing:
            local_number = self._take_waiting(self._outgoing, name)
            local = self._local(local_number)
            if local is not None and local.closed:
                self._forget(local_number)  # we closed it meanwhile: their open is the answer it waited for
            elif local is not None:
                self._match(local_number, local, number, self._hold(number, Remote(name, handshake)))
            return
        remote = self._hold(number, Remote(name, handshake))
        self._incoming.setdefault(name, deque()).append(number)
        self._park(remote, len(handshake))
        if (protocol, id) in self._pairs or (protocol, None) in self._pairs:
            self._events.append(Offered(protocol, id, handshake))
        else:
            self.refuse(protocol, id)

    def _on_reject(self, number: int) -> None:
        local = self._local(number)
        if local is None or local.remote:
            raise DecodeError("rejects what was not offered")
        waiting = self._outgoing[local.name]
        waiting.remove(number)
        if not waiting:
            del self._outgoing[local.name]
        closed = local.closed
        self._forget(number)
        if not closed:
            self._events.append(ChannelClosed(number, True))

    def _on_close(self, number: int) -> None:
        remote = self._remotes[number - 1] if 0 < number <= len(self._remotes) else None
        if remote is None:
            return
        if remote.local:
            local = self._local(remote.local)
            if local is not None:
                self._events.append(ChannelClosed(remote.local, False))
                self._release(remote.local, local)
        else:
            # closed while still on offer: it is answered all the same, since the peer's number waits for that
            waiting = self._incoming[remote.name]
            waiting.remove(number)
            if not waiting:
                del self._incoming[remote.name]
            self._reject(number)

    # the tables

    def _local(self, number: int) -> Local | None:
        return self._locals[number - 1] if 0 < number <= len(self._locals) else None

    def _match(self, number: int, local: Local, remote_number: int, remote: Remote) -> None:
        local.remote, remote.local = remote_number, number
        self._events.append(ChannelOpened(number, *local.name, remote.handshake))
        self._events.extend(Message(number, type, body) for type, body in remote.parked)
        self._unpark(remote)

    def _release(self, number: int, local: Local) -> None:
        """Both sides had opened it: a close of either side frees both numbers."""
        self._drop(local.remote)
        self._forget(number)

    def _forget(self, number: int) -> None:
        self._locals[number - 1] = None
        self._resting.append(number)

    def _hold(self, number: int, remote: Remote) -> Remote:
        self._remotes[number - 1] = remote
        self._remote_count += 1
        return remote

    def _drop(self, number: int) -> None:
        self._remotes[number - 1] = None
        self._remote_count -= 1

    def _reject(self, number: int) -> None:
        remote = self._remotes[number - 1]
        if remote is not None:
            self._unpark(remote)
            self._drop(number)
        self._queue.append((0, Writer().uint(REJECT).uint(number).finish()))

    def _park(self, remote: Remote, size: int) -> None:
        remote.cost += size + PARKED_COST
        self._parked += size + PARKED_COST
        if self._parked > self._max_parked:
            raise DecodeError("sends too much to channels that are not open")

    def _unpark(self, remote: Remote) -> None:
        self._parked -= remote.cost
        remote.cost = 0
        remote.parked = []
        remote.handshake = b""

    @staticmethod
    def _take_waiting(waiting: dict[Name, deque[int]], name: Name) -> int:
        numbers = waiting[name]
        number = numbers.popleft()
        if not numbers:
            del waiting[name]
        return number


def frame_of(items: list[tuple[int, bytes]]) -> bytes:
    """One message as a plain frame, several as a batch."""
    if len(items) == 1:
        number, body = items[0]
        return (bytes((number,)) if number <= 0xFC else Writer().uint(number).finish()) + body
    writer = Writer()
    current = items[0][0]
    writer.raw(bytes((0, BATCH))).uint(current)
    for number, body in items:
        if number != current:
            writer.uint(0).uint(number)
            current = number
        writer.buffer(body)
    return writer.finish()
