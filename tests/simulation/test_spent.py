"""What my own lists said once and say no more goes from the disks of all my devices, a day later."""

from __future__ import annotations

import pytest

from crdt.docs.own import OwnDraft
from sync.service.ids import chat_id, identity_id
from sync.store.memory import When
from tests.support.device import Device
from tests.support.readable import openers, readable, record
from tests.support.world import World

OLD = "Old canary name"


def read(device: Device, text: str = OLD) -> list[str]:
    return readable(device.engine.profile, text)


def call_contact(device: Device, contact: Device, name: str) -> None:
    identity = identity_id(device.world.identities[contact.owner])
    device.call(lambda calls: calls.contact_rename(identity, name))


def sleep(world: World, days: float) -> None:
    for device in world.devices:
        device.stop()
    world.sleep(days)
    world.heal().settle()
    world.run(120)
    world.settle()


def lists(device: Device) -> object:
    view = device.engine.profile.view
    return view.profile, view.contacts, view.chats, view.marks, view.cleared, view.drafts, view.settings


def test_old_names_and_drafts_go_from_all_my_devices() -> None:
    world = World("old names")
    (phone, desk), bob = world.linked("Ada", 2), world.person("Bob")
    world.friends(phone, bob)
    call_contact(phone, bob, OLD)
    phone.call(lambda calls: calls.profile_set(name="Old canary self"))
    space = phone.space(bob).id
    for text in ("Old canary draft", "an Old canary draft", ""):
        phone.do(lambda engine, text=text: engine.profile.note(int(phone.now * 1000), OwnDraft(space, text=text)))  # type: ignore[misc]
    world.settle()
    call_contact(desk, bob, "Bobby")
    desk.call(lambda calls: calls.profile_set(name="Ada"))
    world.settle()
    kept = [one for text in (OLD, "Old canary draft") for one in record(phone.engine.profile, text)]
    assert kept and read(phone) and read(desk, "Old canary draft")
    before = lists(phone)
    sleep(world, 1.5)
    for device in (phone, desk):
        assert read(device) == read(device, "Old canary draft") == []
        assert lists(device) == before
        assert all("message key" not in openers(device.engine.profile, one) for one in kept)
        device.restart()
    world.settle()
    assert lists(phone) == lists(desk) == before
    tablet = world.link(phone, "tablet")
    view = tablet.engine.profile.view
    assert view.contacts == phone.engine.profile.view.contacts and view.chats == phone.engine.profile.view.chats
    assert read(tablet) == []
    personal = tablet.engine.profile.personal
    assert all(feed.opened == feed.length for feed in personal.feed_store.feeds.values())


def test_marks_of_months_leave_a_few_entries() -> None:
    world = World("marks")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    for day in range(10):
        for number in range(5):
            bob.send(ada, f"{day} {number}")
            world.run(1)
            ada.read(bob)
        sleep(world, 1.01)
    profile = ada.engine.profile
    (feed,) = profile.personal.feed_store.feeds.values()
    entries = profile.personal.feed_store.entries(feed, 0, feed.length)
    assert len(entries) > 60 and sum(bool(entry.block) for entry in entries) < 35
    assert ada.call(lambda calls: calls.chats()).chats[0].unread == 0


def test_nothing_is_named_while_a_device_of_mine_lags_behind() -> None:
    world = World("lags")
    phone, desk = world.linked("Ada", 2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    call_contact(phone, bob, OLD)
    world.settle()
    desk.stop()
    call_contact(phone, bob, "Bobby")
    world.settle()
    phone.stop()
    bob.stop()
    world.sleep(2)
    phone.boot()
    bob.boot()
    world.run(200)
    assert read(phone), "the desktop could still cut off the new name"
    desk.boot()
    world.settle()
    world.run(130)
    assert read(phone) == read(desk) == []
    assert phone.engine.profile.view.contacts == desk.engine.profile.view.contacts


def test_a_backup_of_before_comes_back_with_the_lists_of_now() -> None:
    world = World("backup")
    (phone, desk), bob = world.linked("Ada", 2), world.person("Bob")
    world.friends(phone, bob)
    call_contact(phone, bob, OLD)
    world.settle()
    desk.stop()
    backup = desk.store.reopen()
    desk.boot()
    call_contact(desk, bob, "Bobby")
    world.settle()
    sleep(world, 1.5)
    assert read(desk) == []
    desk.stop()
    world.forget(desk.name)
    again = world.restored(backup, "Ada", "again")
    world.settle()
    assert read(again) == read(phone) == []
    assert again.engine.profile.view.contacts == phone.engine.profile.view.contacts
    assert chat_id(again.space(bob).id) == chat_id(phone.space(bob).id)


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
def test_a_power_cut_at_any_store_call_leaves_the_lists_as_they_are_and_the_rest_is_erased_later(when: When) -> None:
    world = World(f"power {when}")
    (phone, desk), bob = world.linked("Ada", 2), world.person("Bob")
    world.friends(phone, bob)
    struck = 0
    for kill in range(0, 42, 6):
        call_contact(phone, bob, f"{OLD} {kill}")
        world.settle()
        call_contact(desk, bob, f"Bobby {kill}")
        world.settle()
        before = lists(phone)
        for device in world.devices:
            device.stop()
        world.sleep(1.1)
        for device in world.devices:
            device.boot()
        for device in (phone, desk):
            device.misfortune.crash_in, device.misfortune.when = kill, when
        world.run(70)
        struck += sum(not device.up for device in (phone, desk))
        for device in (phone, desk):
            device.misfortune.crash_in = None
        world.heal().settle()
        world.run(130)
        world.settle()
        for device in (phone, desk):
            assert read(device) == [], f"{device} after a cut at call {kill}"
            assert lists(device) == before
    assert struck
