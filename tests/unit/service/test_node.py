"""The node's shell, on a host that only keeps what it is told: early ends and defects cost nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from identity.keys import SigningKey
from netstack.events import Opened, PathKind, Reason
from netstack.shell.connection import Connection
from netstack.shell.host import Host
from netstack.udp.port import Address
from sync.engine import effects as e
from sync.service import models, node
from sync.service.api import Network
from sync.service.events import EventMapper
from tests.unit.service.offline import OfflineService, offline_service

Patch = pytest.MonkeyPatch
PATIENCE = 10.0  # seconds after which what never comes is given up


class StillHost:
    """What a node and its connections use of a host.  Nothing is sent; `flushing` is done once, in the next flush."""

    dht = None

    def __init__(self) -> None:
        self.on_connection: Callable[[Connection], None] = lambda connection: None
        self.flushing: Callable[[], None] | None = None
        self.found: Connection | None = None  # what `connect` comes to
        self.listened: list[bytes] = []

    def flush(self) -> None:
        flushing, self.flushing = self.flushing, None
        if flushing is not None:
            flushing()

    def listen(self, key: SigningKey, announce: bool = True) -> None:
        self.listened.append(key.public)

    def unlisten(self, public: bytes) -> None:
        pass

    def defer(self) -> None:
        pass

    async def connect(
        self,
        remote: bytes,
        addresses: Sequence[Address],
        key: SigningKey,
        relays: Sequence[Address] = (),
        *,
        by_key: bool = True,
    ) -> Connection:
        assert self.found is not None
        return self.found

    async def stop(self) -> None:
        pass

    # -- for connections

    def send(self, conn: int, frame: bytes) -> bool:
        return True

    def end(self, conn: int) -> None:
        pass

    def close(self, conn: int) -> None:
        pass

    def abort(self, conn: int, reason: Reason, detail: str) -> None:
        pass

    def hold(self, conn: int, size: int) -> None:
        pass

    def queued(self, conn: int) -> int:
        return 0

    def path(self, conn: int) -> PathKind:
        return PathKind.DIRECT

    def rtt(self, conn: int) -> float:
        return 0.0

    def connection(self) -> Connection:
        """A connection that somebody has opened."""
        return Connection(self, Opened(7, False, bytes(32), bytes([7]) * 32, bytes(64), ("127.0.0.1", 9)))


@asynccontextmanager
async def online(folder: Path, seed: str, monkeypatch: Patch) -> AsyncIterator[tuple[OfflineService, StillHost]]:
    host = StillHost()

    async def new_host(network: Network, known: Sequence[Address]) -> Host:
        return cast(Host, host)

    async def start_host(started: Host, network: Network, kept: int) -> Address:
        return "127.0.0.1", 4000

    monkeypatch.setattr(node, "new_host", new_host)
    monkeypatch.setattr(node, "start_host", start_host)
    async with offline_service(folder, seed) as d:
        await d.node.go_online(Network())
        yield d, host


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0)


def test_connection_that_closes_while_it_is_attached_is_not_believed_open(tmp_path: Path, monkeypatch: Patch) -> None:
    """The flush of the tick that takes it in finds the peer gone."""

    async def story() -> None:
        async with online(tmp_path, "while attached", monkeypatch) as (d, host):
            connection = host.connection()
            host.flushing = lambda: connection.over(Reason.RESET, "")
            host.on_connection(connection)
            assert connection.closed and d.node.engine.peers == {} and d.node.connection(7) is None

    asyncio.run(story())


def test_incoming_connection_that_was_closed_before_is_not_believed_open(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with online(tmp_path, "before", monkeypatch) as (d, host):
            connection = host.connection()
            connection.over(Reason.RESET, "")
            host.on_connection(connection)
            assert d.node.engine.peers == {} and d.node.connection(7) is None

    asyncio.run(story())


def test_dial_whose_connection_was_closed_before_has_failed(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with online(tmp_path, "dial", monkeypatch) as (d, host):
            failed: list[int] = []
            monkeypatch.setattr(d.node.engine, "failed", lambda attempt, now: failed.append(attempt))
            host.found = host.connection()
            host.found.over(Reason.RESET, "")
            d.node.dial(e.Dial(3, bytes([7]) * 32, (), d.node.engine.profile.account.keys.signing))
            await until(lambda: failed or d.node.engine.peers)
            assert (failed, d.node.engine.peers, d.node.connection(7)) == ([3], {}, None)

    asyncio.run(story())


def test_frames_are_taken_although_the_tick_that_took_the_connection_in_failed(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    def defect() -> None:
        raise RuntimeError("a defect")

    async def story() -> None:
        async with online(tmp_path, "frames", monkeypatch) as (d, host):
            taken: list[tuple[int, bytes]] = []
            monkeypatch.setattr(d.node.engine, "frames", lambda frames, now: taken.extend(frames))
            connection = host.connection()
            connection.deliver([b"waiting"])
            host.flushing = defect
            with pytest.raises(RuntimeError, match="defect"):
                host.on_connection(connection)
            connection.deliver([b"later"])
            assert taken == [(7, b"waiting"), (7, b"later")]
            connection.over(Reason.RESET, "")
            assert d.node.engine.peers == {}

    asyncio.run(story())


def test_engine_is_woken_again_after_a_wake_up_that_failed(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(node, "AFTER_DEFECT", 0.0)

    async def story() -> None:
        async with offline_service(tmp_path, "wake") as d:
            engine, woken, defects = d.node.engine, [], []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: defects.append(context["exception"]))

            def wake(now: float) -> None:
                woken.append(now)
                if len(woken) == 1:
                    raise RuntimeError("a defect")

            monkeypatch.setattr(engine, "wake", wake)
            monkeypatch.setattr(engine, "next_wake", lambda: 0.0)
            d.node.tick()
            await until(lambda: len(woken) >= 2)
            assert [str(defect) for defect in defects] == ["a defect"]

    asyncio.run(story())


def test_event_that_cannot_be_told_costs_no_other_effect(tmp_path: Path, monkeypatch: Patch) -> None:
    def lines(mapper: EventMapper, event: e.Event, now_ms: int) -> Iterator[models.Event]:
        raise RuntimeError("a defect")

    async def story() -> None:
        async with online(tmp_path, "told", monkeypatch) as (d, host):

            async def watch() -> None:
                async for _ in d.service.events():
                    pass

            watching = asyncio.create_task(watch())
            await asyncio.sleep(0)  # from here on somebody reads
            monkeypatch.setattr(EventMapper, "lines", lines)
            key = d.node.engine.profile.account.keys.signing
            host.listened.clear()
            d.node.engine.profile.effects += [e.ContactChanged(bytes(32)), e.Listen(key)]
            with pytest.raises(RuntimeError, match="defect"):
                d.node.tick()
            d.node.tick()
            assert host.listened == [key.public]
            watching.cancel()

    asyncio.run(story())
