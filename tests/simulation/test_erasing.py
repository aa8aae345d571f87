"""Erasing: when the bytes of what was deleted are gone, from whom, and what late devices learn."""

from __future__ import annotations

from crdt.docs.chat import Message as ChatMessage
from crdt.docs.deletion import Block, Deletion, encode_deletion
from crdt.log.entry import Kind
from crdt.log.merkle import leaf_of
from crdt.space.control import Unknown
from sync.service import messages
from sync.space.epochs import write_control
from sync.space.erasing import GRACE_MS
from sync.space.feed import EntryState
from sync.space.outbound import Draft
from sync.space.space import Space
from sync.store.port import Table
from tests.support.device import Device
from tests.support.readable import readable
from tests.support.world import World

CLUB = "club"
SECRET = "the canary sings at noon"


def holds(device: Device, text: str = SECRET) -> list[str]:
    """Tables of a device's store in which a text stands, in the clear or under a message key that is kept."""
    found = []
    for table in Table:
        for key, value in device.store.scan(table):
            if text.encode() in key + value:
                found.append(table.name)
    return sorted(set(found))


def state_at(device: Device, space: Space, core: bytes, seq: int) -> str:
    feed = device.engine.profile.spaces[space.id].feed_store.feeds[core]
    entry = device.engine.profile.spaces[space.id].feed_store.entry(feed, seq)
    return entry.state.name if entry is not None else "absent"


def ms(device: Device) -> int:
    return int(device.now * 1000)


def trio(seed: str) -> tuple[World, Device, Device, Device]:
    world = World(seed)
    ada, bob, cem = world.person("Ada"), world.person("Bob"), world.person("Cem")
    world.friends(ada, bob)
    world.friends(ada, cem)
    world.friends(bob, cem)
    world.grouped(CLUB, ada, bob, cem)
    return world, ada, bob, cem


def sleep(world: World, days: float) -> None:
    """Nobody is on for so long; then everybody is."""
    for device in world.devices:
        if device.up:
            device.stop()
    world.sleep(days)
    world.heal().settle()


def erased(device: Device, chat: str | Device) -> list[tuple[int, int]]:
    """Of each deleted message in a chat: on how many devices it is erased, of how many."""
    page = messages.page(device.engine.profile, device.space(chat), 50, None, None, ms(device)).messages
    return [(m.erased.devices, m.erased.of_devices) for m in page if m.erased is not None]


def test_what_its_author_deletes_for_everyone_is_erased_on_every_device() -> None:
    world, ada, bob, cem = trio("author")
    message = bob.send(CLUB, SECRET)
    world.settle()
    (row,) = ada.rows(CLUB)
    assert all(holds(device) for device in (ada, bob, cem))
    bob.delete(CLUB, message)
    world.settle()
    assert [holds(device) for device in (ada, bob, cem)] == [[], [], []]
    assert {state_at(device, bob.space(CLUB), row.core, row.seq) for device in (ada, bob, cem)} == {"CLEARED"}
    assert erased(bob, CLUB) == [(3, 3)]
    for device in (ada, bob, cem):
        device.restart()
    world.settle()
    assert [holds(device) for device in (ada, bob, cem)] == [[], [], []]


def test_edits_of_a_deleted_message_are_erased_too() -> None:
    world, ada, bob, _ = trio("edits")
    message = bob.send(CLUB, "first draft")
    world.settle()
    bob.edit(CLUB, message, SECRET)
    world.settle()
    bob.delete(CLUB, message)
    world.settle()
    assert holds(ada) == holds(bob) == []


def test_what_an_admin_deletes_of_a_member_is_hidden_at_once_and_erased_after_seven_days() -> None:
    world, ada, bob, cem = trio("admin")
    message = bob.send(CLUB, SECRET)
    world.settle()
    ada.delete(CLUB, message)
    world.settle()
    assert world.texts(cem, CLUB) == []
    assert holds(cem) and holds(bob)
    assert erased(ada, CLUB) == [(0, 3)]
    sleep(world, GRACE_MS / 86_400_000 + 0.1)
    assert [holds(device) for device in (ada, bob, cem)] == [[], [], []]
    assert erased(ada, CLUB) == [(3, 3)]


def test_a_device_that_slept_erases_when_it_comes_back_and_until_then_does_not_count() -> None:
    world, ada, bob, cem = trio("slept")
    message = bob.send(CLUB, SECRET)
    world.settle()
    cem.stop()
    bob.delete(CLUB, message)
    world.settle()
    assert erased(bob, CLUB) == [(2, 3)]
    cem.boot()
    world.settle()
    assert holds(cem) == [] and erased(bob, CLUB) == [(3, 3)]
    assert holds(ada) == []


