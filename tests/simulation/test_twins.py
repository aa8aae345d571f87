"""Two direct spaces of one pair of people are one chat, and a device that is in one of them misses nothing."""

from __future__ import annotations

import pytest

from crdt.docs.chat import Message
from sync.engine.effects import ContactMet, OnboardingFailed
from sync.engine.tasks import admission
from sync.engine.twins import twins_of
from sync.service import models
from sync.service.ids import chat_id, find_space
from sync.service.messages import page
from tests.support.device import Device
from tests.support.world import World


def crossed(seed: str) -> tuple[World, Device, Device]:
    """Ada and Bob accept each other's invites at the same time."""
    world = World(seed)
    ada, bob = world.person("Ada"), world.person("Bob")
    one, other = ada.invite(), bob.invite()
    for device, text in ((ada, other), (bob, one)):
        device.steps.clear()
        device.accept(text)
    world.run_until(lambda: all(done(device) for device in (ada, bob)), "both invites")
    world.settle()
    return world, ada, bob


def done(device: Device) -> bool:
    return any(isinstance(step, ContactMet | OnboardingFailed) for step in device.steps)


def chats(device: Device) -> list[models.Chat]:
    return [one for one in device.call(lambda calls: calls.chats()).chats if one.kind == "direct"]


def read(device: Device, limit: int = 50, before: str | None = None) -> models.Messages:
    (chat,) = chats(device)
    profile = device.engine.profile
    return page(profile, find_space(profile, chat.id), limit, before, None, int(device.now * 1000))


def texts(device: Device) -> list[str]:
    return [one.text for one in read(device).messages]


def in_each(device: Device, other: Device, text: str) -> str:
    """Writes into the last twin alone, as somebody does who knows no other."""
    twins = twins_of(device.engine.profile, device.space(other))
    profile = device.engine.profile
    nonce = device.rng(16)
    device.do(lambda engine: profile.write(twins[-1], [[Message(nonce, text)]], int(device.now * 1000)))
    return text


def test_two_that_invited_each_other_have_one_chat_of_two_spaces() -> None:
    world, ada, bob = crossed("crossed")
    assert [len(twins_of(one.engine.profile, one.space(other))) for one, other in ((ada, bob), (bob, ada))] == [2, 2]
    assert len(chats(ada)) == len(chats(bob)) == 1
    assert chats(ada)[0].id == chats(bob)[0].id
    ada.send(bob, "one")
    in_each(bob, ada, "two, in the other space")
    world.settle()
    ada.send(bob, "three")
    world.settle()
    for device in (ada, bob):
        assert texts(device) == ["one", "two, in the other space", "three"]
        assert chats(device)[0].preview == "three"
    assert (chats(ada)[0].unread, chats(bob)[0].unread) == (1, 2)
    (chat,) = chats(bob)
    bob.call(lambda calls: calls.mark(chat.id))
    assert chats(bob)[0].unread == 0
    newest = read(ada, limit=1)
    assert [one.text for one in newest.messages] == ["three"] and newest.more
    older = read(ada, limit=1, before=newest.messages[0].id)
    assert [one.text for one in older.messages] == ["two, in the other space"] and older.more


def test_messages_in_the_other_space_are_edited_marked_and_deleted_like_any() -> None:
    world, ada, bob = crossed("edited")
    in_each(bob, ada, "frist")
    world.settle()
    (message,), (chat,) = read(bob).messages, chats(bob)
    bob.call(lambda calls: calls.edit(chat.id, message.id, "first"))
    ada.call(lambda calls: calls.react(chats(ada)[0].id, message.id, "\N{THUMBS UP SIGN}"))
    world.settle()
    for device in (ada, bob):
        (one,) = read(device).messages
        assert (one.text, one.edited, list(one.reactions)) == ("first", True, ["\N{THUMBS UP SIGN}"])
    bob.call(lambda calls: calls.delete(chat.id, message.id, everyone=True))
    world.settle()
    assert [one.deleted for device in (ada, bob) for one in read(device).messages] == [True, True]
    in_each(bob, ada, "again")
    world.settle()
    ada.call(lambda calls: calls.delete_chat(chats(ada)[0].id))
    assert chats(ada) == []


def test_a_copy_in_each_space_is_one_message() -> None:
    world, ada, bob = crossed("copies")
    profile, nonce = bob.engine.profile, bob.rng(16)
    for twin in twins_of(profile, bob.space(ada)):
        bob.do(lambda engine, twin=twin: profile.write(twin, [[Message(nonce, "once")]], int(bob.now * 1000)))  # type: ignore[misc]
        world.run(1)
    world.settle()
    assert texts(ada) == texts(bob) == ["once"]
    assert chats(ada)[0].unread == 1


def test_a_device_that_only_the_second_space_knows_gets_old_and_new_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob's phone does not come to let his desktop into the chat before Ada invites that."""
    world = World("second")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "before the desktop")
    world.settle()
    with monkeypatch.context() as patch:
        patch.setattr(admission, "_admit_own", lambda *args: None)
        desk = world.link(bob, "desktop", settle=False)
        world.run(20)
        bob.stop()
    text = ada.invite()
    desk.steps.clear()
    desk.accept(text)
    world.run_until(lambda: done(desk), "the desktop's invite")
    world.run(30)
    ada.send(bob, "after the desktop")
    world.run(30)
    assert len(twins_of(ada.engine.profile, ada.space(bob))) == 2
    assert texts(desk) == texts(ada) == ["before the desktop", "after the desktop"]
    bob.boot()
    world.settle()
    assert texts(bob) == texts(desk) == texts(ada) == ["before the desktop", "after the desktop"]
    assert {one.state for one in read(ada).messages} == {"delivered"}
    assert chat_id(min(t.id for t in twins_of(bob.engine.profile, bob.space(ada)))) == chats(bob)[0].id
