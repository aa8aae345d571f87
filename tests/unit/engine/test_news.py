"""News from two views of my lists, and from two device records: said once, of what changed, and of nothing else."""

from __future__ import annotations

from crdt.docs.own import Hidden, OwnChat, OwnContact, OwnProfile
from crdt.docs.personal import PersonalView
from sync.engine import news
from sync.engine.effects import (
    ChatChanged,
    ContactChanged,
    DeliveryChanged,
    DeviceChanged,
    ListChanged,
    MessageHidden,
    ReceiptsChanged,
)
from tests.support.world import World

ME, CHAT, OTHER, MESSAGE = (bytes([number]) * 32 for number in range(1, 5))


def view(**parts: object) -> PersonalView:
    return PersonalView(chats={CHAT: OwnChat(CHAT, on=True), OTHER: OwnChat(OTHER, on=True)}, **parts)  # type: ignore[arg-type]


def test_equal_views_tell_nothing() -> None:
    assert list(news.of_view(view(), view(), ME)) == []


def test_read_mark_changes_its_chat_in_the_list_and_no_other() -> None:
    marked = view(marks={CHAT: {"writer": 7}})
    assert list(news.of_view(view(), marked, ME)) == [ListChanged(CHAT)]


def test_hidden_message_is_told_and_its_return_too() -> None:
    hidden = view(hidden={(CHAT, MESSAGE): Hidden(CHAT, MESSAGE, on=True)})
    assert list(news.of_view(view(), hidden, ME)) == [MessageHidden(CHAT, MESSAGE, True)]
    assert list(news.of_view(hidden, view(), ME)) == [MessageHidden(CHAT, MESSAGE, False)]


def test_cleared_chat_is_told_as_cleared() -> None:
    cleared = view(cleared={CHAT: {"writer": 7}})
    assert list(news.of_view(view(), cleared, ME)) == [ListChanged(CHAT, cleared=True)]


def test_device_that_was_shut_out_is_not_told_as_linked() -> None:
    before, after = view(devices={ME: "desk"}), view(devices={ME: "desk", OTHER: "phone", CHAT: "lost"})
    told = list(news.of_view(before, after, ME, lambda device: device == CHAT))
    linked = 'A new device was linked: "phone"'
    assert DeviceChanged(OTHER, linked) in told and DeviceChanged(CHAT) in told


def test_chat_that_another_device_brought_is_told() -> None:
    before = PersonalView(chats={CHAT: OwnChat(CHAT, on=True)})
    assert list(news.of_view(before, view(), ME)) == [ChatChanged(OTHER)]


def test_contact_renamed_on_another_device_is_told() -> None:
    renamed = view(contacts={OTHER: OwnContact(OTHER, name="Bobby")})
    assert list(news.of_view(view(contacts={OTHER: OwnContact(OTHER)}), renamed, ME)) == [ContactChanged(OTHER)]


def test_an_event_about_a_whole_chat_is_said_once_and_messages_every_time() -> None:
    message = MessageHidden(CHAT, MESSAGE, True)
    assert news.once([ChatChanged(CHAT), message, ChatChanged(CHAT), message]) == [ChatChanged(CHAT), message, message]


def test_name_of_a_device_or_of_mine_changes_the_device() -> None:
    assert list(news.of_view(view(), view(profile=OwnProfile(name="Ada")), ME)) == [DeviceChanged(ME)]
    assert list(news.of_view(view(), view(devices={OTHER: "desk"}), ME)) == [DeviceChanged(ME)]


def test_phone_hears_how_far_a_message_of_the_desktop_has_come() -> None:
    world = World("news")
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    mine = desk.space(bob).mine
    assert mine is not None
    phone.events.clear()
    desk.send(bob, "from the desktop")
    world.settle()
    bob.read("Ada")
    world.settle()
    told = [event for event in phone.events if isinstance(event, DeliveryChanged) and event.core == mine.core]
    assert told and told[-1].end == mine.length
    assert ReceiptsChanged(desk.space(bob).id) in phone.events
