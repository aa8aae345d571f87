"""What every shell around an engine does, without I/O: feed it, tick it, and perform what it asks for, in its order.

    something happened -> Driver.opened / frames / closed / ... -> core -> tick (commit) -> take_effects -> Port

The node in its event loop, the shell that links a new device, and the simulated device are three ports behind this one
driver, so the simulator runs the production shell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from identity.errors import KithkinError
from sync.engine.effects import (
    ChatChanged,
    CodeShown,
    CodeWanted,
    CodeWrong,
    ContactChanged,
    ContactMet,
    DeliveryChanged,
    DeviceChanged,
    DeviceLinked,
    Dial,
    Disconnect,
    Effect,
    Event,
    JoinTopic,
    LeaveTopic,
    ListChanged,
    Listen,
    MessageChanged,
    MessageHidden,
    NamesChanged,
    OnboardingFailed,
    OnboardingStep,
    PeerChanged,
    Progress,
    PutRecord,
    ReceiptsChanged,
    SeekRecord,
    Transmit,
    Unlisten,
)
from sync.engine.inputs import ConnectionUp, FoundKey


class Core(Protocol):
    """The engine of a profile, or the one that links a new device.  `now` is Unix time in seconds."""

    def opened(self, connection: ConnectionUp, now: float) -> None:
        """A connection is up."""
        ...

    def frames(self, arrived: Iterable[tuple[int, bytes]], now: float) -> None:
        """Frames that came, in order, each with its connection."""
        ...

    def closed(self, conn: int, now: float) -> None:
        """A connection is gone.  Said once of each."""
        ...

    def failed(self, attempt: int, now: float) -> None:
        """A `Dial` came to nothing."""
        ...

    def found(self, found: FoundKey, now: float) -> None:
        """A transport key stands at one of our topics."""
        ...

    def sought(self, public: bytes, value: bytes, now: float) -> None:
        """A record that was asked for was found in the DHT."""
        ...

    def wake(self, now: float) -> None:
        """The time of `next_wake` has come."""
        ...

    def tick(self, now: float) -> None:
        """Commits what was done and does what follows.  Raises KithkinError where the store refuses."""
        ...

    def take_effects(self) -> list[Effect]:
        """What is to be performed now, in order."""
        ...

    def next_wake(self) -> float:
        """Unix seconds at which `wake` is due; infinity for never."""
        ...


class Port(Protocol):
    """What a shell can do.  Connections are named by the shell's own numbers."""

    def transmit(self, conn: int, frame: bytes) -> None:
        """Sends a frame on an open connection."""
        ...

    def disconnect(self, conn: int, reason: str) -> None:
        """Ends an open connection; what was sent on it before still goes out."""
        ...

    def dial(self, dial: Dial) -> None:
        """Begins to connect.  Ends in `Driver.opened` or `Driver.failed` with its attempt."""
        ...

    def listen(self, listen: Listen) -> None:
        """Answers handshakes for a key."""
        ...

    def unlisten(self, public: bytes) -> None:
        """Answers for this key no more."""
        ...

    def join_topic(self, join: JoinTopic) -> None:
        """Is at a topic, and reports whom it finds there to `Driver.found`."""
        ...

    def leave_topic(self, topic: bytes) -> None:
        """Is at this topic no more."""
        ...

    def put_record(self, put: PutRecord) -> None:
        """Stores a value in the DHT."""
        ...

    def seek_record(self, public: bytes) -> None:
        """Looks for a value in the DHT, and reports it to `Driver.sought`."""
        ...

    def advance(self, step: OnboardingStep) -> None:
        """A pairing or an invite moved on."""
        ...

    def tell(self, event: Event) -> None:
        """Tells whoever watches this profile."""
        ...

    def refused(self, error: KithkinError) -> None:
        """The store refused a tick that nobody waits for."""
        ...

    def ticked(self) -> None:
        """A tick and everything that it asked for is done: time to send, and to set the timer anew."""
        ...


C = TypeVar("C", bound=Core)


