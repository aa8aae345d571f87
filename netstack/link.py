"""One connection: a UDX stream, the secret stream in it, and what keeps both alive.  Without I/O.

`docs/protocol.md`, "Connections".  The endpoint finds the peer and agrees on keys; from there on a link turns bytes
into frames and frames into bytes, sends a keep-alive every few seconds, and notices a peer that is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from math import inf

from identity.errors import DecodeError
from identity.keys import Random
from netstack.events import Closed, Ended, Event, Failed, Frame, Moved, Opened, PathKind, Reason, Writable
from netstack.limits import Limits
from netstack.udp.port import Address
from netstack.udx import events as udx
from netstack.udx.stream import UdxStream
from netstack.wire.handshake import Agreement
from netstack.wire.secret_stream import SecretStream

PROBE_TIME = 4.0  # seconds in which a peer in doubt has to acknowledge something
EARLY = 64 * 1024  # bytes that may arrive before the handshake's answer does, or before we have a path to the peer


class Phase(Enum):
    """How far a connection has come."""

    DIALING = auto()  # no keys yet
    WAITING = auto()  # keys agreed; no path to the peer yet
    OPENING = auto()  # a path; the peer's first frame has not come
    OPEN = auto()
    CLOSING = auto()  # we want no more of it; what was written is still being delivered
    GONE = auto()  # reported as closed; the stream may still repeat its end


TOO_LATE = {
    Phase.DIALING: Reason.NO_ANSWER,
    Phase.WAITING: Reason.NO_PATH,
    Phase.OPENING: Reason.NO_PATH,
    Phase.CLOSING: Reason.CLOSED,
}
UDX_REASONS = {
    udx.CloseReason.ENDED: Reason.ENDED,
    udx.CloseReason.DESTROYED: Reason.CLOSED,
    udx.CloseReason.RESET: Reason.RESET,
    udx.CloseReason.TIMED_OUT: Reason.TIMED_OUT,
}


class Link:
    """`id` names it towards the owner, `stream.local_id` towards the peer."""

    __slots__ = (
        "_chunks",
        "_deadline",
        "_ended",
        "_events",
        "_heard",
        "_held",
        "_limits",
        "_opened",
        "_peer_ended",
        "_probe",
        "_said",
        "_secret",
        "agreement",
        "id",
        "on_confirmed",
        "own_port",
        "path",
        "phase",
        "scheduled",
        "stray",
        "stream",
    )

    def __init__(self, id: int, stream: UdxStream, limits: Limits, now: float) -> None:
        self.id = id
        self.stream = stream
        self.phase = Phase.DIALING
        self.agreement: Agreement | None = None
        self.path = PathKind.DIRECT
        self.own_port: int | None = None  # a port that is nobody else's, to be closed with the link
        self.on_confirmed: Callable[[], None] | None = None  # the peer has shown that it goes the new way too
        self.stray: tuple[Address, int] | None = None  # where packets came from that are not at the peer's address
        self.scheduled = inf  # when the endpoint will wake it; the endpoint's own
        self._limits = limits
        self._secret: SecretStream | None = None
        self._events: list[Event] = []
        self._chunks: list[bytes] = []
        self._held = 0
        self._ended = False  # on our side
        self._probe: tuple[float, int] | None = None  # until when, and what had been acknowledged before
        self._opened = False  # it was told as such
        self._peer_ended = False
        self._heard = self._said = now
        self._deadline = now + limits.connect

    # for the owner

    def agree(self, agreement: Agreement, rng: Random) -> None:
        """The handshake is done; a path has to be found, or is taken next."""
        self.agreement = agreement
        self._secret = SecretStream(
            initiator=agreement.initiator,
            handshake_hash=agreement.hash,
            keys=agreement.keys,
            rng=rng,
            cap=self._limits.frame,
        )
        self.phase = Phase.WAITING

    def take(self, remote_id: int, address: Address, port: int, path: PathKind, now: float) -> None:
        """There is a path: sends the opening of the secret stream from our `port` to `address`."""
        if self.phase is not Phase.WAITING or self._secret is None or self.agreement is None:
            return
        self.phase = Phase.OPENING
        self.path = path
        self._deadline = max(self._deadline, now + self._limits.connect)
        self.stream.port = port
        self.stream.connect(remote_id, address, now)
        self.stream.write(self._secret.opening)
        if self.agreement.initiator:
            # an empty frame proves that we hold the keys, which the opening, made of the public transcript, does not
            self.stream.write(self._secret.seal(b""))
        self._said = now

    def move(self, remote_id: int, address: Address, port: int, path: PathKind, now: float) -> None:
        """A better path: everything from now on goes there.  The empty message shows it to the peer."""
        if self.phase not in (Phase.OPENING, Phase.OPEN):
            return
        self.path = path
        self.stream.change_remote(address, now, remote_id, port)
        self.stream.send_message(b"")
        if self.phase is Phase.OPEN:
            self._events.append(Moved(self.id, address, path))

    def patient(self, until: float) -> None:
        """Whoever looks for a path takes longer than a direct handshake does."""
        self._deadline = max(self._deadline, until)

    def send(self, frame: bytes, now: float) -> bool:
        """False: above the high-water mark (`Writable` follows), or ended or not open: then the frame is dropped."""
        if self.phase not in (Phase.OPENING, Phase.OPEN) or self._secret is None or self._ended:
            return False
        self._said = now
        room = self.stream.write(self._secret.seal(frame))
        if not room and self.stream.queued > self._limits.buffer:
            self.abort(Reason.UNREAD)
        return room

    def end(self) -> None:
        """Our side will send nothing more; the peer's frames still come."""
        if self.phase in (Phase.OPENING, Phase.OPEN):
            self._ended = True
            self.stream.end()

    def close(self, now: float) -> None:
        """Delivers what was written, takes nothing more, and is over after `linger` at the latest."""
        if self.phase is Phase.OPEN:
            self.phase = Phase.CLOSING
            self._deadline = now + self._limits.linger
            self._ended = True
            self.stream.end()
            self.stream.set_buffered(0)
        elif self.phase in (Phase.DIALING, Phase.WAITING, Phase.OPENING):
            self.abort(Reason.CLOSED)

    def abort(self, reason: Reason, detail: str = "") -> None:
        """Over at once; the peer is told so once."""
        if self.phase is Phase.GONE:
            return
        self._over(reason, detail)
        self.stream.destroy()

    def hold(self, size: int, now: float) -> None:
        """How many bytes of frames the owner has not dealt with: the peer is slowed down by as much."""
        if self._held and not size:
            self._heard = now  # the silence until now was of our own making
        self._held = size
        self.stream.set_buffered(size)

    def probe_liveness(self, now: float) -> None:
        """Our router seems to have forgotten us: says something, and is over soon if nothing of it is acknowledged.

        Where the peer is open it hears us from our new place and answers there (`stray`); where its own router lets
        nobody in whom it did not speak to, nothing will ever pass again, and a new connection is the cure.
        """
        if self.phase is not Phase.OPEN or self._probe is not None or self._ended:
            return
        if self._secret is not None and not self.stream.queued:
            self.stream.write(self._secret.seal(b""))
            self._said = now
        self._probe = now + PROBE_TIME, self.stream.flight.delivered

    # for the endpoint

    @property
    def half_open(self) -> bool:
        """Answered, and the dialler has not shown itself yet."""
        waits = self.phase in (Phase.WAITING, Phase.OPENING)
        return waits and self.agreement is not None and not self.agreement.initiator

    @property
    def finished(self) -> bool:
        """Whether nothing of it is left to be sent, so that it can be forgotten."""
        # a dialler that never showed itself is told once and forgotten, acknowledged or not
        return self.phase is Phase.GONE and (self.stream.finished or not self._opened)

    def absorb(self, now: float) -> list[Event]:
        """What the stream brought since the last call, as events."""
        ended = False
        over: udx.CloseReason | None = None
        if pieces := self.stream.take_pieces():
            self._chunks += pieces
            self._heard = now
        for event in self.stream.take_effects():
            match event:
                case udx.End():
                    ended = True
                case udx.Drained():
                    if self.phase is Phase.OPEN:
                        self._events.append(Writable(self.id))
                case udx.Message() if self.on_confirmed is not None:
                    self.on_confirmed()
                case udx.Closed(reason):
                    over = reason
                case _:
                    pass
        stray, self.stray = self.stray, None
        if self._chunks and self.phase is not Phase.GONE and self._decode() and stray is not None:
            self._roam(*stray)
        if ended:
            self._on_end()
        if over is not None:
            self._on_closed(over)
        events, self._events = self._events, []
        return events

    def wake(self, now: float) -> None:
        """What is due: repetitions, a keep-alive, or the end of our patience."""
        self.stream.wake(now)
        if self.phase is Phase.OPEN:
            if now >= self._dead_at() or self._probe_failed(now):
                self.abort(Reason.SILENT)
            elif now >= self._keepalive_at():
                if self._secret is not None and not self._ended and not self.stream.queued:
                    self.stream.write(self._secret.seal(b""))
                self._said = now
        elif self.phase in TOO_LATE and now >= self._deadline:
            self.abort(TOO_LATE[self.phase])

    def next_wake(self) -> float:
        """When `wake` is to be called (s), infinity for never."""
        at = self.stream.next_wake()
        if self.phase is Phase.OPEN:
            return min(at, self._keepalive_at(), self._dead_at(), self._probe[0] if self._probe else inf)
        return at if self.phase is Phase.GONE else min(at, self._deadline)

    # inner

    def _dead_at(self) -> float:
        # who has ended says nothing more, and who is held back cannot: then only the stream's own timeouts speak
        return inf if self._held or self._peer_ended else self._heard + self._limits.dead

    def _probe_failed(self, now: float) -> bool:
        """Whether the time to show a sign of life is over, and there was none."""
        if self._probe is None or now < self._probe[0]:
            return False
        before, self._probe = self._probe[1], None
        return self.stream.queued > 0 and self.stream.flight.delivered == before

    def _keepalive_at(self) -> float:
        return self._said + self._limits.keepalive

    def _decode(self) -> bool:
        """Whether a frame came that the peer alone can have sealed."""
        secret = self._secret
        if secret is None or self.phase is Phase.WAITING:  # a relay may be faster with the peer's packets than its word
            if sum(map(len, self._chunks)) > EARLY:
                self.abort(Reason.BAD_FRAME)
            return False
        chunks, self._chunks = self._chunks, []
        if self.phase is Phase.CLOSING:
            return False
        try:
            frames = secret.receive(chunks)
        except DecodeError as error:
            self.abort(Reason.BAD_FRAME, str(error))
            return False
        if self.phase is Phase.OPENING and secret.opened:
            self._open()
            if self.path is PathKind.RELAYED:
                self.stream.probe_now()
        id = self.id
        self._events.extend([Frame(id, frame) for frame in frames if frame])
        return bool(frames)

    def _roam(self, address: Address, port: int) -> None:
        """The peer's router has put it elsewhere; what it sealed comes from there, so our answers go there."""
        if self.phase is Phase.OPEN:
            self.stream.follow(address, port)
            self._events.append(Moved(self.id, address, self.path))

    def _open(self) -> None:
        agreement = self.agreement
        if agreement is None or self.stream.remote is None:
            return
        self.phase = Phase.OPEN
        self._opened = True
        self._events.append(
            Opened(
                self.id,
                agreement.initiator,
                agreement.local_key,
                agreement.remote_key,
                agreement.hash,
                self.stream.remote,
                self.path,
            )
        )

    def _on_end(self) -> None:
        self._peer_ended = True
        if self.phase is Phase.OPEN:
            if self._secret is not None and self._secret.buffered:
                self.abort(Reason.BAD_FRAME, "the stream ends inside a frame")
            else:
                self._events.append(Ended(self.id))
        elif self.phase in (Phase.DIALING, Phase.WAITING, Phase.OPENING):
            self.abort(Reason.RESET)

    def _on_closed(self, reason: udx.CloseReason) -> None:
        if self.phase is not Phase.GONE:
            self._over(UDX_REASONS[reason])

    def _over(self, reason: Reason, detail: str = "") -> None:
        if self.phase in (Phase.OPEN, Phase.CLOSING):
            self._events.append(Closed(self.id, reason, detail))
        elif not self.half_open:  # a dialler that never showed itself was not told of
            self._events.append(Failed(self.id, reason))
        self.phase = Phase.GONE
        self._chunks.clear()
