"""A thief's phone and the owner's desktop shut out each other at one moment, while her tablet and a friend sleep.

Held by: a revocation counts whether or not its signer is revoked (`identity/device_set.py`, pass 2), and a certificate
outlasts its issuer's end where every revocation of that issuer lists it; so both are out, in whatever order anybody
hears of it, and the third device is in.
"""

from __future__ import annotations

from tests.support.device import Device
from tests.support.household import CLUB, Household, deafen, key_of, notices, opened_of, refused, shut_out, utter


def play(seed: str) -> None:
    home = Household(seed, mal=False)
    world, thief, desk, bob = home.world, home.phone, home.desk, home.bob
    tablet = world.link(thief, "tablet")
    home.honest = [tablet, bob]
    home.count_from_here()
    tablet.stop()
    world.cut(thief, desk)
    bob.stop()
    shut_out(thief, key_of(desk))
    shut_out(desk, key_of(thief))
    bob.boot()
    world.run(5)
    deafen(thief, home.ada)
    for text in ("still mine", "still mine, I say"):
        utter(thief, thief.space(CLUB), text)
    world.heal()
    world.run(30)
    world.settle()

    for device in home.honest:
        active = [one.id for one in device.engine.profile.directory.active(home.ada)]
        assert active == [key_of(tablet)], (device.name, active)
        rostered = {place.device for space in device.engine.profile.spaces.values() for place in space.state.roster}
        assert not rostered & {key_of(thief), key_of(desk)}, device.name
    assert desk.engine.profile.out and "shut out of your account" in notices(desk)
    assert refused(lambda: desk.send(CLUB, "and I?")) == "not_allowed"

    before = {device.name: feed_length(device) for device in home.honest}
    tablet.send(bob, "both of them are out")
    bob.send(CLUB, "whoever they are")
    home.promises(also=["whoever they are"], never=["still mine", "still mine, I say"])
    club = bob.space(CLUB).id
    for device in home.honest:
        mine = device.space(CLUB).mine
        assert mine is not None
        for outside in (thief, desk):
            assert not opened_of(outside, club, mine.core, before[device.name]), (outside.name, device.name)


def feed_length(device: Device) -> int:
    mine = device.space(CLUB).mine
    assert mine is not None
    return mine.length
