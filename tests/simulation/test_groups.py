"""Groups: people are removed, leave, come back; who may do what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt.docs.own import OwnChat
from identity.errors import KithkinError
from sync.engine.engine import Engine
from sync.engine.hello import OUT, encode_out
from sync.engine.tasks.offers import make_offer
from sync.service import chats
from sync.service.ids import chat_id, identity_id
from sync.space.feed import EntryState
from tests.support.device import Device
from tests.support.world import World

CLUB = "club"


def remove(device: Device, person: str, title: str = CLUB) -> None:
    chat = chat_id(device.space(title).id)
    device.call(lambda calls: calls.chat_remove(chat, identity_id(device.world.identities[person])))


def make_admin(device: Device, person: str) -> None:
    chat = chat_id(device.space(CLUB).id)
    device.call(lambda calls: calls.chat_admin(chat, identity_id(device.world.identities[person])))


def states(device: Device, title: str = CLUB) -> dict[str, str]:
    """Name -> state, as this device lists the members."""
    listed = chats.members(device.engine.profile, chat_id(device.space(title).id)).members
    return {member.name: member.state for member in listed}


def state_of(device: Device, title: str = CLUB) -> str:
    return chats.state_of(device.engine.profile, device.space(title).id)


def opened_since(reader: Device, writer: Device, start: int) -> list[int]:
    """Places in the writer's feed from `start` on that this device has opened."""
    mine = writer.space(CLUB).mine
    assert mine is not None
    space = reader.space(CLUB)
    feed = space.feed_store.feeds.get(mine.core)
    if feed is None:
        return []
    found = [space.feed_store.entry(feed, seq) for seq in range(start, feed.length)]
    return [start + i for i, one in enumerate(found) if one is not None and one.state is EntryState.OPENED]


def trio(seed: str, *, admin: bool = False) -> tuple[World, Device, Device, Device]:
    """Ada's group with Bob and Cem, who all know one another."""
    world = World(seed)
    ada, bob, cem = world.person("Ada"), world.person("Bob"), world.person("Cem")
    world.friends(ada, bob)
    world.friends(ada, cem)
    world.friends(bob, cem)
    world.grouped(CLUB, ada, bob, cem)
    if admin:
        make_admin(ada, "Bob")
        world.settle()
    return world, ada, bob, cem


def test_a_removed_person_reads_nothing_that_is_written_afterwards() -> None:
    world, ada, bob, cem = trio("removed")
    ada.send(CLUB, "before")
    world.settle()
    remove(ada, "Cem")
    start = ada.feed(CLUB).length - 1
    world.settle()
    ada.send(CLUB, "after, from the creator")
    bob.send(CLUB, "after, from a member")
    world.settle()
    assert world.texts(bob, CLUB) == ["before", "after, from the creator", "after, from a member"]
    assert world.texts(cem, CLUB) == ["before"]
    assert opened_since(cem, ada, start) == []
    assert states(bob) == {"Ada": "active", "Bob": "active", "Cem": "removed"}


def test_a_removed_person_is_told_and_can_write_there_no_more() -> None:
    world, ada, _, cem = trio("told")
    remove(ada, "Cem")
    world.settle()
    assert state_of(cem) == "removed"
    with pytest.raises(KithkinError, match="You were removed from that chat"):
        cem.send(CLUB, "still here?")
    assert world.outbox(ada) == []


def test_every_device_of_a_removed_person_is_told() -> None:
    world = World("all devices")
    ada = world.person("Ada")
    cem, desk = world.linked("Cem", 2)
    world.friends(ada, cem)
    world.grouped(CLUB, ada, cem)
    assert state_of(desk) == "active"
    remove(ada, "Cem")
    world.settle()
    assert [state_of(device) for device in (cem, desk)] == ["removed", "removed"]
    assert not any(
        w.open for w in ada.space(CLUB).state.writers.values() if w.device == desk.engine.profile.account.device
    )


