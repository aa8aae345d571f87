from __future__ import annotations

from identity.keys import SigningKey
from netstack.events import Closed, Ended, Event, Failed, Frame, Opened, Reason, Writable
from tests.unit.netstack_endpoint.wire import Wire

ADA, BOB = SigningKey.from_seed(b"a" * 32), SigningKey.from_seed(b"b" * 32)
A, B = ("10.0.0.1", 1), ("10.0.0.1", 2)


def test_a_connection_opens_carries_frames_and_ends() -> None:
    wire = Wire()
    ada, bob = wire.core(1), wire.core(2)
    bob.listen(BOB)
    conn = ada.connect(BOB.public, [B], ADA, wire.now)
    wire.run(1)
    print(wire.seen)
    [opened] = wire.seen[A]
    [answered] = wire.seen[B]
    assert isinstance(opened, Opened) and isinstance(answered, Opened)
    ada.send(conn, b"hello", wire.now); ada.send(conn, bytes(100000), wire.now)
    wire.run(1)
    assert wire.seen[B][1:] == [Frame(answered.conn, b"hello"), Frame(answered.conn, bytes(100000))]
    ada.end(conn, wire.now)
    wire.run(1)
    assert wire.seen[B][3:] == [Ended(answered.conn)]
    bob.end(answered.conn, wire.now)
    wire.run(20)
    print(wire.seen[A][1:], wire.seen[B][4:])
    assert len(ada) == len(bob) == 0
