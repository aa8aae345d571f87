"""The main stories, as transcripts: a setting, a few moves, what was seen."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from crdt.space.grant import OpenedGrant
from sync.service.ids import chat_id, identity_id
from sync.space import timeline
from sync.store.memory import When
from tests.support.device import Device
from tests.support.wires import STORM, Weather
from tests.support.world import Message, World

Story = Callable[[World], None]


@pytest.fixture
def world() -> World:
    return World("stories")


def test_message_written_offline_arrives_once(world: World) -> None:
    phone, desk = world.linked("Ada", devices=2)
    world.cut(phone, desk)
    phone.send("notes", "on the train")
    world.settle()
    assert world.of(desk) == []
    assert world.of(phone) == [Message("on the train", "queued")]
    world.heal().settle()
    assert world.of(desk) == world.of(phone) == [Message("on the train", "delivered")]


def test_desktop_and_friend_sync_while_the_phone_is_off(world: World) -> None:
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone.stop()
    desk.send(bob, "are you there?")
    bob.send("Ada", "yes")
    world.settle()
    assert world.of(bob) == [Message("are you there?"), Message("yes", "delivered")]
    assert world.of(desk) == [Message("are you there?", "delivered"), Message("yes")]
    phone.boot()
    world.settle()
    assert world.of(phone) == world.of(desk)
    assert world.outbox(bob) == world.outbox(desk) == world.outbox(phone) == []


def test_devices_reconnect_after_all_were_off(world: World) -> None:
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    for device in (phone, desk, bob):
        device.stop()
    desk.boot()
    desk.send("Bob", "first")
    desk.stop()
    bob.boot()
    bob.send("Ada", "second")
    desk.boot()
    world.settle()
    assert world.texts(bob) == world.texts(desk) == ["first", "second"]


def test_new_device_gets_the_history(world: World) -> None:
    phone = world.person("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    for number in range(30):
        (phone if number % 2 else bob).send("Bob" if number % 2 else "Ada", f"message {number}")
        world.run(0.05)
    phone.send("notes", "remember the milk")
    desk = world.link(phone, "desktop")
    assert world.texts(desk, "Bob") == world.texts(bob) == [f"message {number}" for number in range(30)]
    assert world.texts(desk, "notes") == ["remember the milk"]
    assert world.outbox(bob) == []


def test_device_linked_without_history_gets_new_messages_only(world: World) -> None:
    phone = world.person("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "before")
    world.settle()
    desk = world.link(phone, "desktop", history=False)
    bob.send("Ada", "after")
    world.settle()
    assert world.texts(desk, "Bob") == ["after"]
    assert world.outbox(bob) == []


def test_entries_sealed_before_a_device_was_known_reach_it_as_items(world: World) -> None:
    phone = world.person("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    world.cut(phone, bob)
    bob.send("Ada", "sealed under an epoch without the desktop")
    desk = world.link(phone, "desktop", away_from=[bob])
    assert world.texts(desk, "Bob") == []
    world.heal().settle()
    assert world.texts(desk, "Bob") == ["sealed under an epoch without the desktop"]
    assert world.outbox(bob) == []


def test_entry_opens_when_the_only_key_holder_reconnects(world: World) -> None:
    """The desktop hears the sealed entry from the tablet, which cannot open it either; only later does the phone."""
    phone, desk, tablet = world.linked("Ada", devices=3)
    bob = world.person("Bob")
    world.friends(phone, bob)
    world.cut([phone], [desk, tablet, bob])
    bob.send("Ada", "one")
    world.settle()
    world.cut([bob], [phone, desk, tablet])
    late = world.link(desk, "watch", away_from=[bob, phone])
    world.heal().settle()
    for device in (phone, desk, tablet, late):
        assert world.texts(device, "Bob") == ["one"], device
    assert world.outbox(bob) == []


def test_device_linked_while_a_friend_is_away_syncs_with_them_later(world: World) -> None:
    phone = world.person("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    bob.stop()
    desk = world.link(phone, "desktop")
    desk.send("Bob", "from my new desktop")
    bob.boot()  # only the phone, whom he knows, can tell him of the desktop
    world.settle()
    assert world.texts(bob) == ["from my new desktop"]
    phone.stop()
    bob.send("Ada", "well done")
    world.settle()
    assert world.texts(desk) == ["from my new desktop", "well done"]


def test_group_is_joined_while_the_inviting_phone_is_off(world: World) -> None:
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone.group("club", bob)
    world.settle()
    phone.stop()
    bob.join("club")
    world.settle()
    bob.send("club", "hello")
    desk.send("club", "welcome")
    world.settle()
    assert world.texts(bob, "club") == world.texts(desk, "club") == ["hello", "welcome"]
    phone.boot()
    world.settle()
    assert world.texts(phone, "club") == ["hello", "welcome"]


def test_group_answer_is_handled_by_another_device_when_the_inviter_leaves(world: World) -> None:
    """The desktop leaves the answer to the phone, as long as that is about; then the phone goes without answering."""
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone.group("club", bob)
    world.settle()
    world.cut(phone, bob)
    bob.join("club")
    phone.misfortune.crash_in = 0
    world.run(30)  # a device that lost its power says nothing: that takes a while to be noticed
    assert not phone.up
    bob.send("club", "in")
    world.settle()
    assert world.texts(desk, "club") == ["in"]


def test_member_who_left_a_group_receives_nothing_new(world: World) -> None:
    ada = world.person("Ada")
    bob = world.person("Bob")
    eve = world.person("Eve")
    world.friends(ada, bob)
    world.friends(ada, eve)
    world.grouped("club", ada, bob, eve)
    eve.send("club", "bye")
    world.settle()
    eve.leave("club")
    world.settle()
    ada.send("club", "she is gone")
    bob.send("club", "so it seems")
    world.settle()
    assert world.texts(ada, "club") == world.texts(bob, "club") == ["bye", "she is gone", "so it seems"]
    assert "she is gone" not in world.texts(eve)
    before = world.trace.count["dial"]
    world.run(600)
    assert world.trace.count["dial"] == before


def test_edits_and_reactions_may_arrive_before_their_message(world: World) -> None:
    phone, desk, tablet = world.linked("Ada", devices=3)
    world.cut([phone, tablet], [desk])
    first = phone.send("notes", "frist")
    gone = phone.send("notes", "nonsense")
    for number in range(20):  # the longer feed is asked for last
        phone.send("notes", f"filler {number}")
    world.settle()
    tablet.edit("notes", first, "first")
    tablet.react("notes", first, "\N{THUMBS UP SIGN}")
    tablet.delete("notes", gone)
    world.settle()
    world.heal().settle()
    assert world.texts(desk) == world.texts(phone) == ["first", *[f"filler {number}" for number in range(20)]]
    (row,) = [row for row in desk.rows("notes") if row.text == "first"]
    marks = timeline.marks_on(desk.store, desk.space("notes").id, row.id)
    assert row.edited and row.marked and [mark.emoji for mark in marks] == ["\N{THUMBS UP SIGN}"]


def test_message_over_two_paths_is_shown_once(world: World) -> None:
    phone, desk = world.linked("Ada", devices=2)
    bob, tablet = world.linked("Bob", devices=2)
    world.friends(phone, bob)
    world.cut(phone, bob)  # so it goes by the desktop and by Bob's other device
    for number in range(5):
        phone.send("Bob", f"{number}")
        bob.send("Ada", f"back {number}")
        world.run(0.3)
    world.settle()
    for device in (phone, desk, bob, tablet):
        assert sorted(world.texts(device)) == sorted([f"{n}" for n in range(5)] + [f"back {n}" for n in range(5)])
    assert len({tuple(world.texts(device)) for device in (phone, desk, bob, tablet)}) == 1


def test_simultaneous_mutual_invites_make_one_chat(world: World) -> None:
    ada = world.person("Ada")
    bob = world.person("Bob")
    hers = ada.invite()
    his = bob.invite()
    world.run(1)
    ada.accept(his)
    bob.accept(hers)
    world.settle()
    ada.send(bob, "from Ada")
    bob.send(ada, "from Bob")
    world.settle()
    assert sorted(world.texts(ada)) == sorted(world.texts(bob)) == ["from Ada", "from Bob"]
    assert ada.space(bob).id == bob.space(ada).id


def test_mutual_invites_by_separated_devices_merge_into_one_chat(world: World) -> None:
    """Ada's phone meets Bob's phone while her desktop meets his: two direct spaces, and the lower one is written to."""
    phone, desk = world.linked("Ada", devices=2)
    his, other = world.linked("Bob", devices=2)
    world.cut([phone, his], [desk, other])
    world.friends(phone, his, settle=False)
    world.friends(other, desk, settle=False)
    world.settle()
    phone.send(his, "one")
    other.send(desk, "two")
    world.settle()
    world.heal().settle()
    assert {device.space("Bob").id for device in (phone, desk)} == {device.space("Ada").id for device in (his, other)}
    for device in (phone, desk, his, other):
        assert sorted(world.texts(device)) == ["one", "two"], device
        assert world.outbox(device) == []


def test_read_mark_shows_as_read_at_the_sender(world: World) -> None:
    ada = world.person("Ada")
    bob = world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "have you seen this?")
    world.settle()
    bob.read(ada)
    world.settle()
    assert world.of(ada) == [Message("have you seen this?", "read")]


def test_full_disk_refuses_writes_and_loses_nothing(world: World) -> None:
    phone, desk = world.linked("Ada", devices=2)
    phone.send("notes", "one")
    world.settle()
    desk.misfortune.refuse_writes = 3
    phone.send("notes", "two")
    world.settle()
    assert world.texts(desk) == ["one", "two"]
    assert world.outbox(phone) == []


def test_invite_is_dialled_again_after_a_commit_refused_in_the_tick_that_dials(world: World) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    code = ada.invite()
    world.settle()
    ada.stop()
    bob.accept(code)
    # Bob dials again and again. The disk is full in the very tick that does: it has a port to write, too.
    world.run_until(lambda: bob.engine.onboarding.conversations.next_wake() < inf, "the first dial")
    bob.engine.profile.keep_port(12_345)
    bob.misfortune.refuse_writes = 1
    world.run(5)
    assert [getattr(error, "code", "") for error in bob.errors] == ["disk_full"]
    ada.boot()
    world.run_until(lambda: bool(bob.steps), "the invite")
    world.settle()
    assert ada.knows("Bob") and bob.knows("Ada")


def test_entries_withheld_by_a_peer_are_requested_as_items(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, desk = world.linked("Ada", devices=2)
    shelf = phone.space("notes").feed_store
    monkeypatch.setattr(shelf, "blocks", lambda writer, start, end, limit: shelf.leaves(writer, start, end))
    phone.send("notes", "no deletion says why this should be gone")
    world.settle()
    assert world.texts(desk) == ["no deletion says why this should be gone"]
    assert world.outbox(phone) == []


def test_clock_set_back_by_an_hour_stops_no_delivery(world: World) -> None:
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    for device in (phone, bob):
        device.skew = -3600.0
    phone.send("Bob", "one")
    world.settle()
    bob.send("Ada", "two")
    world.settle()
    for device in (phone, desk, bob):
        assert world.texts(device) == ["one", "two"], device
        assert world.outbox(device) == [], device


def test_messages_arrive_over_a_link_that_loses_most_packets(world: World) -> None:
    ada = world.person("Ada")
    bob = world.person("Bob")
    world.friends(ada, bob)
    with world.weather(Weather(loss=0.5, duplication=0.2, delay=(0.001, 0.3))):
        for number in range(10):
            ada.send(bob, f"{number}")
        world.settle()
    assert world.texts(bob) == [f"{number}" for number in range(10)]


def test_invites_and_linking_succeed_under_heavy_loss() -> None:
    world = World("meeting in a storm", STORM)
    phone = world.person("Ada")
    desk = world.link(phone, "desktop")
    bob = world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "what a day")
    world.settle()
    assert world.texts(desk) == world.texts(phone) == ["what a day"]


@pytest.mark.parametrize("number", range(0, 600, 25))
@pytest.mark.parametrize("victim", ["phone", "desktop", "friend"])
def test_crash_at_any_store_call_loses_nothing(number: int, victim: str) -> None:
    """The same story, the victim's store crashing at its n-th call from the moment when two people meet."""
    world = World(f"crash/{victim}/{number}")
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    target = {"phone": phone, "desktop": desk, "friend": bob}[victim]
    world.restart_after = lambda device: 0.5
    target.misfortune.when = When.AFTER if number % 2 else When.BEFORE
    target.misfortune.crash_in = number
    told: list[str] = []
    meet(world, phone, bob)
    for device, chat, text in ((phone, "Bob", "a"), (bob, "Ada", "b"), (desk, "Bob", "c"), (phone, "notes", "d")):
        if device.try_to_send(chat, text):
            told.append(text)
        world.run(0.4)
    world.heal().settle()
    for device in (phone, desk):
        texts = world.texts(device)
        assert len(texts) == len(set(texts)) and set(told) <= set(texts)
    assert world.texts(phone) == world.texts(desk)
    assert world.texts(bob) == [text for text in world.texts(phone) if text != "d"]


