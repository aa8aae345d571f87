"""A member opens one epoch after the other, each with another Z, and at last all members open theirs apart.

Held by: epochs do not compete, so nobody answers one with another (`usable`, `turn_to_open`); keys go once everybody
has the next (`drop_keys`, at the next start or week); and of several drawn apart the lowest id decides
(`EpochKeys.choose_z`).
"""

from __future__ import annotations

from sync.space.epochs import open_epoch
from tests.support.adversary import CLUB, Cast

EPOCHS = 30
KEPT = 6  # epoch keys that an honest device still holds when all is quiet
PER_EPOCH = 120  # datagrams in the whole world that one epoch costs


def play(seed: str) -> None:
    cast = Cast(seed)
    world = cast.world
    before = world.trace.count["datagram"]
    for number in range(EPOCHS):
        z = cast.mal.rng(32)
        cast.do(lambda space, now_ms, z=z: open_epoch(space, now_ms, z=z))  # type: ignore[misc]
        world.run(0.7)
        if number % 10 == 0:
            cast.ada.send(CLUB, f"Ada at {number}")
    world.settle()
    sent = world.trace.count["datagram"] - before
    assert sent <= EPOCHS * PER_EPOCH, sent
    cast.bob.send(CLUB, "Bob after all of them")
    world.settle()
    for device in cast.honest:
        device.restart()
    world.settle()
    for device in cast.honest:
        assert len(device.space(CLUB).keys) <= KEPT, (device.name, len(device.space(CLUB).keys))

    world.cut(cast.ada, cast.mal, cast.bob)
    for device in cast.all:
        cast.do(lambda space, now_ms: open_epoch(space, now_ms, z=cast.mal.rng(32)), device)
        device.send(CLUB, f"{device.owner} apart")
    world.run(2)
    said = [f"Ada at {number}" for number in range(0, EPOCHS, 10)]
    cast.promises(also=[*said, "Bob after all of them", "Ada apart", "Bob apart", "Mal apart"], bound=16)
    assert len({device.space(CLUB).z for device in cast.all}) == 1
