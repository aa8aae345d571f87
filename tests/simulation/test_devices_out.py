"""Stories of devices that are shut out: lost phones, thieves, two devices that shut out each other."""

from __future__ import annotations

import pytest

from identity.errors import KithkinError
from sync.engine.effects import ContactChanged, DeviceChanged
from sync.service.ids import device_id
from sync.store.memory import When
from tests.support.device import NOTES, Device, Died
from tests.support.world import World

SEEDS = (1, 2)


def id_of(device: Device) -> str:
    return device_id(device.engine.profile.account.device)


def revoke(by: Device, lost: str) -> int:
    """Shuts a device (by its shown id) out; the number of spaces keyed anew."""
    return by.call(lambda calls: calls.device_revoke(lost)).spaces


def notices(device: Device) -> list[str]:
    told = [event.notice for event in device.events if isinstance(event, DeviceChanged | ContactChanged)]
    return [notice for notice in told if notice]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_phone_is_shut_out_and_everybody_goes_on(seed: int) -> None:
    world = World(seed)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(desk, bob)
    world.grouped("Trip", desk, bob)
    bob.send("Ada", "before")
    world.settle()
    lost = id_of(phone)
    world.cut(phone, [desk, bob])

    assert revoke(desk, lost) == 4  # personal, notes, the direct chat, the group
    world.settle()
    bob.send("Ada", "after")
    desk.send("Trip", "and here")
    world.settle()

    assert world.texts(desk, bob) == ["before", "after"]
    assert world.texts(bob, "Trip") == ["and here"]
    assert any("shut a device out" in notice for notice in notices(bob))
    devices = desk.call(lambda calls: calls.devices()).devices
    assert [(device.id, device.state) for device in devices if device.id == lost] == [(lost, "revoked")]

    world.heal()
    world.settle()
    assert phone.engine.profile.out
    assert world.texts(phone, bob) == ["before"]
    assert any("shut out of your account" in notice for notice in notices(phone))
    with pytest.raises(KithkinError, match="shut out"):
        phone.send(NOTES, "I am still here")
    assert not phone.engine.peers
    phone.restart()
    world.settle()
    assert phone.engine.profile.out and world.texts(phone, bob) == ["before"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_device_that_was_just_linked_is_undone_from_another_one(seed: int) -> None:
    world = World(seed)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    thief = world.link(phone, "stranger")
    assert any("new device was linked" in notice for notice in notices(desk) + notices(phone))
    revoke(desk, id_of(thief))
    world.settle()
    phone.send(bob, "only for us")
    world.settle()
    assert thief.engine.profile.out and not phone.engine.profile.out and not desk.engine.profile.out
    assert "only for us" in world.texts(bob, "Ada") and "only for us" in world.texts(desk, bob)
    assert "only for us" not in world.texts(thief, "Bob")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_device_that_was_shut_out_by_a_thief_shuts_him_out_too(seed: int) -> None:
    world = World(seed)
    stolen, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(stolen, bob)
    stolen_id = id_of(stolen)
    revoke(stolen, id_of(desk))
    world.settle()
    assert (desk.engine.profile.out, stolen.engine.profile.out) == (True, False)
    told = desk.call(lambda calls: calls.device_revocation(stolen_id)).effects
    assert "both are out" in " ".join(told)
    assert revoke(desk, stolen_id) == 0
    world.run(90)
    world.settle()
    assert all(device.engine.profile.out for device in (stolen, desk))
    assert not [place for place in bob.space("Ada").state.roster if place.device != bob.engine.profile.account.device]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_devices_that_shut_out_each_other_are_both_out(seed: int) -> None:
    world = World(seed)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone_id, desk_id = id_of(phone), id_of(desk)
    world.cut(phone, desk)
    revoke(phone, desk_id)
    revoke(desk, phone_id)
    world.settle()
    world.heal()
    world.settle()
    for device in (phone, desk):
        assert device.engine.profile.out
        assert any("24 words decide" in notice for notice in notices(device))
        with pytest.raises(KithkinError, match="shut out"):
            device.send(NOTES, "mine")
    bob.send("Ada", "who is there?")
    world.settle()
    assert "who is there?" not in world.texts(phone, "Bob") + world.texts(desk, "Bob")


def test_bad_input_shuts_nobody_out() -> None:
    world = World(1)
    phone, desk = world.linked("Ada")
    before = id_of(desk)
    for wrong, code in ((id_of(phone), "not_allowed"), ("dev_" + "A" * 32, "not_found"), ("phone", "not_found")):
        with pytest.raises(KithkinError) as refused:
            revoke(phone, wrong)
        assert refused.value.code == code
    revoke(phone, before)
    with pytest.raises(KithkinError, match="already"):
        revoke(phone, before)
    world.settle()
    assert desk.engine.profile.out and not phone.engine.profile.out


def test_a_revocation_interrupted_anywhere_is_finished_at_the_next_start() -> None:
    """Kills at every store write of the flow: the device is in with everything as it was, or out everywhere."""
    whole = 0
    for kill in range(12):
        world = World(kill)
        phone, desk = world.linked("Ada")
        bob = world.person("Bob")
        world.friends(desk, bob)
        for number in range(10):
            desk.group(f"Group {number}", bob)
        world.settle()
        lost = id_of(phone)
        world.cut(phone, [desk, bob])
        writes = desk.misfortune.writes
        desk.misfortune.crash_in, desk.misfortune.when = kill, When.AFTER
        try:
            revoke(desk, lost)
            whole += 1
            desk.misfortune.crash_in = None
        except Died:
            desk.boot()
        world.settle()
        device = next(d for d in desk.call(lambda calls: calls.devices()).devices if d.id == lost)
        if device.state == "active":
            assert desk.misfortune.writes >= writes
            revoke(desk, lost)
            world.settle()
        still = [s for s in desk.engine.profile.spaces.values() if any(device_id(one) == lost for one in s.devices())]
        assert not still, f"killed at call {kill}"
        bob.send("Ada", "after")
        world.settle()
        assert "after" in world.texts(desk, bob)
        world.heal()
        world.settle()
    assert whole < 12, "no kill struck"


def test_the_promise_about_devices_that_are_out_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the new epoch the lost phone reads on, and the simulator says so."""
    monkeypatch.setattr("sync.space.epochs.owed_ops", lambda space: ())
    monkeypatch.setattr("sync.space.epochs.owes_epoch", lambda space: False)
    monkeypatch.setattr("sync.engine.tasks.schedule.owes_epoch", lambda space: False)
    monkeypatch.setattr("sync.engine.tasks.epochs.owed_ops", lambda space: ())
    world = World(1)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(desk, bob)
    world.cut(phone, [desk, bob])
    revoke(desk, id_of(phone))
    desk.send(bob, "for whom?")
    with pytest.raises(AssertionError, match="promises are broken"):
        world.settle()
