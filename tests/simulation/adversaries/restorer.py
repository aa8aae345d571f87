"""A thief has an old backup of a phone and puts it back beside the owner's devices, again and again.

Held by: a restored device is certified by the old one, so it falls where another device of the person shut that one
out (`identity/device_set.py`); and to shut a restored device out is to shut out the one that gave way to it, too
(`sync/engine/revocation.py`), or the same backup would make the next one.
"""

from __future__ import annotations

from tests.support.device import Device
from tests.support.household import CLUB, Household, everywhere, key_of, notices, opened_of, shut_out, utter


def play(seed: str) -> None:
    lost_first = int(seed.rpartition("/")[2]) % 2 == 0
    home = Household(seed, mal=False)
    world, phone, desk, bob = home.world, home.phone, home.desk, home.bob
    phone.send(CLUB, "from the phone")
    world.settle()
    backup = phone.store.reopen()
    phone.send(CLUB, "after the backup")
    world.settle()
    phone_id = key_of(phone)
    if lost_first:
        world.forget(phone.name)
        shut_out(desk, phone_id)
        world.settle()
    his = [world.restored(backup, "Ada", "box 1")]
    world.run(5)
    if lost_first:
        assert not active(bob, home) & {key_of(his[0])}
    else:
        assert active(bob, home) == {key_of(his[0]), key_of(desk)}, "it is hers, by all that anybody can see"
        his[0].send("Bob", "it is me, really")
        world.run(3)
        assert "gave" in str(notices(phone)) or phone.engine.profile.out
        shut_out(desk, key_of(his[0]))
        world.settle()
        his.append(world.restored(backup, "Ada", "box 2"))
        world.run(5)
    his.append(world.restored(backup, "Ada", "box 3", away_from=[desk]))
    world.run(20)
    for number, one in enumerate(his):
        for space in list(one.engine.profile.spaces.values()):
            if not space.personal and space.mine is not None and space.mine.length:
                utter(one, space, f"from box {number}")
    home.count_from_here()
    starts = {device.name: length(device) for device in home.honest}
    desk.send(CLUB, "for friends")
    bob.send("Ada", "for Ada")
    world.heal()
    world.run(30)
    world.settle()
    home.promises(also=["from the phone", "after the backup", "for friends"])
    assert not {text for text in everywhere(home.honest) if text.startswith("from box")}
    club = bob.space(CLUB).id
    for device in home.honest:
        assert active(device, home) == {key_of(desk)}, device.name
        for space in device.engine.profile.spaces.values():
            assert not {key_of(one) for one in his} & {place.device for place in space.state.roster}, device.name
        mine = device.space(CLUB).mine
        assert mine is not None
        for one in his:
            assert not opened_of(one, club, mine.core, starts[device.name]), (one.name, device.name)
            assert not {"for Ada", "for friends"} & set(world.texts(one)), one.name
    assert not desk.engine.profile.out


def active(device: Device, home: Household) -> set[bytes]:
    """Ada's devices, as this one sees them."""
    return {one.id for one in device.engine.profile.directory.active(home.ada)}


def length(device: Device) -> int:
    mine = device.space(CLUB).mine
    assert mine is not None
    return mine.length