def test_a_person_who_slept_through_the_removal_learns_of_it() -> None:
    world, ada, bob, cem = trio("asleep")
    cem.stop()
    remove(ada, "Cem")
    world.settle()
    bob.send(CLUB, "without Cem")
    world.settle()
    cem.boot()
    world.settle()
    assert state_of(cem) == "removed"
    assert world.texts(cem, CLUB) == []


def test_words_written_offline_by_a_removed_person_reach_nobody() -> None:
    world, ada, bob, cem = trio("offline")
    world.cut(cem, [ada, bob])
    cem.send(CLUB, "written while I was being removed")
    remove(ada, "Cem")
    world.settle()
    world.heal().settle()
    assert world.texts(ada, CLUB) == world.texts(bob, CLUB) == []
    assert state_of(cem) == "removed"


def test_an_admin_removes_members_but_neither_admins_nor_the_creator() -> None:
    world, ada, bob, _ = trio("ranks", admin=True)
    with pytest.raises(KithkinError, match="creator of a group can't be removed"):
        remove(bob, "Ada")
    make_admin(ada, "Cem")
    world.settle()
    with pytest.raises(KithkinError, match="Only the creator removes admins"):
        remove(bob, "Cem")
    remove(ada, "Cem")
    world.settle()
    assert states(bob) == {"Ada": "active", "Bob": "active", "Cem": "removed"}


def test_a_plain_member_removes_nobody() -> None:
    _, _, bob, _ = trio("plain")
    with pytest.raises(KithkinError, match="Only the creator and admins remove people"):
        remove(bob, "Cem")


def test_oneself_and_somebody_gone_are_not_removed() -> None:
    world, ada, _, _ = trio("bad")
    with pytest.raises(KithkinError, match="leave the chat instead"):
        remove(ada, "Ada")
    remove(ada, "Cem")
    world.settle()
    with pytest.raises(KithkinError, match="not in the chat any more"):
        remove(ada, "Cem")


def test_two_admins_who_remove_one_person_apart_agree() -> None:
    world, ada, bob, cem = trio("apart", admin=True)
    world.cut(ada, bob)
    remove(ada, "Cem")
    remove(bob, "Cem")
    world.settle()
    world.heal().settle()
    ada.send(CLUB, "one")
    bob.send(CLUB, "two")
    world.settle()
    assert world.texts(ada, CLUB) == world.texts(bob, CLUB) == ["one", "two"]
    assert state_of(cem) == "removed"


def test_a_member_who_claims_a_removal_is_not_believed() -> None:
    world, ada, bob, cem = trio("liar")
    mine = cem.space(CLUB).mine
    assert mine is not None
    peer = next(p for p in bob.engine.peers.values() if p.device == cem.engine.profile.account.device)
    body = encode_out(cem.space(CLUB).id, [mine.writer])
    bob.do(lambda engine: peer.mux.send(peer.main, OUT, body))
    world.settle()
    assert state_of(cem) == "active"
    assert ada.space(CLUB).state.open(mine.core)


def add(device: Device, person: str) -> None:
    chat = chat_id(device.space(CLUB).id)
    device.call(lambda calls: calls.chat_add(chat, identity_id(device.world.identities[person])))


def test_a_removed_person_comes_back_by_another_offer_with_a_new_feed() -> None:
    world, ada, bob, cem = trio("back")
    ada.send(CLUB, "first time")
    world.settle()
    old = cem.space(CLUB).mine
    remove(ada, "Cem")
    world.settle()
    ada.send(CLUB, "while Cem was out")
    world.settle()
    add(ada, "Cem")
    world.settle()
    assert state_of(cem) == "invited"
    cem.join(CLUB)
    world.settle()
    new = cem.space(CLUB).mine
    assert old is not None and new is not None and new.core != old.core
    cem.send(CLUB, "I am back")
    world.settle()
    assert state_of(cem) == "active"
    for device in (ada, bob, cem):
        assert world.texts(device, CLUB)[-1] == "I am back"
        assert states(device) == {"Ada": "active", "Bob": "active", "Cem": "active"}
    cem.restart()
    world.settle()
    cem.send(CLUB, "after a restart")
    world.settle()
    assert world.texts(bob, CLUB)[-1] == "after a restart"


