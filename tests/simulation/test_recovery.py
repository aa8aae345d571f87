"""Stories of people who lost every device and come back with their 24 words."""

from __future__ import annotations

import pytest

from sync.engine.effects import DeviceChanged
from tests.support.device import Device
from tests.support.world import World

SEEDS = (1, 2)


def notices(device: Device) -> str:
    return " ".join(event.notice for event in device.events if isinstance(event, DeviceChanged))


def lose(world: World, *devices: Device) -> None:
    for device in devices:
        world.forget(device.name)


@pytest.mark.parametrize("seed", SEEDS)
def test_words_bring_identity_contacts_and_chats_back_when_everything_is_lost(seed: int) -> None:
    world = World(seed, dht=True)
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    world.grouped("Trip", bob, phone)
    bob.send("Ada", "hello Ada")
    phone.send(bob, "hello Bob")
    bob.send("Trip", "where to?")
    world.settle()
    world.run(10)
    lose(world, phone)
    world.run(300)

    new = world.recover("Ada")
    assert new.engine.profile.account.identity == world.identities["Ada"]
    world.run_until(lambda: "Recovered: 1 contact and 2 chats" in notices(new), "finding the copy", 900)
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    assert world.texts(new, "Bob") == ["hello Ada", "hello Bob"]
    new.send("Bob", "it is me")
    bob.send("Ada", "welcome back")
    world.settle()
    assert world.texts(bob, "Ada")[-2:] == world.texts(new, "Bob")[-2:] == ["it is me", "welcome back"]
    assert new.engine.profile.view.contacts.keys() == {world.identities["Bob"]}