def test_a_device_that_never_got_the_bytes_confirms_that_they_are_gone() -> None:
    world, ada, bob, cem = trio("never got")
    cem.stop()
    message = bob.send(CLUB, SECRET)
    world.settle()
    bob.delete(CLUB, message)
    world.settle()
    assert erased(bob, CLUB) == [(2, 3)]
    cem.boot()
    world.settle()
    assert holds(cem) == [] and erased(bob, CLUB) == erased(ada, CLUB) == [(3, 3)]


def test_a_new_device_gets_nothing_of_what_was_deleted_before() -> None:
    world = World("new device")
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    message = bob.send(phone, SECRET)
    world.settle()
    bob.delete(phone, message)
    world.settle()
    desk = world.link(phone, "desktop")
    world.settle()
    bob.send("Ada", "after it")
    world.settle()
    assert holds(desk) == []
    assert world.texts(desk, bob) == ["after it"]
    feed = desk.space(bob).feed_store.feeds[bob.feed("Ada").core]
    assert feed.opened == feed.length


def test_where_rules_are_unknown_authors_and_lifetimes_erase_and_admins_do_not() -> None:
    """Who may delete what others wrote could be another question by then; what is one's own cannot."""
    world, ada, bob, cem = trio("stopped")
    mine, other = cem.send(CLUB, SECRET), bob.send(CLUB, SECRET + " of Bob")
    disappearing(bob, CLUB, SECRET + " for a while", 3600)
    world.settle()
    cem.delete(CLUB, mine)
    ada.delete(CLUB, other)
    ada.do(lambda engine: write_control(ada.space(CLUB), [Unknown(11, b"rule of tomorrow")], ms(ada)))
    world.settle()
    assert cem.space(CLUB).state.stopped
    assert world.texts(cem, CLUB) == [SECRET + " for a while"], "all of it is hidden"
    sleep(world, GRACE_MS / 86_400_000 + 1.5)
    profile = cem.engine.profile
    assert [readable(profile, text) for text in (SECRET + " for a while",)] == [[]]
    assert "message key" in readable(profile, SECRET + " of Bob")
    cem.restart()
    world.settle()
    assert "message key" in readable(cem.engine.profile, SECRET + " of Bob")


def test_whoever_has_no_right_erases_nothing() -> None:
    world, ada, bob, cem = trio("no right")
    bob.send(CLUB, SECRET)
    world.settle()
    (row,) = cem.rows(CLUB)
    space = cem.space(CLUB)
    entry = space.feed_store.entry(space.feed_store.feeds[row.core], row.seq)
    assert entry is not None
    block = Block(row.core, row.seq, leaf_of(entry.block)[1])
    body = encode_deletion(Deletion(row.id, (block,)))
    cem.do(lambda engine: space.append([Draft(Kind.DELETION, lambda seq: body)], ms(cem)))
    sleep(world, GRACE_MS / 86_400_000 + 1)
    assert holds(ada) and holds(bob)
    assert world.texts(ada, CLUB) == [SECRET]


def test_an_edit_written_apart_from_the_deletion_is_erased_as_well() -> None:
    world = World("apart")
    (phone, desk), bob = world.linked("Ada", 2), world.person("Bob")
    world.friends(phone, bob)
    message = phone.send(bob, "to be edited")
    world.settle()
    world.cut(phone, desk)
    world.cut(desk, bob)
    desk.edit(bob, message, SECRET)
    phone.delete(bob, message)
    world.settle()
    world.heal().settle()
    assert [holds(device) for device in (phone, desk, bob)] == [[], [], []]
    assert world.texts(bob, phone) == []


def disappearing(device: Device, chat: str | Device, text: str, seconds: int) -> None:
    space = device.space(chat)
    values = [[ChatMessage(device.rng(16), text, lifetime=seconds)]]
    device.do(lambda engine: engine.profile.write(space, values, ms(device)))


def test_what_had_its_lifetime_is_erased_and_a_late_device_passes_it() -> None:
    world = World("lifetime")
    (phone, desk), bob = world.linked("Ada", 2), world.person("Bob")
    world.friends(phone, bob)
    desk.stop()
    disappearing(bob, phone, SECRET, 60)
    world.run(5)
    assert world.texts(phone, bob) == [SECRET]
    bob.send(phone, "stays")
    world.run(120)
    assert holds(phone) == holds(bob) == []
    phone.stop()
    sleep(world, 1.5)
    space, core = desk.space(bob), bob.feed(phone).core
    feed = space.feed_store.feeds[core]
    assert feed.opened == feed.length
    assert world.texts(desk, bob) == ["stays"]
    assert world.outbox(bob) == []


def test_bytes_that_come_again_are_not_taken_back() -> None:
    world, ada, bob, cem = trio("again")
    message = bob.send(CLUB, SECRET)
    world.settle()
    (row,) = ada.rows(CLUB)
    cem.stop()
    bob.delete(CLUB, message)
    world.settle()
    bob.stop()
    cem.boot()
    world.settle()
    assert state_at(ada, ada.space(CLUB), row.core, row.seq) == EntryState.CLEARED.name
    assert holds(ada) == holds(cem) == []