class Driver(Generic[C]):
    """One core behind one port.  clock: Unix time in seconds.

    A port may call back into its driver: what it reports during a tick is taken in after it, in order.
    """

    def __init__(self, core: C, port: Port, clock: Callable[[], float]) -> None:
        self.core = core
        self.open: set[int] = set()  # connections that the core knows of
        self._port = port
        self._clock = clock
        self._ticking = False
        self._later: deque[Callable[[], None]] = deque()  # what happened during a tick
        self._left: deque[Effect] = deque()  # not performed yet

    # -- what happened ----------------------------------------------------------------------------------------

    def opened(self, connection: ConnectionUp) -> None:
        """A connection is up."""

        def take() -> None:
            self.open.add(connection.conn)
            self.core.opened(connection, self._clock())

        self._happened(take)

    def frames(self, conn: int, frames: Sequence[bytes]) -> None:
        """Frames came on a connection, in order."""
        if not self._ticking and conn not in self.open:
            return

        def take() -> None:
            if conn in self.open:
                self.core.frames([(conn, frame) for frame in frames], self._clock())

        self._happened(take)

    def closed(self, conn: int) -> None:
        """A connection is gone, whoever ended it; the core hears of it once."""
        if self._ticking or conn in self.open:

            def take() -> None:
                self._gone(conn)

            self._happened(take)

    def failed(self, attempt: int) -> None:
        """A dial came to nothing."""
        self._happened(lambda: self.core.failed(attempt, self._clock()))

    def found(self, found: Iterable[FoundKey]) -> None:
        """Keys stand at our topics."""
        keys = list(found)

        def take() -> None:
            now = self._clock()
            for one in keys:
                self.core.found(one, now)

        self._happened(take)

    def sought(self, public: bytes, value: bytes) -> None:
        """A record that was asked for was found."""
        self._happened(lambda: self.core.sought(public, value, self._clock()))

    def wake(self) -> None:
        """The time of `next_wake` has come."""
        self._happened(lambda: self.core.wake(self._clock()))

    def _happened(self, take: Callable[[], None]) -> None:
        if self._ticking:
            self._later.append(take)
        else:
            take()
            self.tick_quietly()

    # -- what follows -----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Commits what was done to the core and performs what follows.  Raises KithkinError where the store refuses,
        after what remained to be done was done.

        Goes on until no connection was ended: what a lost connection brings about (frames for others, the next dial)
        is not left until something else happens.
        """
        if self._ticking:
            return  # asked for by the port itself: the tick under way goes on
        now, refused, lost = self._clock(), None, True
        self._ticking = True
        try:
            while lost:
                try:
                    self.core.tick(now)
                except KithkinError as error:
                    refused = refused or error
                self._left += self.core.take_effects()
                lost = self._perform()
        finally:
            try:
                self._port.ticked()
            finally:
                self._ticking = False
        while self._later:
            self._happened(self._later.popleft())
        if refused is not None:
            raise refused

    def tick_quietly(self) -> None:
        """A tick that nobody waits for: a full disk is told at the next command, and tried again meanwhile."""
        try:
            self.tick()
        except KithkinError as error:
            self._port.refused(error)

    def _perform(self) -> bool:
        """Performs effects in their order; whether that ended a connection, of which the core now knows.  Where the
        port fails at one, the others are performed with the next tick."""
        lost = False
        while self._left:
            effect = self._left.popleft()
            match effect:
                case Transmit(conn, frame):
                    if conn in self.open:
                        self._port.transmit(conn, frame)
                case Disconnect(conn, reason):
                    if conn in self.open:
                        self._port.disconnect(conn, reason)
                        lost |= self._gone(conn)
                case Dial():
                    self._port.dial(effect)
                case Listen():
                    self._port.listen(effect)
                case Unlisten(public):
                    self._port.unlisten(public)
                case JoinTopic():
                    self._port.join_topic(effect)
                case LeaveTopic(topic):
                    self._port.leave_topic(topic)
                case PutRecord():
                    self._port.put_record(effect)
                case SeekRecord(public):
                    self._port.seek_record(public)
                case CodeShown() | CodeWanted() | CodeWrong() | DeviceLinked() | ContactMet() | OnboardingFailed():
                    self._port.advance(effect)
                case (
                    MessageChanged()
                    | MessageHidden()
                    | DeliveryChanged()
                    | ReceiptsChanged()
                    | NamesChanged()
                    | ListChanged()
                    | PeerChanged()
                    | DeviceChanged()
                    | ContactChanged()
                    | ChatChanged()
                    | Progress()
                ):
                    self._port.tell(effect)
        return lost

    def _gone(self, conn: int) -> bool:
        if conn not in self.open:
            return False
        self.open.discard(conn)
        self.core.closed(conn, self._clock())
        return True