def meet(world: World, one: Device, other: Device) -> None:
    """An invite that is used again until it leads somewhere: a crash may end the first attempt."""
    text = ""
    for _ in range(20):
        if one.up and other.up:
            try:
                text = text or one.invite()
                if not other.knows(one.owner):
                    other.accept(text)
            except Exception as error:
                if type(error).__name__ not in ("Died", "KithkinError"):
                    raise
        world.run(1.0)
        if one.up and other.up and one.knows(other.owner) and other.knows(one.owner):
            break
    world.settle()


def test_denied_entries_open_with_a_late_key_after_a_restart(world: World) -> None:
    """A newcomer is told that what came before is not for it; somebody who may decides otherwise later."""
    ada, bob = world.person("Ada"), world.person("Bob")
    carl = world.person("Carl")
    world.friends(ada, bob)
    world.friends(ada, carl)
    world.grouped("club", ada, bob)
    ada.send("club", "before Carl")
    world.settle()
    who = identity_id(world.identities["Carl"])
    ada.call(lambda calls: calls.chat_add(chat_id(ada.space("club").id), who))
    world.settle()
    carl.join("club")
    world.settle()
    denied = dict(carl.space("club").inbound.denied)
    assert denied and world.texts(carl, "club") == []
    carl.restart()
    assert carl.space("club").inbound.denied == denied
    for epoch in ada.space("club").keys.values():
        carl.space("club").epoch_keys.learn(epoch.id, OpenedGrant(epoch.secret, epoch.z, None))
    carl.do(lambda engine: None)  # the commit tries the keys
    assert not carl.space("club").inbound.denied
    carl.restart()
    assert not carl.space("club").inbound.denied
