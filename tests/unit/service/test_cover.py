"""What the service says about chats that a quantum computer could read one day, and who is the reason."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from apps.cli.human import render
from identity.kem import Kem, installed, is_hybrid
from sync.service import models, profiles
from sync.service.ids import chat_id, message_id
from sync.service.messages import MessageCalls
from sync.service.status import uncovered
from sync.space import timeline
from sync.space.epochs import open_epoch
from sync.space.space import Space
from tests.support.device import NOTES, Device
from tests.support.kem import SIMULATED
from tests.support.world import World

SENTENCE = "A recording of this chat could be read by a quantum computer one day: {} the newer keys."


@pytest.fixture
def world() -> World:
    return World("cover")


def without(world: World, *names: str) -> None:
    """Devices of these names run on a platform that has no ML-KEM."""
    make = world._device

    def made(owner: str, kind: str) -> Device:
        device = make(owner, kind)
        device.kem = None if device.name in names else SIMULATED
        return device

    world._device = made  # type: ignore[method-assign]


def listed(device: Device, space: Space) -> models.Chat:
    chats: models.Chats = device.call(lambda calls: calls.chats())
    return next(chat for chat in chats.chats if chat.id == chat_id(space.id))


def reopen(device: Device, other: Device) -> None:
    """What becomes due by age."""
    open_epoch(device.space(other), int(device.now * 1000))


def messages(device: Device, space: Space) -> list[models.Message]:
    chat = chat_id(space.id)
    ids = [message_id(row.id) for row in timeline.page(device.store, space.id, 50)]
    return [device.call(partial(MessageCalls.message, id=id_, chat=chat)) for id_ in ids]


def test_chats_of_devices_with_the_newer_keys_are_covered(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "hello")
    world.settle()
    for device, other in ((ada, bob), (bob, ada)):
        chat = listed(device, device.space(other))
        assert chat.covered and chat.reason == ""
        said = messages(device, device.space(other))
        assert [(one.text, one.covered, one.reason) for one in said] == [("hello", True, "")]


def test_one_device_without_them_is_named_wherever_the_chat_is_shown(world: World) -> None:
    without(world, "Bob-phone")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "hello")
    world.settle()
    said = SENTENCE.format("a device of Bob lacks")
    space = ada.space(bob)
    chat = listed(ada, space)
    assert (chat.covered, chat.reason) == (False, said)
    members = ada.call(lambda calls: calls.chat_members(chat.id))
    assert (members.covered, members.reason) == (False, said)
    assert {one.name: one.covered for one in members.members} == {"Ada": True, "Bob": False}
    assert said in render(members, colour=False)
    (message,) = messages(ada, space)
    assert (message.covered, message.reason) == (False, said)
    assert "not covered" in render(models.Messages(messages=[message], more=False), colour=False)
    (shown,) = uncovered(ada.engine.profile)
    assert (shown.chat, shown.title, shown.reason) == (chat.id, "Bob", said)
    assert listed(bob, bob.space(ada)).reason == SENTENCE.format("this device lacks")
    assert listed(ada, ada.space(NOTES)).covered, "chats that it is not in are covered"


def test_once_its_platform_has_them_the_next_epoch_covers_the_chat(world: World) -> None:
    without(world, "Bob-phone")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "open")
    world.settle()
    bob.stop()
    bob.kem = SIMULATED
    bob.boot()
    world.settle()
    ada.do(lambda engine: reopen(ada, bob))
    ada.send(bob, "closed")
    world.settle()
    space = ada.space(bob)
    assert listed(ada, space).covered
    found = {one.text: one.covered for one in messages(ada, space)}
    assert found == {"open": False, "closed": True}


def test_a_sentence_names_three_devices_at_most_and_each_person_once(world: World) -> None:
    without(world, *(f"{name}-phone" for name in ("Bob", "Cleo", "Dan", "Eve", "Finn")))
    ada, *others = (world.person(name) for name in ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn"))
    for other in others:
        world.friends(ada, other)
    world.grouped("club", ada, *others)
    ada.send("club", "hello")
    world.settle()
    reason = listed(ada, ada.space("club")).reason
    assert reason.endswith("and 2 more lack the newer keys.") and reason.count("a device of") == 3


def test_an_author_without_them_is_the_reason_and_nobody_else(world: World) -> None:
    without(world, "Ada-phone")
    ada, bob, cleo = world.person("Ada"), world.person("Bob"), world.person("Cleo")
    world.friends(ada, bob)
    world.friends(ada, cleo)
    world.grouped("club", ada, bob, cleo)
    ada.send("club", "hello")
    bob.send("club", "hello to you")
    world.settle()
    assert listed(ada, ada.space("club")).reason == SENTENCE.format("this device lacks")
    for other in (bob, cleo):
        assert listed(other, other.space("club")).reason == SENTENCE.format("a device of Ada lacks")
        assert world.texts(other, "club") == ["hello", "hello to you"]


def test_a_profile_on_disk_has_the_librarys_keys_and_covered_chats(tmp_path: Path) -> None:
    async def story() -> None:
        await profiles.create_profile(tmp_path / "ada", "a passphrase", name="Ada")
        async with profiles.open_service(tmp_path / "ada", "a passphrase") as service:
            (notes,) = (await service.chats()).chats
            sent = await service.send(notes.id, "hello")
            assert notes.covered and (await service.message(sent.id)).covered
            assert (await service.status()).uncovered == []
            profile = service._profile
            keys = profile.account.keys.prekey
            assert keys.kem is not None and keys.kem.public == must(installed()).public(keys.kem.seed)
            assert profile.recovery is not None and is_hybrid(profile.recovery)
            epochs = [epoch for space in profile.spaces.values() for epoch in space.state.epochs.values()]
            assert len(epochs) >= 2 and not any(epoch.classical for epoch in epochs)

    asyncio.run(story())


def must(kem: Kem | None) -> Kem:
    assert kem is not None
    return kem
