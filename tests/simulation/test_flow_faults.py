"""Power cuts and full disks at the store calls of revocation, removal, recovery and keeping: the flow ends the same.

A sample runs always; `make soak` strikes one call after the other, until the flow has none left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import pytest

from identity.errors import KithkinError
from sync.service.ids import chat_id, identity_id
from sync.store.memory import When
from tests.simulation.test_kept_devices import id_of, joined, keep, out
from tests.simulation.test_recovery import lose, notices
from tests.support.device import NOTES, Device, Died
from tests.support.world import World

CUT_BEFORE, CUT_AFTER, FULL = "power cut before the call", "power cut after the call", "disk full"
FAULTS = (CUT_BEFORE, CUT_AFTER, FULL)
STEP = int(os.environ.get("KITHKIN_FLOW_STEP", "1"))  # of the calls that a soak strikes


@dataclass
class Scene:
    """A world in which a flow is about to begin, and the device that is struck in it."""

    world: World
    struck: Device
    act: Callable[[], None]  # begins the flow, or goes on with it after the fault
    done: Callable[[], None]  # brings it to its end and says what must be there


def strike(device: Device, fault: str, at: int) -> None:
    luck = device.misfortune
    if fault == FULL:
        luck.full_in = at
    else:
        luck.crash_in, luck.when = at, When.BEFORE if fault == CUT_BEFORE else When.AFTER


def spared(device: Device) -> bool:
    """Whether the fault has not come yet; it does not come any more."""
    luck = device.misfortune
    left = luck.full_in is not None or luck.crash_in is not None
    luck.full_in = luck.crash_in = None
    luck.refuse_writes = 0
    return left


def revocation(seed: str) -> Scene:
    world = World(seed)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(desk, bob)
    world.grouped("Trip", desk, bob)
    bob.send("Ada", "before")
    world.settle()
    lost = id_of(phone)
    world.cut(phone, [desk, bob])

    def act() -> None:
        with suppress(KithkinError):  # it is out already
            desk.call(lambda calls: calls.device_revoke(lost))

    def done() -> None:
        world.settle()
        listed = {one.id: one.state for one in desk.call(lambda calls: calls.devices()).devices}
        assert listed == {lost: "revoked", id_of(desk): "active"}
        bob.send("Ada", "between us")
        desk.send("Trip", "and here")
        world.settle()
        world.heal()
        world.settle()
        assert out(phone) and world.texts(phone, "Bob") == ["before"] and world.texts(phone, "Trip") == []
        assert world.texts(desk, "Bob") == ["before", "between us"] and world.texts(bob, "Trip") == ["and here"]

    return Scene(world, desk, act, done)


def removal(seed: str, *, hearing: bool = False) -> Scene:
    """hearing: the one who is removed is struck, and not the one who removes."""
    world = World(seed)
    ada, bob, carol = world.person("Ada"), world.person("Bob"), world.person("Carol")
    world.friends(ada, bob)
    world.friends(ada, carol)
    world.grouped("Trip", ada, bob, carol)
    carol.send("Trip", "before")
    world.settle()
    trip, who = chat_id(ada.space("Trip").id), identity_id(world.identities["Bob"])

    def act() -> None:
        with suppress(KithkinError):
            ada.call(lambda calls: calls.chat_remove(trip, who))

    def done() -> None:
        world.settle()
        states = {one.name: one.state for one in ada.call(lambda calls: calls.chat_members(trip)).members}
        assert states == {"Ada": "active", "Bob": "removed", "Carol": "active"}
        carol.send("Trip", "without Bob")
        world.settle()
        assert world.texts(ada, "Trip") == ["before", "without Bob"] and world.texts(bob, "Trip") == ["before"]
        assert bob.engine.profile.view.chats[bob.space("Trip").id].state == "removed"

    return Scene(world, bob if hearing else ada, act, done)


def recovery(seed: str) -> Scene:
    world = World(seed, dht=True)
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "before")
    world.settle()
    world.run(10)
    lose(world, phone)
    new = world.recover("Ada", boot=False)

    def done() -> None:
        world.run_until(lambda: new.up and new.knows("Bob"), "coming back", 1500)
        world.settle()
        bob.send("Ada", "welcome back")
        world.settle()
        assert world.texts(new, "Bob") == ["before", "welcome back"]

    return Scene(world, new, lambda: None if new.up else new.boot_again(), done)


def keeping(seed: str, *, kept: bool = False) -> Scene:
    """kept: the device that stays is struck, and not the one from the words."""
    world = World(seed, dht=True)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "before")
    desk.send(NOTES, "milk")
    world.settle()
    world.run(10)
    lose(world, phone)
    new = world.recover("Ada")
    world.run_until(lambda: "Recovered" in notices(new) and out(desk), "finding the copy", 900)

    def act() -> None:
        if not new.up:
            new.boot_again()
        if id_of(desk) not in {
            one.id for one in new.call(lambda calls: calls.devices()).devices if one.state == "active"
        }:
            keep(world, new, id_of(desk))

    def done() -> None:
        world.run_until(lambda: new.up and desk.up and joined(new, desk), "moving", 1500)
        world.run(30)
        world.settle()
        desk.send("Bob", "from the desk")
        bob.send("Ada", "to both")
        world.settle()
        for device in (new, desk):
            assert sorted(world.texts(device, "Bob")) == ["before", "from the desk", "to both"]
            assert world.texts(device, NOTES) == ["milk"]

    return Scene(world, desk if kept else new, act, done)


FLOWS: dict[str, Callable[[str], Scene]] = {
    "revocation": revocation,
    "removal": removal,
    "removal, at the one who hears of it": lambda seed: removal(seed, hearing=True),
    "recovery": recovery,
    "keeping, at the new device": keeping,
    "keeping, at the kept device": lambda seed: keeping(seed, kept=True),
}


def play(flow: str, fault: str, at: int) -> bool:
    """Strikes one call of one flow; whether the flow came that far."""
    scene = FLOWS[flow](f"{flow} {at}")
    scene.world.restart_after = lambda device: 1.0
    strike(scene.struck, fault, at)
    for _ in range(3):
        with suppress(Died, KithkinError):
            scene.act()
        scene.world.run(20)
        for device in scene.world.devices:
            device.boot_again()
    struck = not spared(scene.struck)
    with suppress(Died):
        scene.act()
    scene.done()
    return struck


# A device whose power goes drops what it had just begun.
dropped = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
SAMPLE = {
    "revocation": 1,
    "removal": 1,
    "recovery": 4,
    "keeping, at the new device": 2,
    "keeping, at the kept device": 3,
}


@dropped
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("flow", SAMPLE)
def test_a_flow_that_a_fault_interrupts_ends_as_if_it_had_not_been(flow: str, fault: str) -> None:
    assert play(flow, fault, SAMPLE[flow]), "no fault struck"


@pytest.mark.soak
@dropped
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("flow", FLOWS)
def test_a_fault_at_any_store_call_of_a_flow_changes_nothing_of_its_end(flow: str, fault: str) -> None:
    reached = 0
    for at in count(step=STEP):
        if not play(flow, fault, at):
            break
        reached = at
    print(f"{flow}, {fault}: struck at each call up to {reached}")
    assert reached