def test_whoever_left_comes_back_on_all_devices() -> None:
    world = World("left")
    ada = world.person("Ada")
    cem, desk = world.linked("Cem", 2)
    world.friends(ada, cem)
    world.grouped(CLUB, ada, cem)
    cem.leave(CLUB)
    world.settle()
    assert [state_of(device) for device in (cem, desk)] == ["left", "left"]
    add(ada, "Cem")
    world.settle()
    desk.join(CLUB)
    world.settle()
    cem.send(CLUB, "from the phone")
    desk.send(CLUB, "from the desktop")
    world.settle()
    assert world.texts(ada, CLUB) == ["from the phone", "from the desktop"]


def test_an_answer_lets_nobody_in_twice() -> None:
    """Another device of the offerer wakes over an answer that was used and whose newcomer was removed since."""
    world = World("twice")
    phone, desk = world.linked("Ada", 2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    world.grouped(CLUB, phone)
    chat = chat_id(phone.space(CLUB).id)
    phone.call(lambda calls: calls.chat_add(chat, identity_id(world.identities["Bob"])))
    world.settle()
    desk.stop()
    bob.join(CLUB)
    world.settle()
    remove(phone, "Bob")
    world.settle()
    bob.stop()
    phone.stop()
    desk.boot()
    world.settle()
    phone.boot()
    world.settle()
    bob.boot()
    world.settle()
    assert state_of(bob) == "removed"
    assert all(states(device) == {"Ada": "active", "Bob": "removed"} for device in (phone, desk))


def test_an_offer_can_be_taken_back_before_it_is_answered() -> None:
    world = World("taken back")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.group(CLUB, bob)
    world.settle()
    assert states(ada) == {"Ada": "active", "Bob": "invited"}
    remove(ada, "Bob")
    world.settle()
    assert states(ada) == {"Ada": "active"}
    with pytest.raises(KithkinError, match="Nobody offers you that chat any more"):
        bob.join(CLUB)


def test_whoever_declined_is_asked_again_by_another_offer() -> None:
    world = World("declined")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    group = ada.group(CLUB, bob)
    world.settle()
    bob.call(lambda calls: calls.chat_decline(chat_id(group)))
    world.settle()
    assert states(ada) == {"Ada": "active"}
    add(ada, "Bob")
    world.settle()
    assert bob.engine.profile.view.chats[group].state == "invited"
    bob.join(CLUB)
    world.settle()
    ada.send(CLUB, "welcome after all")
    world.settle()
    assert world.texts(bob, CLUB) == ["welcome after all"]


def test_an_offer_that_reaches_one_device_after_another_joined_stays_joined() -> None:
    """The phone hears of the offer alone, later than the desktop said yes: its note must not undo that."""
    world = World("late offer")
    ada = world.person("Ada")
    phone, desk = world.linked("Bob", 2)
    world.friends(ada, phone)
    world.settle()
    world.cut(phone, [ada, desk])
    group = ada.group(CLUB, desk)
    world.settle()
    desk.join(CLUB)
    world.settle()
    ada.send(CLUB, "hello")
    world.settle()
    # What a device notes that has the offer and not yet the answer.
    note = OwnChat(group, on=True, kind="group", state="invited", title=CLUB)
    phone.do(lambda engine: engine.profile.note(int(phone.now * 1000), note))
    world.heal().settle()
    for device in (phone, desk):
        assert state_of(device) == "active", device
        assert world.texts(device, CLUB) == ["hello"], device


def demote(device: Device, person: str) -> None:
    chat = chat_id(device.space(CLUB).id)
    device.call(lambda calls: calls.chat_demote(chat, identity_id(device.world.identities[person])))


def role(device: Device, person: str) -> str:
    listed = chats.members(device.engine.profile, chat_id(device.space(CLUB).id)).members
    return next((member.role for member in listed if member.name == person and member.state == "active"), "")


def test_an_admin_is_made_a_member_again_and_comes_back_by_itself() -> None:
    world, ada, bob, cem = trio("demoted", admin=True)
    desk = world.link(bob, "desktop")
    bob.send(CLUB, "as an admin")
    world.settle()
    demote(ada, "Bob")
    world.settle()
    assert role(ada, "Bob") == role(cem, "Bob") == role(bob, "Bob") == "member"
    for device in (ada, bob, desk, cem):
        device.send(CLUB, f"from {device.name}")
        world.settle()
    said = ["as an admin", *(f"from {device.name}" for device in (ada, bob, desk, cem))]
    for device in (ada, bob, desk, cem):
        assert world.texts(device, CLUB)[-5:] == said
    for act, device, person in ((remove, bob, "Cem"), (demote, bob, "Cem"), (demote, ada, "Bob")):
        with pytest.raises(KithkinError) as error:
            act(device, person)
        assert error.value.code == "not_allowed"
    make_admin(ada, "Bob")
    world.settle()
    assert role(cem, "Bob") == "admin"


def test_an_admin_asleep_is_a_member_when_it_comes_back_and_reads_what_it_missed() -> None:
    world, ada, bob, cem = trio("demoted asleep", admin=True)
    bob.stop()
    demote(ada, "Bob")
    world.settle()
    assert states(cem)["Bob"] == "removed" and states(ada)["Bob"] == "invited"
    cem.send(CLUB, "while Bob slept")
    world.settle()
    bob.boot()
    world.settle()
    assert role(cem, "Bob") == "member" and world.texts(bob, CLUB) == ["while Bob slept"]


@pytest.mark.parametrize("first", ["removed", "demoted"])
def test_whoever_is_removed_while_another_device_demotes_stays_out(first: str) -> None:
    world, ada, bob, cem = trio(f"apart {first}", admin=True)
    desk = world.link(ada, "desktop")
    world.cut([ada, bob], [desk, cem])
    demote(ada, "Bob")
    remove(desk, "Bob")
    if first == "demoted":
        world.settle()
        assert role(bob, "Bob") == "member"
    world.heal()
    world.settle()
    for device in (ada, desk, cem):
        assert role(device, "Bob") == ""


def test_an_admin_promoted_by_another_device_while_it_is_demoted_is_a_member() -> None:
    world, ada, bob, cem = trio("promoted apart", admin=True)
    desk = world.link(ada, "desktop")
    world.cut([ada], [desk, bob, cem])
    demote(ada, "Bob")
    make_admin(desk, "Bob")
    make_admin(desk, "Cem")
    world.settle()
    world.heal()
    world.settle()
    assert role(cem, "Bob") == "member" and role(cem, "Cem") == "admin"


def test_whoever_left_or_was_removed_is_not_asked_back_by_a_word_of_anybody_else() -> None:
    """`again` is for the creator's demotion: it brings nobody back who left, and nobody for a mere admin."""
    world, ada, bob, cem = trio("asked back", admin=True)
    cem.leave(CLUB)
    world.settle()

    def ask(engine: Engine) -> None:
        profile, group = engine.profile, bob.space(CLUB)
        offer = replace(make_offer(profile, group, int(bob.now * 1000)), again=True)
        profile.write(bob.space("Cem"), [[offer]], int(bob.now * 1000))

    bob.do(ask)
    world.settle()
    assert state_of(cem) == "invited" and role(ada, "Cem") == ""


def test_words_under_an_epoch_whose_opener_fell_reach_who_was_in_its_roster() -> None:
    """An admin who is being removed brings somebody in, and a member writes under the epoch of that newcomer."""
    world, ada, bob, cem = trio("fallen epoch", admin=True)
    dora = world.person("Dora")
    world.friends(bob, dora)
    world.cut(ada, [bob, cem, dora])
    remove(ada, "Bob")
    add(bob, "Dora")
    world.run(5)
    dora.join(CLUB)
    world.run(5)
    cem.send(CLUB, "said to Ada, too")
    world.run(5)
    world.heal().settle()
    assert world.texts(ada, CLUB) == world.texts(cem, CLUB) == ["said to Ada, too"]
    assert states(ada) == states(cem) == {"Ada": "active", "Bob": "removed", "Cem": "active"}
