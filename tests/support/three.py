"""Ada, Mal and Bob, who know one another; and who a device is."""

from __future__ import annotations

from identity.device import DeviceKeys
from tests.support.device import Device
from tests.support.world import World


def three(seed: int | str) -> tuple[World, Device, Device, Device]:
    """The world, and a device of each."""
    world = World(seed)
    ada, mal, bob = world.person("Ada"), world.person("Mal"), world.person("Bob")
    world.friends(ada, mal)
    world.friends(ada, bob)
    world.friends(bob, mal)
    return world, ada, mal, bob


def identity(device: Device) -> bytes:
    return device.engine.profile.account.identity


def device_id(device: Device) -> bytes:
    return device.engine.profile.account.device


def keys(device: Device) -> DeviceKeys:
    return device.engine.profile.account.keys
