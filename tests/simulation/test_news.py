"""Whatever changes what a window shows is told to it: at rest every mirror equals a fresh read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync.engine import effects as e
from sync.engine.profile import Profile
from sync.service.ids import identity_id
from sync.space import records
from tests.simulation.storm import Storm
from tests.support.device import Device
from tests.support.mirror import differences
from tests.support.world import Message, World

Patch = pytest.MonkeyPatch
LATER = 70.0  # seconds in which everything that is told at intervals has been told


def rest(world: World) -> None:
    world.settle()
    world.run(LATER)


def pair() -> tuple[World, Device, Device, Device]:
    """Ada's phone and desktop, and Bob; a window is open on each of them."""
    world = World("news")
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    for device in world.devices:
        device.watch()
    phone.send("Bob", "hello")
    rest(world)
    assert differences(world) == {}
    return world, phone, desk, bob


def rename_bob(phone: Device, bob: Device) -> None:
    identity = identity_id(phone.world.identities["Bob"])
    phone.call(lambda calls: calls.contact_rename(identity, "Bobby"))


def bob_renames_himself(phone: Device, bob: Device) -> None:
    bob.call(lambda calls: calls.profile_set(name="Robert"))


renamed = pytest.mark.parametrize("rename", [rename_bob, bob_renames_himself])
Rename = Callable[[Device, Device], None]


# -- lists that another device of mine changed ------------------------------------------------------------------


@renamed
def test_new_name_of_a_contact_reaches_the_windows_of_all_devices(rename: Rename) -> None:
    world, phone, _, bob = pair()
    rename(phone, bob)
    rest(world)
    assert differences(world) == {}
    bob.send("Ada", "still here")
    rest(world)
    assert differences(world) == {}


@renamed
def test_new_name_of_a_member_reaches_the_windows_that_show_the_group(rename: Rename) -> None:
    world, phone, _, bob = pair()
    world.grouped("club", phone, bob)
    for device in world.devices:
        device.watch()
    bob.send("club", "hi")
    rest(world)
    assert differences(world) == {}
    rename(phone, bob)
    rest(world)
    assert differences(world) == {}


def test_invitation_noted_by_the_phone_reaches_the_window_of_the_desktop() -> None:
    world, phone, desk, bob = pair()
    world.cut(desk, bob)
    bob.group("club", phone)
    rest(world)
    assert [chat.state for chat in desk.engine.profile.view.chats.values() if chat.kind == "group"] == ["invited"]
    assert differences(world) == {}


def test_contact_met_by_the_phone_reaches_the_window_of_the_desktop() -> None:
    world, phone, desk, _ = pair()
    carl = world.person("Carl")
    carl.watch()
    world.friends(phone, carl)
    rest(world)
    assert desk.knows("Carl")
    assert differences(world) == {}


# -- commits and keys that come late ----------------------------------------------------------------------------


def test_message_committed_before_the_same_tick_is_refused_is_told(monkeypatch: Patch) -> None:
    """The first round of the tick makes the message durable; the disk is full at the second."""
    world, phone, _, bob = pair()
    commit = Profile.commit
    full: list[bool] = []

    def commit_once(profile: Profile, now_ms: int) -> None:
        commit(profile, now_ms)
        mine = profile is phone.engine.profile
        if mine and not full and any(isinstance(effect, e.MessageChanged) for effect in profile.effects):
            full.append(True)
            phone.misfortune.refuse_writes = 1
            profile.keep_port(profile.port() + 1)  # something that the next round writes

    monkeypatch.setattr(Profile, "commit", commit_once)
    bob.send("Ada", "do you see me?")
    rest(world)
    assert full and phone.misfortune.refuse_writes == 0
    assert "do you see me?" in world.texts(phone, "Bob")
    assert differences(world) == {}


def test_device_record_that_a_later_key_opens_tells_what_was_delivered(monkeypatch: Patch) -> None:
    """Bob's record comes before the key of the epoch that it is sealed under."""
    world = World("later key", mirrors=True)
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    world.cut(ada, bob)
    ada.send("Bob", "hello")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(records, "open_record", lambda record, space, secret: None)
        world.heal()
        world.run(120)
        assert (world.of(ada), world.of(bob)) == ([Message("hello", "queued")], [Message("hello")])
    ada.space("Bob").epoch_keys.learned += 1  # the key comes
    bob.send("Ada", "news")
    rest(world)
    assert world.outbox(ada) == []
    assert differences(world) == {}


# -- everything at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 19])
def test_windows_equal_a_fresh_read_after_random_faults(seed: int) -> None:
    storm = Storm(seed, 30, mirrors=True).run()
    storm.world.run(200)
    assert all(device.mirror is not None for device in storm.world.devices)
    assert differences(storm.world) == {}
