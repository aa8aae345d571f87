"""Forgetting: what I delete for me alone is gone from my devices, and only from mine."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from random import Random

import pytest

from crdt.docs.chat import Message as ChatMessage
from sync.engine.twins import twins_of
from sync.service.ids import chat_id, identity_id, message_id
from sync.service.messages import shown
from sync.space.epochs import open_epoch
from sync.space.feed import EntryState
from sync.space.forgetting import AT_ONCE
from sync.space.space import Space
from sync.store.memory import MemoryStore, When
from tests.simulation.test_branches import forked, meet, remove
from tests.simulation.test_twins import chats, crossed, in_each
from tests.simulation.test_twins import read as page_of
from tests.support.device import NOTES, Device, Died
from tests.support.readable import openers, readable, record
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
    feed = tablet.space(bob).feed_store.feeds[bob.feed("Ada").core]
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


def test_who_restores_an_older_backup_gets_what_comes_after_what_i_forgot() -> None:
    """The forgotten message is gone for both; it holds back neither later ones nor the word that they came."""
    world, phone, _, bob = pair("older")
    world.settle()
    bob.stop()
    backup = bob.store.reopen()
    bob.boot()
    message = phone.send(bob, SECRET)
    phone.send(bob, "between")
    world.settle()
    phone.delete(bob, message, everyone=False)
    world.settle()
    bob.stop()
    world.forget(bob.name)
    again = world.restored(backup, "Bob", "again")
    world.run(60)
    phone.send("Bob", "after")
    world.run(60)
    assert world.texts(again, "Ada") == ["between", "after"]
    assert [one.state for one in world.of(phone, "Bob") if one.text in ("between", "after")] == ["delivered"] * 2
    assert world.outbox(phone) == []


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


def test_a_copy_that_comes_in_another_chat_with_the_same_person_is_not_kept() -> None:
    world, ada, bob = crossed("twins")
    one, other = twins_of(bob.engine.profile, bob.space(ada))
    nonce, again = bob.rng(16), bob.rng(16)
    put_in(bob, one, nonce, SECRET)
    put_in(bob, one, again, SECRET + " again")
    world.settle()
    (chat,), (message, _) = chats(ada), page_of(ada).messages
    ada.call(lambda calls: calls.delete(chat.id, message.id, everyone=False))
    ada.call(lambda calls: calls.delete_chat(chat.id))
    world.settle()
    assert read(ada) == []
    put_in(bob, other, nonce, SECRET)
    put_in(bob, other, again, SECRET + " again")
    world.settle()
    assert read(ada) == []
    in_each(bob, ada, "new")
    world.settle()
    assert [one.text for one in page_of(ada).messages] == ["new"]
    assert len(page_of(bob).messages) == 3


def put_in(device: Device, space: Space, nonce: bytes, text: str) -> None:
    profile = device.engine.profile
    device.do(lambda engine: profile.write(space, [[ChatMessage(nonce, text)]], int(device.now * 1000)))


@pytest.mark.parametrize("mode", ["messages", "control"])
def test_both_branches_of_a_fork_go_with_their_chat(mode: str) -> None:
    world, ada, bob, mal, copy = forked(43, mode)
    meet(world, mal, copy)
    remove(bob, "Mal")
    world.run(60)
    assert {"from the copy", "from the original"} <= set(world.texts(ada, CLUB))
    delete_chat(ada, CLUB)
    world.run(60)
    assert [read(ada, text) for text in ("from the copy", "from the original", "bob answers")] == [[], [], []]
    assert world.texts(ada, CLUB) == []
    ada.restart()
    world.run(30)
    assert [read(ada, text) for text in ("from the copy", "from the original", "bob answers")] == [[], [], []]
    assert {"from the copy", "bob answers"} <= set(world.texts(bob, CLUB))


@pytest.mark.parametrize("deleter", ["Ada", "Bob"])
def test_what_is_deleted_for_everyone_goes_from_either_branch_of_a_fork(deleter: str) -> None:
    world, ada, bob, mal, copy = forked(43, "messages")
    meet(world, mal, copy)
    remove(bob, "Mal")
    bob.call(lambda calls: calls.chat_admin(chat_id(bob.space(CLUB).id), identity_id(world.identities["Ada"])))
    world.run(60)
    by = ada if deleter == "Ada" else bob
    (message,) = [message_id(row.id) for row in by.rows(CLUB) if row.text == "from the copy"]
    by.delete(CLUB, message)
    world.run(60)
    for _ in range(2):
        for device in (ada, bob):
            device.stop()
        for device in (mal, copy):
            assert not device.up
        world.sleep(4)
        for device in (ada, bob):
            device.boot()
        world.run(60)
    assert [read(device, "from the copy") for device in (ada, bob)] == [[], []]
    assert "bob answers" in world.texts(ada, CLUB) and "ada answers" in world.texts(bob, CLUB)


def test_thousands_of_messages_go_in_slices_and_go_on_after_a_power_cut() -> None:
    world, phone, desk, bob = pair("slices")
    space = bob.space("Ada")
    for _ in range(4):
        write_many(bob, space, AT_ONCE // 2)
        world.settle()
    desk.stop()
    chat = phone.space(bob)
    phone.call(lambda calls: calls.delete_chat(chat_id(chat.id)))
    left = sum(not row.deleted for row in phone.rows(bob))
    assert 0 < left < 2 * AT_ONCE, "a tick forgets a part"
    phone.crash()
    phone.boot()
    world.settle()
    assert read(phone) == []
    desk.boot()
    world.settle()
    assert read(desk) == [] and len(world.texts(bob, "Ada")) == 2 * AT_ONCE


def write_many(device: Device, space: Space, many: int) -> None:
    values = [[ChatMessage(device.rng(16), f"{SECRET} {number}")] for number in range(many)]
    device.do(lambda engine: engine.profile.write(space, values, int(device.now * 1000)))


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
@pytest.mark.parametrize("flow", ["for me", "for everyone", "chat"])
def test_a_deletion_that_a_power_cut_interrupts_anywhere_is_whole_or_not_at_all(flow: str, when: When) -> None:
    """The lights go out at one store call after the other, on the device that deletes and on the one that hears."""
    world, phone, desk, bob = pair(f"power cut {flow} {when}")
    for striking in (phone, desk):
        for kill in count(step=6 if striking is desk else 1):
            message = phone.send(bob, f"{SECRET} {kill}")
            world.settle()
            striking.misfortune.crash_in, striking.misfortune.when = kill, when
            with suppress(Died):
                delete(flow, phone, bob, message)
            world.run(2)
            struck = striking.misfortune.crash_in is None
            striking.misfortune.crash_in = None
            world.heal().settle()
            for device in (phone, desk):
                there = f"{SECRET} {kill}" in world.texts(device, bob)
                assert there == bool(read(device, f"{SECRET} {kill}")), f"{device} after a cut at call {kill}"
            if world.texts(phone, bob):
                delete(flow, phone, bob, message)
                world.settle()
            assert read(phone) == read(desk) == world.texts(phone, bob) == world.texts(desk, bob) == []
            if not struck:
                break
    assert bool(read(bob)) == (flow != "for everyone")


def delete(flow: str, device: Device, chat: Device, message: str) -> None:
    if flow == "chat":
        delete_chat(device, chat)
    else:
        device.delete(chat, message, everyone=flow == "for everyone")


@pytest.mark.parametrize("flow", ["for me", "for everyone", "chat"])
def test_no_key_that_is_left_opens_bytes_that_somebody_kept_once_the_window_has_passed(flow: str) -> None:
    """Until then the epoch's key and the grant that gives it do, which the threat model says; no message key does."""
    world, phone, desk, bob = pair(f"kept {flow}")
    message = phone.send(bob, SECRET)
    world.settle()
    (kept,) = record(phone.engine.profile, SECRET)
    assert openers(phone.engine.profile, kept) == {"message key", "epoch", "grant"}
    delete(flow, phone, bob, message)
    world.settle()
    for device in (phone, desk):
        assert openers(device.engine.profile, kept) == {"epoch", "grant"}
        assert read(device) == []
    if flow == "for everyone":
        assert openers(bob.engine.profile, kept) == {"epoch", "grant"}
    phone.do(lambda engine: open_epoch(phone.space(bob), ms(phone)))
    world.settle()
    for _ in range(11):  # weeks
        for device in world.devices:
            device.stop()
        world.sleep(7)
        world.heal().settle()
    assert openers(phone.engine.profile, kept) == openers(desk.engine.profile, kept) == set()
    assert bool(openers(bob.engine.profile, kept)) == (flow != "for everyone")


