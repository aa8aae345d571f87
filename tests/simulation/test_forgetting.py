"""Forgetting: what I delete for me alone is gone from my devices, and only from mine."""

from __future__ import annotations

from sync.service.ids import chat_id
from sync.space.feed import EntryState
from tests.support.device import NOTES, Device
from tests.support.readable import readable
from tests.support.world import World

CLUB = "club"
SECRET = "the canary sings at noon"


def read(device: Device, text: str = SECRET) -> list[str]:
    return readable(device.engine.profile, text)


def delete_chat(device: Device, chat: str | Device) -> None:
    space = device.space(chat)
    device.call(lambda calls: calls.delete_chat(chat_id(space.id)))


def listed(device: Device) -> list[str]:
    return [chat.id for chat in device.call(lambda calls: calls.chats()).chats]


def pair(seed: str) -> tuple[World, Device, Device, Device]:
    """Ada with two devices, and Bob."""
    world = World(seed)
    (phone, desk), bob = world.linked("Ada", 2), world.person("Bob")
    world.friends(phone, bob)
    return world, phone, desk, bob


def test_what_i_delete_for_me_is_gone_from_all_my_devices_and_stays_with_others() -> None:
    world, phone, desk, bob = pair("for me")
    message = bob.send("Ada", SECRET)
    mine = phone.send(bob, SECRET + " too")
    world.settle()
    assert read(phone) and read(desk)
    phone.delete(bob, message, everyone=False)
    phone.delete(bob, mine, everyone=False)
    world.settle()
    assert read(phone) == read(desk) == []
    assert world.texts(bob, "Ada") == [SECRET, SECRET + " too"]
    for device in (phone, desk):
        device.restart()
    world.settle()
    assert read(phone) == read(desk) == []
    assert world.texts(phone, bob) == world.texts(desk, bob) == []


def test_a_deleted_chat_is_gone_and_comes_back_with_what_is_written_after_it() -> None:
    world, phone, desk, bob = pair("whole chat")
    for number in range(20):
        bob.send("Ada", f"{SECRET} {number}")
        phone.send(bob, f"{SECRET} back {number}")
    world.settle()
    delete_chat(phone, bob)
    world.settle()
    assert read(phone) == read(desk) == []
    chat = chat_id(phone.space(bob).id)
    assert chat not in listed(phone) and chat not in listed(desk)
    bob.send("Ada", "and another thing")
    world.settle()
    assert chat in listed(phone) and chat in listed(desk)
    assert world.texts(phone, bob) == world.texts(desk, bob) == ["and another thing"]
    assert len(world.texts(bob, "Ada")) == 41
    assert read(phone) == read(desk) == []


def test_edits_and_reactions_that_come_later_are_not_kept() -> None:
    world, phone, desk, bob = pair("later")
    message = bob.send("Ada", "harmless")
    world.settle()
    phone.delete(bob, message, everyone=False)
    world.settle()
    bob.edit("Ada", message, SECRET)
    bob.react("Ada", message, "🐦")
    world.settle()
    assert read(phone) == read(desk) == read(phone, "🐦") == []
    assert world.texts(bob, "Ada") == [SECRET]


def test_what_a_device_alone_holds_is_kept_sealed_for_others_until_they_have_it() -> None:
    world, phone, desk, bob = pair("alone")
    bob.stop()
    message = phone.send("Bob", SECRET)
    world.settle()
    phone.delete("Bob", message, everyone=False)
    world.settle()
    assert {*read(phone), *read(desk)} == {"message key", *(n for n in read(phone) if n.startswith("epoch"))}
    assert world.texts(phone, "Bob") == []
    bob.boot()
    world.settle()
    assert world.texts(bob, "Ada") == [SECRET]
    assert read(phone) == read(desk) == []


def test_an_own_device_that_slept_forgets_when_it_wakes() -> None:
    world, phone, desk, bob = pair("slept")
    message = bob.send("Ada", SECRET)
    world.settle()
    desk.stop()
    phone.delete(bob, message, everyone=False)
    world.settle()
    phone.stop()
    desk.boot()
    world.settle()
    assert read(desk), "nobody has told it yet"
    phone.boot()
    world.settle()
    assert read(phone) == read(desk) == []
    assert world.texts(desk, bob) == []


def test_an_own_device_that_comes_late_neither_gets_nor_waits_for_what_was_deleted() -> None:
    world, phone, _, bob = pair("late")
    message = bob.send("Ada", SECRET)
    bob.send("Ada", "stays")
    world.settle()
    phone.delete(bob, message, everyone=False)
    world.settle()
    tablet = world.link(phone, "tablet")
    bob.send("Ada", "after it")
    world.settle()
    assert read(tablet) == []
    assert world.texts(tablet, bob) == ["stays", "after it"]
    feed = tablet.space(bob).feed_store.feeds[bob.space("Ada").mine.core]  # type: ignore[union-attr]
    assert feed.opened == feed.length


def test_a_backup_that_is_restored_later_forgets_as_soon_as_it_hears_of_it() -> None:
    world, phone, desk, bob = pair("backup")
    message = bob.send("Ada", SECRET)
    world.settle()
    backup = phone.store
    phone.stop()
    kept = phone.store.reopen(phone.misfortune)
    phone.boot()
    world.settle()
    del backup
    desk.delete(bob, message, everyone=False)
    delete_chat(desk, NOTES)
    world.settle()
    phone.stop()
    world.forget(phone.name)
    again = world.restored(kept, "Ada", "again")
    world.settle()
    assert read(again) == read(desk) == []
    assert world.texts(again, bob) == []


def test_a_chat_with_myself_is_gone_at_once() -> None:
    world = World("notes")
    phone, desk = world.linked("Ada", 2)
    phone.send(NOTES, SECRET)
    world.settle()
    desk.stop()
    delete_chat(phone, NOTES)
    world.settle()
    assert read(phone) == []
    desk.boot()
    world.settle()
    assert read(desk) == []


def test_what_others_have_of_it_is_not_withheld_from_a_member_who_comes_late() -> None:
    world = World("group")
    ada, bob, cem = world.person("Ada"), world.person("Bob"), world.person("Cem")
    world.friends(ada, bob)
    world.friends(ada, cem)
    world.friends(bob, cem)
    world.grouped(CLUB, ada, bob, cem)
    cem.stop()
    bob.send(CLUB, SECRET)
    world.settle()
    delete_chat(ada, CLUB)
    world.settle()
    (row,) = ada.rows(CLUB)
    feed = ada.space(CLUB).feed_store.feeds[row.core]
    entry = ada.space(CLUB).feed_store.entry(feed, row.seq)
    assert row.deleted and row.text == ""
    assert entry is not None and entry.state is EntryState.OPENED, "Cem lacks it, and Bob may not come back"
    bob.stop()
    cem.boot()
    world.run(60)
    assert world.texts(cem, CLUB) == [SECRET]
    world.run(5)
    assert read(ada) == []
    bob.boot()
    world.settle()
    assert world.texts(bob, CLUB) == [SECRET] and read(ada) == []
