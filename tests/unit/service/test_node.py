"""The node's turn, with an engine and connections that only keep what they are told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from identity.errors import KithkinError
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.service.node import Node
from sync.store.memory import MemoryStore
from tests.support.streams import stream
from tests.unit.engine.test_space import NOW, founded


class Wire:
    """A connection: what was sent, and whether it was closed."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def close(self) -> None:
        self.closed = True


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


def scene(monkeypatch: pytest.MonkeyPatch) -> tuple[Node, Teller, dict[int, Wire]]:
    store, _ = founded("node", MemoryStore())
    engine = Teller(store, stream("node"), NOW)
    node = Node(engine, None, clock=lambda: NOW)
    wires = {1: Wire(), 2: Wire(), 3: Wire()}
    node._connections = cast(dict[int, Any], dict(wires))
    monkeypatch.setattr(node, "_arm", lambda: None)
    return node, engine, wires


def test_what_a_lost_connection_brings_about_is_done_in_the_same_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    node, engine, wires = scene(monkeypatch)
    engine.profile.effects.append(e.Disconnect(1, "enough"))
    node.tick()
    assert [wire.closed for wire in wires.values()] == [True, True, False]
    assert wires[3].sent == [b"2 is gone"]
    assert engine.take_effects() == []


def test_a_refused_turn_still_ends_what_was_to_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    node, engine, wires = scene(monkeypatch)
    engine.refusals = 1
    engine.profile.effects.append(e.Disconnect(1, "enough"))
    with pytest.raises(KithkinError, match="full"):
        node.tick()
    assert wires[1].closed and wires[2].closed and wires[3].sent == [b"2 is gone"]
