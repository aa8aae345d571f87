"""Invites that break off: whatever was lost, both have one chat or neither has one, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from identity.inner import SESSION
from netstack.udp.port import Address
from sync.engine.effects import ContactMet, OnboardingFailed
from sync.engine.joining import GRACE
from tests.support.device import Device
from tests.support.world import World

DAY = 86_400.0


def pair(seed: str) -> tuple[World, Device, Device]:
    world = World(seed)
    return world, world.person("Ada"), world.person("Bob")


def cut_after(world: World, datagrams: int, one: Device, other: Device) -> Callable[[], bool]:
    """Cuts the wire once so many datagrams were sent.  Returns whether it has been cut."""
    real, sent = world.transmit, [0]

    def transmit(sender: Device, target: Address, data: bytes) -> None:
        sent[0] += 1
        if sent[0] == datagrams + 1:
            world.cut(one, other)
        real(sender, target, data)

    world.transmit = transmit  # type: ignore[method-assign]
    return lambda: sent[0] > datagrams


def left_over(device: Device) -> set[bytes]:
    """Spaces that stand in no list."""
    profile = device.engine.profile
    return set(profile.spaces) - set(profile.view.chats) - {profile.personal.id}


def contacts(device: Device) -> list[str]:
    return [one.name for one in device.call(lambda calls: calls.contacts()).contacts]


def over(device: Device) -> bool:
    return any(isinstance(step, ContactMet | OnboardingFailed) for step in device.steps)


def datagrams_of_an_invite() -> int:
    """How many datagrams pass until a contact is there."""
    world, ada, bob = pair("steps")
    text = ada.invite()
    sent = [0]
    real = world.transmit

    def transmit(sender: Device, target: Address, data: bytes) -> None:
        sent[0] += 1
        real(sender, target, data)

    world.transmit = transmit  # type: ignore[method-assign]
    bob.steps.clear()
    bob.accept(text)
    world.run_until(lambda: over(bob), "an invite")
    world.settle()
    return sent[0]


ALL = datagrams_of_an_invite()


@pytest.mark.parametrize("step", range(0, ALL, 3))
def test_an_invite_cut_off_anywhere_goes_on_once_the_line_is_back(step: int) -> None:
    world, ada, bob = pair("steps")
    text = ada.invite()
    bob.steps.clear()
    cut_after(world, step, ada, bob)
    bob.accept(text)
    world.run(30)
    world.heal()
    world.run_until(lambda: over(bob), "an end", 2 * SESSION)
    world.settle()
    assert contacts(bob) == ["Ada"] and contacts(ada) == ["Bob"]
    assert left_over(ada) == left_over(bob) == set()
    bob.send(ada, "here I am")
    ada.send(bob, "and I")
    world.settle()
    assert world.texts(ada, bob) == world.texts(bob, ada) == ["here I am", "and I"]


@pytest.mark.parametrize("step", range(1, ALL, 4))
def test_an_invite_cut_off_for_good_leaves_nothing_behind(step: int) -> None:
    world, ada, bob = pair("steps")
    text = ada.invite()
    bob.steps.clear()
    cut = cut_after(world, step, ada, bob)
    bob.accept(text)
    world.run_until(lambda: over(bob), "an end", 2 * SESSION)
    if not cut():
        assert contacts(bob) == ["Ada"]  # it was over before
    ada.stop()
    bob.stop()
    world.sleep((DAY + GRACE) / DAY + 1)
    ada.boot()
    bob.boot()
    world.run(5)
    assert left_over(bob) == left_over(ada) == set()
    assert bob.engine.profile.joinings == {}
    bob.restart()
    assert left_over(bob) == set()


@pytest.mark.parametrize("step", range(0, ALL, 8))
def test_an_invitee_that_loses_its_power_anywhere_is_a_contact_after_another_try(step: int) -> None:
    world, ada, bob = pair("steps")
    text = ada.invite()
    cut_after(world, step, ada, bob)
    bob.accept(text)
    world.run(5)
    bob.crash()
    world.run(30)
    world.heal()
    world.run(30)
    if not contacts(bob):
        bob.steps.clear()
        bob.accept(text)
        world.run_until(lambda: over(bob), "the second try")
    world.settle()
    assert contacts(bob) == ["Ada"] and contacts(ada) == ["Bob"]
    assert left_over(ada) == left_over(bob) == set()
    bob.send(ada, "at last")
    world.settle()
    assert world.texts(ada, bob) == ["at last"]


def answered_and_cut(step: int) -> tuple[World, Device, Device]:
    """Cut off after so many datagrams, until the invitee gave up."""
    world, ada, bob = pair("steps")
    text = ada.invite()
    bob.steps.clear()
    cut_after(world, step, ada, bob)
    bob.accept(text)
    world.run_until(lambda: over(bob), "an end", 2 * SESSION)
    return world, ada, bob


def test_an_answer_that_arrived_makes_a_contact_though_nobody_said_so() -> None:
    """JOIN arrived, DONE did not, and the invitee gave up: the inviter's device comes by, and both have the chat."""
    found = 0
    for step in range(ALL):
        world, ada, bob = answered_and_cut(step)
        if contacts(ada) != ["Bob"] or contacts(bob):
            continue
        found += 1
        world.heal()
        world.run(400)
        world.settle()
        assert contacts(bob) == ["Ada"] and left_over(bob) == set()
    assert found
