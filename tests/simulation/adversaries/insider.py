"""An admin restarts a group, lets in everybody but one person, and stays out of the restart of another admin."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from sync.engine.profile import Profile
from sync.engine.tasks import offers, restarts
from sync.service import chats
from sync.service.ids import chat_id, identity_id
from tests.support.device import Device
from tests.support.world import World

CLUB = "club"


def play(seed: str) -> None:
    world = World(seed, dht=True)
    ada, bob, cleo, mal = (world.person(name) for name in ("Ada", "Bob", "Cleo", "Mal"))
    for other in (bob, cleo, mal):
        world.friends(ada, other)
    first, last = (bob, mal) if seed.endswith(("0", "2", "4", "6", "8")) else (mal, bob)
    world.grouped(CLUB, ada, first, cleo)
    old, who = chat_id(ada.space(CLUB).id), {name: identity_id(id_) for name, id_ in world.identities.items()}
    ada.call(lambda calls: calls.chat_add(old, who[last.owner]))
    world.settle()
    last.join(CLUB)
    world.settle()
    ada.call(lambda calls: calls.chat_admin(old, who["Bob"]))
    ada.call(lambda calls: calls.chat_admin(old, who["Mal"]))
    world.settle()
    world.run(10)
    back = world.recover("Ada")
    world.run_until(lambda: back.knows("Bob"), "coming back", 900)
    world.settle()

    let_in, take = offers.let_in, restarts._take

    def lets_in(profile: Profile, group: Any, identity: bytes, *given: Any) -> bytes | None:
        mean = profile.account.identity == world.identities["Mal"] and identity == world.identities["Cleo"]
        return None if mean else let_in(profile, group, identity, *given)

    def takes(profile: Profile, *given: Any) -> None:
        if profile.account.identity != world.identities["Mal"]:
            take(profile, *given)

    with patch.object(restarts, "let_in", lets_in), patch.object(restarts, "_take", takes):
        world.cut([mal, back], [bob, cleo])
        for device in (mal, bob):
            assert device.call(lambda calls: calls.chat_restart(old)).asks == ""
        world.run(20)
        world.heal()
        world.settle()
        honest: tuple[Device, ...] = (back, bob, cleo)
        for device in honest:
            device.send(CLUB, f"from {device.owner}")
            world.settle()
        said = [f"from {device.owner}" for device in honest]
        assert all(world.texts(device, CLUB)[-3:] == said for device in honest)
        assert len({device.space(CLUB).id for device in honest}) == 1
        assert all(waits(device) == [] for device in honest), "where people write nobody is missing but who stays out"
        world.keeps_promises()


def waits(device: Device) -> list[str]:
    """Who is meant and did not come into the group in which this device writes, the one who means ill left out."""
    found = chats.members(device.engine.profile, chat_id(device.space(CLUB).id)).members
    mal = identity_id(device.world.identities["Mal"])
    return [member.name for member in found if member.state == "invited" and member.id != mal]
