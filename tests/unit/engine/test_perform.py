"""The driver's tick, with an engine and a port that only keep what they are told."""

from __future__ import annotations

import pytest

from identity.errors import KithkinError
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.engine.perform import Driver
from sync.store.memory import MemoryStore
from tests.support.streams import stream
from tests.unit.engine.test_space import NOW, founded


class Shell:
    """A port: what was sent on which connection, which were closed, what was refused."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.closed: list[int] = []
        self.told: list[object] = []
        self.errors: list[KithkinError] = []
        self.ticks = 0

    def transmit(self, conn: int, frame: bytes) -> None:
        self.sent.append((conn, frame))

    def disconnect(self, conn: int, reason: str) -> None:
        self.closed.append(conn)

    def dial(self, dial: e.Dial) -> None:
        self.told.append(dial)

    def listen(self, listen: e.Listen) -> None:
        self.told.append(listen)

    def unlisten(self, public: bytes) -> None:
        self.told.append(public)

    def join_topic(self, join: e.JoinTopic) -> None:
        self.told.append(join)

    def leave_topic(self, topic: bytes) -> None:
        self.told.append(topic)

    def advance(self, step: e.OnboardingStep) -> None:
        self.told.append(step)

    def tell(self, event: e.Event) -> None:
        self.told.append(event)

    def refused(self, error: KithkinError) -> None:
        self.errors.append(error)

    def ticked(self) -> None:
        self.ticks += 1


class Teller(Engine):
    """When a connection is lost, the other one is told so in a frame, as replication passes on what a peer asked."""

    refusals: int = 0

    def closed(self, conn: int, now: float) -> None:
        self.profile.effects.append(e.Transmit(conn + 1, b"%d is gone" % conn))
        if conn == 1:
            self.profile.effects.append(e.Disconnect(2, "it has nothing to say either"))

    def tick(self, now: float) -> None:
        super().tick(now)
        if self.refusals:
            self.refusals -= 1
            raise KithkinError("disk_full", "The disk is full.")


def scene() -> tuple[Driver[Teller], Teller, Shell]:
    store, _ = founded("node", MemoryStore())
    engine, shell = Teller(store, stream("node"), NOW), Shell()
    driver = Driver(engine, shell, lambda: NOW)
    driver.open = {1, 2, 3}
    return driver, engine, shell


def test_consequences_of_a_lost_connection_are_performed_in_the_same_tick() -> None:
    driver, engine, shell = scene()
    engine.profile.effects.append(e.Disconnect(1, "enough"))
    driver.tick()
    assert (shell.closed, driver.open) == ([1, 2], {3})
    assert shell.sent == [(2, b"1 is gone"), (3, b"2 is gone")]
    assert engine.take_effects() == []


def test_a_refused_tick_still_ends_the_connections_it_was_to_end() -> None:
    driver, engine, shell = scene()
    engine.refusals = 1
    engine.profile.effects.append(e.Disconnect(1, "enough"))
    with pytest.raises(KithkinError, match="full"):
        driver.tick()
    assert shell.closed == [1, 2] and shell.sent == [(2, b"1 is gone"), (3, b"2 is gone")] and shell.ticks == 1


def test_a_refused_tick_that_nobody_waits_for_is_told_to_the_port() -> None:
    driver, engine, shell = scene()
    engine.refusals = 1
    driver.tick_quietly()
    assert [error.code for error in shell.errors] == ["disk_full"]


def test_frames_of_an_unknown_connection_are_dropped() -> None:
    driver, _, shell = scene()
    driver.frames(9, [b"hello"])
    assert shell.ticks == 0
