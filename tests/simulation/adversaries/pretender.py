"""Whoever read the paper with the 24 words races the owner: he recovers right after her, or in the very same second.

Held by: the root key's newest generation decides alone, whoever brings it and in whatever order
(`identity/device_set.py`, pass 1); whoever is out by it is told, keeps what it has and seals nothing more; and the
recovery made last wins.
"""

from __future__ import annotations

from sync.engine.introduction import FOLLOWS, encode_follows
from tests.support.device import Device
from tests.support.household import key_of, notices, refused, written
from tests.support.world import World

BOUND = 30  # entries that Bob may write for three recoveries of one friend with one chat
OUT = "This device was shut out of your account"


def play(seed: str) -> None:
    at_once = int(seed.rpartition("/")[2]) % 2 == 1
    world = World(seed, dht=True)
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "before")
    world.settle()
    world.run(30)
    world.forget(phone.name)
    before = written(bob)

    owner = world.recover("Ada", "her new phone", boot=False)
    if not at_once:
        owner.boot()
        world.run_until(lambda: owner.knows("Bob"), "the owner", 900)
        world.run(2)
    thief = world.recover("Ada", "his phone")
    owner.boot_again()
    world.run_until(lambda: owner.knows("Bob") or thief.knows("Bob"), "one of them", 900)
    world.run(60)
    world.settle()
    if at_once:  # two words of one second: both stand, and each can see the other
        assert active(bob, world) == {key_of(owner), key_of(thief)}
    else:
        assert active(bob, world) == {key_of(thief)} and OUT in notices(owner)
        assert refused(lambda: owner.send("Bob", "it is me")) == "not_allowed"
        assert world.texts(owner, "Bob") == ["before"], "what it has stays"

    old = tuple(thief.engine.profile.directory.encoded(world.identities["Ada"]))
    world.run(2)
    last = world.recover("Ada", "her newest phone")
    world.run_until(lambda: last.knows("Bob"), "the owner again", 900)
    world.run(60)
    world.settle()
    for peer in thief.engine.peers.values():
        if not peer.closing and peer.proved == key_of(bob):
            peer.mux.send(peer.main, FOLLOWS, encode_follows(world.identities["Ada"], old, ()))
    bob.send("Ada", "to whoever was last")
    last.send("Bob", "that was me")
    world.run(30)
    world.settle()

    for device in (bob, last):
        assert active(device, world) == {key_of(last)}, device.name
        assert world.texts(device)[-2:] == ["to whoever was last", "that was me"], device.name
        assert [device.engine.faults, device.errors] == [[], []], device.name
    for device in (owner, thief):
        assert OUT in notices(device) and not device.engine.faults, device.name
        assert refused(lambda device=device: device.send("notes", "mine")) == "not_allowed"
        assert "to whoever was last" not in world.texts(device), device.name
    assert {place.device for place in bob.space("Ada").state.roster} == {key_of(bob), key_of(last)}
    assert written(bob) - before <= BOUND, written(bob) - before


def active(device: Device, world: World) -> set[bytes]:
    """Ada's devices, as this one sees them."""
    return {one.id for one in device.engine.profile.directory.active(world.identities["Ada"])}
