"""Somebody copies Bob's folder and runs it beside the original: both write under the same keys, to different people.

Once the two histories meet, Bob's device knows that its store was copied (`Profile.copied`), goes on as a new device
under new keys, and writes again what nobody had of it; the copy is out.  Put back once more, as a new device, it stands
in Bob's list, where he shuts it out: nothing that is written then opens there (`promises.broken` looks at every rest).
"""

from __future__ import annotations

from sync.store.memory import MemoryStore
from tests.support.adversary import CLUB, Cast
from tests.support.device import Device
from tests.support.liar import work_of


def play(seed: str) -> None:
    cast = Cast(seed)
    world, ada, mal, bob = cast.world, cast.ada, cast.mal, cast.bob
    bob.send(CLUB, "before the theft")
    world.settle()
    old = bob.space(CLUB).mine
    assert old is not None
    bob.stop()
    thief, loot = world._device("Bob", "stolen folder"), _copy(bob.store)
    thief.store = loot.reopen(thief.misfortune)
    world.cut([bob, ada], [thief, mal])
    bob.boot()
    thief.boot()
    world.run(10)
    before = {device: work_of(device) for device in cast.honest}
    for n in range(3):
        bob.send(CLUB, f"Bob himself, {n}")
        bob.send(ada, f"between us, {n}")
        thief.send(CLUB, f"not Bob, {n}")
        world.run(1)
    world.cut(bob, ada)
    bob.send(CLUB, "Bob to nobody yet")
    world.run(5)
    world.heal()
    world.cut(thief, [ada, bob, mal])
    world.run(60)
    mine = bob.space(CLUB).mine
    assert mine is not None and mine.writer != old.writer and mine.key is not None
    assert old.writer not in {feed.writer for feed in bob.space(CLUB).feed_store.feeds.values() if feed.key is not None}
    own = ["before the theft", *(f"Bob himself, {n}" for n in range(3)), "Bob to nobody yet"]
    for device in cast.honest:
        assert set(own) <= set(world.texts(device, CLUB)), (device.name, world.texts(device, CLUB))
    assert world.texts(ada, bob)[-3:] == [f"between us, {n}" for n in range(3)]

    world.wires.heal()
    world.run(30)
    assert thief.engine.profile.out and _others(bob) == []
    thief.stop()
    again = world.restored(loot, "Bob", "stolen once more")
    world.run(60)
    (name,) = _others(bob)
    bob.call(lambda calls: calls.device_revoke(name))
    world.run(60)
    assert again.engine.profile.out and _others(bob) == []
    ada.send(CLUB, "now among ourselves")
    ada.send(bob, "and between us")
    world.settle()
    for text in ("now among ourselves", "and between us"):
        assert text not in [*world.texts(again, CLUB), *world.texts(again, ada)]
    for device in cast.honest:
        work = work_of(device) - before[device]
        assert work.calls < 8000 and work.held < 400_000 and work.sent < 1_500_000, (device.name, work)
    cast.promises(also=[*own, "now among ourselves"], bound=60)
    assert world.texts(bob, ada)[-1] == "and between us"


def _copy(store: MemoryStore) -> MemoryStore:
    made = MemoryStore()
    made._tables = {table: rows.copy() for table, rows in store._tables.items()}
    return made


def _others(device: Device) -> list[str]:
    """Other devices of this person that are in, by their shown ids."""
    found = device.call(lambda calls: calls.devices()).devices
    return [one.id for one in found if one.state == "active" and not one.this]
