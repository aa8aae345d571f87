"""When to walk the DHT for one topic: announcements, look-ups, and when to do it all again.  Sans-IO.

`docs/protocol.md`, "Swarm".  An announcement is a look-up that stores our record at the end of its walk.  Two peers
that join at one instant have therefore both looked before either record was stored, and miss each other until the next
refresh ten minutes later (npm hyperswarm does, 18 times of 20).  Here every first round is followed by three short
look-ups.  The first of them suffices where no packet is lost: the peer that was stored last looks up after both were.

The shell that walks the DHT (`shell/topic_discovery.py`, or a test) drives it:

    for effect in discovery.take_effects(): ...  Start(number, walk) | Stop(number)
    discovery.done(number, ok, now)              when that walk is over
    discovery.wake(now)                          when `next_wake` has come
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from identity.keys import Random
from netstack.swarm.core.jitter import between

FURTHER = (0.4, 2.0, 10.0)  # seconds after the first walk of a round
REFRESH = (600.0, 720.0)  # seconds between rounds; records live 1,200
RETRY = (1.0, 4.0, 15.0, 60.0)  # seconds after the first, second, ... failed walk in a row; the last repeats
RETRY_SPREAD = 1.5  # jitter: up to this many times as long


class Walk(Enum):
    """What to do at the nodes closest to the topic."""

    LOOK_UP = auto()
    ANNOUNCE = auto()  # includes a look-up
    UNANNOUNCE = auto()


@dataclass(frozen=True, slots=True)
class Start:
    """Begin this walk and call `done(number, ...)` once, unless it is stopped."""

    number: int
    walk: Walk


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel that walk; `done` is not called for it."""

    number: int


Effect = Start | Stop


class Discovery:
    """The schedule of one topic, with one walk at a time.

    `rng(size)` draws the jitter.  `server`: be found under the topic; `client`: find others.  With neither, it only
    withdraws what was announced.
    """

    __slots__ = (
        "_announced",
        "_client",
        "_closed",
        "_effects",
        "_failures",
        "_further",
        "_joining",
        "_last_number",
        "_main",
        "_rng",
        "_round_at",
        "_running",
        "_server",
        "_suspended",
        "reached",
        "settled",
    )

    def __init__(self, rng: Random, *, server: bool = True, client: bool = True) -> None:
        self.settled = False  # the first round since joining, `set_role`, `resume` or `refresh` is over
        self.reached = False  # the last round reached the network
        self._rng = rng
        self._server = server
        self._client = client
        self._announced = False  # nodes may hold our record
        self._suspended = self._closed = False
        self._effects: list[Effect] = []
        self._running: Start | None = None
        self._main = False  # the running walk is a round's, not a further look-up
        self._last_number = 0
        self._failures = 0
        self._joining = True  # the next successful round is followed by further look-ups
        self._further: tuple[float, ...] = ()
        self._round_at = inf
        self._begin()

    # for the owner

    @property
    def server(self) -> bool:
        """Whether we are to be found under the topic."""
        return self._server

    @property
    def client(self) -> bool:
        """Whether we look for others."""
        return self._client

    @property
    def active(self) -> bool:
        """Neither suspended nor closed."""
        return not self._suspended and not self._closed

    @property
    def finished(self) -> bool:
        """Closed, and our record is withdrawn."""
        return self._closed and self._running is None

    def set_role(self, *, server: bool, client: bool) -> None:
        """Changes the role, which begins a new round; our record is withdrawn where we no longer serve."""
        if (server, client) != (self._server, self._client):
            self._server, self._client = server, client
            self.refresh()

    def refresh(self) -> None:
        """Begins a whole round at once: after a change of network, or when the owner asks."""
        if not self._suspended and not self._closed:
            self._begin()

    def suspend(self) -> None:
        """Withdraws our record and does nothing more until `resume`."""
        if not self._suspended:
            self._suspended = True
            self._withdraw()

    def resume(self) -> None:
        """Ends `suspend` with a new round."""
        if self._suspended and not self._closed:
            self._suspended = False
            self._begin()

    def close(self) -> None:
        """Withdraws our record and ends for good; `finished` when that walk is over."""
        if not self._closed:
            self._closed = True
            self._withdraw()

    def done(self, number: int, ok: bool, now: float) -> None:
        """That walk is over.  `ok`: at least one node answered; for an announcement, at least one stored it."""
        running = self._running
        if running is None or running.number != number:
            return
        self._running = None
        if running.walk is Walk.UNANNOUNCE:
            # tried once: records that could not be withdrawn expire
            self._announced = False
            if self.active:
                self._go()
        elif self._main:
            self._round_over(ok, now)

    def wake(self, now: float) -> None:
        """Begins the round or look-up that is due."""
        if not self.active or self._running is not None:
            return
        if now >= self._round_at:
            self._go()
        elif self._further and now >= self._further[0]:
            self._further = tuple(at for at in self._further if at > now)
            self._start(Walk.LOOK_UP)

    def next_wake(self) -> float:
        """When `wake` is due, in seconds of the same clock; math.inf: never."""
        if not self.active or self._running is not None:
            return inf
        return min(self._round_at, *self._further, inf)

    def take_effects(self) -> list[Effect]:
        """The effects ordered since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # inner

    def _begin(self) -> None:
        self.settled = False
        self._joining = True
        self._failures = 0
        self._further = ()
        self._halt()
        self._go()

    def _go(self) -> None:
        """Starts the walk that a round begins with."""
        self._round_at = inf
        if self._server:
            self._announced = True  # it may be stored from the first request on
            self._start(Walk.ANNOUNCE, main=True)
        elif self._announced:
            self._start(Walk.UNANNOUNCE)
        elif self._client:
            self._start(Walk.LOOK_UP, main=True)
        else:
            self.settled = self.reached = True

    def _round_over(self, ok: bool, now: float) -> None:
        self.settled = True
        self.reached = ok
        if not ok:
            self._retry(now)
            return
        self._failures = 0
        self._round_at = now + between(self._rng, *REFRESH)
        if self._joining and self._client:
            self._further = tuple(now + delay for delay in FURTHER)
        self._joining = False

    def _retry(self, now: float) -> None:
        delay = RETRY[min(self._failures, len(RETRY) - 1)]
        self._failures += 1
        self._round_at = now + between(self._rng, delay, delay * RETRY_SPREAD)

    def _withdraw(self) -> None:
        if self._running is not None and self._running.walk is Walk.UNANNOUNCE:
            return
        self._halt()
        self._further = ()
        self._round_at = inf
        if self._announced:
            self._start(Walk.UNANNOUNCE)

    def _start(self, walk: Walk, *, main: bool = False) -> None:
        self._last_number += 1
        self._main = main
        self._running = Start(self._last_number, walk)
        self._effects.append(self._running)

    def _halt(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        if running in self._effects:
            self._effects.remove(running)  # not begun yet
        else:
            self._effects.append(Stop(running.number))
