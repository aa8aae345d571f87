"""The driver's tick, with an engine and a port that only keep what they are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from identity.errors import KithkinError
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.engine.perform import Driver
from sync.store.memory import MemoryStore
from tests.support.kem import SIMULATED
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

    def put_record(self, put: e.PutRecord) -> None:
        self.told.append(put)

    def seek_record(self, public: bytes) -> None:
        self.told.append(public)

    def advance(self, step: e.OnboardingStep) -> None:
        self.told.append(step)

    def tell(self, event: e.Event) -> None:
        self.told.append(event)

    def refused(self, error: KithkinError) -> None:
        self.errors.append(error)

    def ticked(self) -> None:
        self.ticks += 1


class Eager(Shell):
    """A port that reports at once: it fails every dial, and every connection that it is to end is closed."""

    report_failed: Callable[[int], None]
    report_closed: Callable[[int], None]

    def dial(self, dial: e.Dial) -> None:
        super().dial(dial)
        self.report_failed(dial.attempt)

    def disconnect(self, conn: int, reason: str) -> None:
        super().disconnect(conn, reason)
        self.report_closed(conn)


class Teller(Engine):
    """When a connection is lost, the other one is told so in a frame, as replication passes on what a peer asked."""

    refusals: int = 0

    def failed(self, attempt: int, now: float) -> None:
        self.profile.effects.append(e.Transmit(3, b"dial %d failed" % attempt))

    def closed(self, conn: int, now: float) -> None:
        self.profile.effects.append(e.Transmit(conn + 1, b"%d is gone" % conn))
        if conn == 1:
            self.profile.effects.append(e.Disconnect(2, "it has nothing to say either"))

    def tick(self, now: float) -> None:
        super().tick(now)
        if self.refusals:
            self.refusals -= 1
            raise KithkinError("disk_full", "The disk is full.")


def scene(shell: Shell | None = None) -> tuple[Driver[Teller], Teller, Shell]:
    store, _ = founded("node", MemoryStore())
    engine, shell = Teller(store, stream("node"), NOW, SIMULATED), shell or Shell()
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


def dial_of(engine: Engine) -> e.Dial:
    return e.Dial(7, bytes(32), (), engine.profile.account.keys.signing)


def eager_scene() -> tuple[Driver[Teller], Teller, Shell]:
    shell = Eager()
    driver, engine, _ = scene(shell)
    shell.report_failed, shell.report_closed = driver.failed, driver.closed
    return driver, engine, shell


def test_frames_keep_their_order_when_the_port_reports_a_failed_dial_at_once() -> None:
    driver, engine, shell = eager_scene()
    engine.profile.effects += [dial_of(engine), e.Transmit(3, b"made before")]
    driver.tick()
    assert shell.sent == [(3, b"made before"), (3, b"dial 7 failed")]


def test_core_hears_once_of_a_connection_that_the_port_reports_closed_at_once() -> None:
    driver, engine, shell = eager_scene()
    engine.profile.effects += [e.Transmit(2, b"made before"), e.Disconnect(1, "enough")]
    driver.tick()
    assert (shell.closed, driver.open) == ([1, 2], {3})
    assert shell.sent == [(2, b"made before"), (2, b"1 is gone"), (3, b"2 is gone")]


class Faulty(Shell):
    """A port with a defect in one method."""

    def dial(self, dial: e.Dial) -> None:
        raise RuntimeError("a defect")


def test_effects_behind_one_at_which_the_port_fails_are_performed_with_the_next_tick() -> None:
    driver, engine, shell = scene(Faulty())
    engine.profile.effects += [dial_of(engine), e.Transmit(3, b"still sent"), e.Disconnect(3, "enough")]
    with pytest.raises(RuntimeError, match="defect"):
        driver.tick()
    assert (shell.sent, shell.closed, shell.ticks) == ([], [], 1)
    driver.tick()
    assert (shell.sent, shell.closed, shell.ticks) == ([(3, b"still sent")], [3], 2)


def test_frames_of_an_unknown_connection_are_dropped() -> None:
    driver, _, shell = scene()
    driver.frames(9, [b"hello"])
    assert shell.ticks == 0