def ms(device: Device) -> int:
    return int(device.now * 1000)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_a_text_that_was_deleted_is_never_seen_again(seed: int) -> None:
    """Two devices of Ada and two of Bob write, edit, react, delete, sleep, lose power and go back to a backup."""
    luck = Random(seed)
    world = World(f"histories {seed}")
    ada = list(world.linked("Ada", 2))
    bob = list(world.linked("Bob", 2))
    world.friends(ada[0], bob[0])
    said: dict[str, list[str]] = {}  # message -> every text that it ever had
    gone: dict[str, set[str]] = {
        "Ada": set(),
        "Bob": set(),
    }  # owner -> texts deleted for them, as far as they were told
    backup: MemoryStore | None = None
    restored = False
    for step in range(60):
        owner, mine, theirs = luck.choice((("Ada", ada, "Bob"), ("Bob", bob, "Ada")))
        device = luck.choice(mine)
        act = luck.choice(("send", "send", "edit", "react", "me", "me", "everyone", "chat", "sleep", "power", "backup"))
        if not device.up:
            device.boot()
            continue
        seen = [row for row in device.rows(theirs) if shown(device.engine.profile, device.space(theirs), row)]
        standing = [row for row in seen if not row.deleted]
        own = [row for row in standing if message_id(row.id) in said and row.text.startswith(owner)]
        if act == "send":
            text = f"{owner} says {step} kelp"
            said[device.send(theirs, text)] = [text]
        elif act == "edit" and own:
            message = message_id(luck.choice(own).id)
            said[message].append(f"{owner} edits {step} kelp")
            device.edit(theirs, message, said[message][-1])
        elif act == "react" and standing:
            device.react(theirs, message_id(luck.choice(standing).id), "🐦")
        elif act == "me" and standing:
            message = message_id(luck.choice(standing).id)
            device.delete(theirs, message, everyone=False)
            gone[owner].update(said[message])
        elif act == "everyone" and own:
            message = message_id(luck.choice(own).id)
            device.delete(theirs, message)
            gone["Ada"].update(said[message])
            gone["Bob"].update(said[message])
        elif act == "chat" and standing and luck.random() < 0.3:
            delete_chat(device, theirs)
            gone[owner].update(text for row in standing for text in said[message_id(row.id)])
        elif act == "sleep":
            device.stop()
        elif act == "power":
            device.crash()
        elif act == "backup" and device is ada[1]:
            if backup is None:
                backup = device.store.reopen()
            elif not restored:
                world.heal().settle()  # else others write to the device that is replaced until they know it
                device.stop()
                world.forget(device.name)
                ada[1] = world.restored(backup, "Ada", "restored")
                restored = True
                world.settle()
        if luck.random() < 0.5:
            world.run(luck.random() * 3)
    world.heal().settle()
    for owner, devices, theirs in (("Ada", ada, "Bob"), ("Bob", bob, "Ada")):
        for device in devices:
            for text in sorted(gone[owner]):
                assert text not in world.texts(device, theirs)
                assert read(device, text) == [], f"{text} on {device}"
