"""Stories of people who lost every device and come back with their 24 words."""

from __future__ import annotations

from functools import partial

import pytest

from identity.recovery import copy_counter, copy_maker
from sync.engine.effects import DeviceChanged
from sync.engine.recovery.copies import Copies
from sync.engine.recovery.messages import COPY
from sync.service.ids import device_id
from sync.store.memory import When
from sync.store.port import Table
from tests.support.device import Device
from tests.support.world import World

SEEDS = (1, 2)


def notices(device: Device) -> str:
    return " ".join(event.notice for event in device.events if isinstance(event, DeviceChanged))


def back(device: Device) -> bool:
    return device.up and device.knows("Bob")


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


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thief_with_the_phone_is_out_once_the_words_are_used(seed: int) -> None:
    """The stolen phone is on all the time; what is written after its author knows better opens nowhere there."""
    world = World(seed, dht=True)
    stolen, bob = world.person("Ada"), world.person("Bob")
    world.friends(stolen, bob)
    bob.send("Ada", "before")
    world.settle()
    world.run(10)
    new = world.recover("Ada")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    bob.send("Ada", "not for a thief")
    new.send("Bob", "nor this")
    world.settle()
    assert stolen.engine.profile.out and "shut out of your account" in notices(stolen)
    assert world.texts(stolen, "Bob") == ["before"]
    assert world.texts(new, "Bob") == ["before", "not for a thief", "nor this"]
    assert not any(place.device == stolen.engine.profile.account.device for place in bob.space("Ada").state.roster)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_device_that_was_left_at_home_gives_its_copy_and_is_linked_anew(seed: int) -> None:
    """Nobody else is about: the old desktop is found by the record of own devices."""
    world = World(seed, dht=True)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    world.settle()
    world.run(10)
    bob.stop()
    lose(world, phone)
    new = world.recover("Ada")
    world.run_until(lambda: "Recovered: 1 contact and 1 chat" in notices(new), "finding the copy", 900)
    assert desk.engine.profile.out
    bob.boot()
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    tablet = world.link(new, "tablet")
    bob.send("Ada", "both of you")
    world.settle()
    assert world.texts(new, "Bob") == world.texts(tablet, "Bob") == ["both of you"]
    assert "both of you" not in world.texts(desk, "Bob")


def test_without_anybody_awake_the_identity_is_there_and_the_search_goes_on() -> None:
    world = World(3, dht=True)
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    world.settle()
    world.run(10)
    bob.stop()
    lose(world, phone)
    new = world.recover("Ada")
    new.send("notes", "alone for now")
    world.run(600)
    before = new.engine.recovery.recovering
    assert not new.engine.profile.view.contacts and before is not None
    bob.boot()
    world.run_until(lambda: new.knows("Bob"), "coming back", 1500)
    world.run(90)
    assert new.store.get(Table.META, b"recovering") is None  # the phrase's keys are forgotten
    world.run(30)
    assert new.engine.recovery.keepers() == [world.identities["Bob"]]


@pytest.mark.parametrize("when", list(When))
def test_a_kill_at_any_store_call_of_coming_back_loses_nothing(when: When) -> None:
    for kill in (2, 19, 41):
        world = World(kill, dht=True)
        phone, bob = world.person("Ada"), world.person("Bob")
        world.friends(phone, bob)
        bob.send("Ada", "before")
        world.settle()
        world.run(10)
        lose(world, phone)
        new = world.recover("Ada")
        world.restart_after = lambda device: 1.0
        new.misfortune.crash_in, new.misfortune.when = kill, when
        world.run_until(partial(back, new), f"coming back after a kill at {kill}", 1500)
        new.misfortune.crash_in = None
        world.settle()
        assert world.texts(new, "Bob") == ["before"]


def test_words_of_somebody_else_bring_nothing_of_mine() -> None:
    world = World(5, dht=True)
    ada, bob, eve = world.person("Ada"), world.person("Bob"), world.person("Eve")
    world.friends(ada, bob)
    world.friends(eve, bob)
    world.run(10)
    new = world.recover("Eve")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    assert new.engine.profile.view.contacts.keys() == {world.identities["Bob"]}
    assert not ada.engine.profile.out and eve.engine.profile.out


def test_a_copy_that_nobody_asked_for_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes of a contact once made a device send its whole copy to everybody it was connected to."""
    world = World(8, dht=True)
    ada, bob, eve = world.person("Ada"), world.person("Bob"), world.person("Eve")
    world.friends(ada, bob)
    world.friends(ada, eve)
    world.run(10)
    given: list[bytes] = []
    monkeypatch.setattr(Copies, "give", lambda self, peer, sealed: given.append(sealed))
    me = ada.engine.profile.account.device
    (peer,) = [peer for peer in eve.engine.peers.values() if peer.device == me]
    for body in (b"", bytes(40), bytes(4096)):
        eve.do(lambda engine, body=body: peer.mux.send(peer.main, COPY, body))  # type: ignore[misc]
    world.settle()
    assert given == [] and ada.engine.faults == []


def test_a_device_that_comes_back_asks_each_connection_once() -> None:
    """It once asked again at every answer, for as long as it waited for a newer copy."""
    world = World(9, dht=True)
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    world.run(10)
    lose(world, phone)
    new = world.recover("Ada")
    world.run_until(partial(back, new), "coming back", 900)
    before = world.trace.count["datagram"]
    world.run(20)
    assert world.trace.count["datagram"] - before < 600


def test_a_device_that_is_lost_before_it_was_let_in_leaves_word_of_who_may_let_the_next_one_in() -> None:
    """Its copy once named nobody, and replaced the one that did."""
    world = World(10, dht=True)
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    eve = world.person("Eve")
    world.friends(phone, eve)
    world.run(40)
    lose(world, phone)
    mine = b"kept/" + world.identities["Ada"]
    bob.do(lambda engine: engine.profile.context.batch.delete(Table.META, mine))  # only Eve has a copy
    bob.stop()
    first = world.recover("Ada", "first")
    world.run_until(lambda: first.knows("Eve"), "coming back", 900)
    world.run(90)
    lose(world, first)
    second = world.recover("Ada", "second")
    world.run_until(lambda: second.knows("Eve"), "coming back again", 900)
    world.run(30)
    eve.stop()
    bob.boot()
    world.run_until(lambda: second.knows("Bob"), "the first friend", 900)


def test_a_copy_of_a_device_that_was_shut_out_gives_way_however_high_it_counted() -> None:
    """A clock ten years ahead is enough for that."""
    world = World(11, dht=True)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    desk.stop()
    phone.stop()
    phone.skew = 3650 * 86_400.0
    phone.boot()
    world.friends(phone, world.person("Eve"))
    world.run(10)
    ada = phone.engine.profile.account.identity
    held = bob.engine.recovery.copies.kept(ada)
    assert held is not None and copy_counter(held.copy) > (bob.now + 86_400) * 1000
    world.cut(phone, bob)
    desk.boot()
    world.run(10)
    desk.call(lambda calls: calls.device_revoke(device_id(phone.engine.profile.account.device)))
    world.run(20)
    kept = bob.engine.recovery.copies.kept(ada)
    assert kept is not None and copy_maker(kept.copy) == desk.engine.profile.account.keys.agreement.public
