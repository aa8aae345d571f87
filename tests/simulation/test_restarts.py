"""Restarts: a group whose creator lost every device goes on in a new one, and is one chat for everybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crdt.docs.chat import Decline, Message, Restart
from crdt.docs.facts import ABOUT_OFFERS
from identity.errors import KithkinError
from sync.engine.engine import Engine
from sync.engine.talks import group_talks
from sync.engine.tasks import restarts
from sync.engine.tasks.offers import make_offer
from sync.engine.tasks.restarts import begin_restart
from sync.engine.twins import twin_ids
from sync.service import chats
from sync.service.ids import chat_id, identity_id
from sync.service.messages import page
from sync.service.models import Chat
from sync.space.facts import MAX_GROUP_TALK
from sync.space.timeline import facts_of_kind
from sync.store.memory import When
from tests.support.device import Device, Died
from tests.support.readable import readable
from tests.support.world import World

CLUB = "club"


def groups(device: Device) -> list[Chat]:
    return [chat for chat in device.call(lambda calls: calls.chats()).chats if chat.kind == "group"]


def listed(device: Device) -> Chat:
    """The group, which this device lists once."""
    (found,) = [chat for chat in groups(device) if chat.state != "invited"]
    return found


def asked(device: Device) -> list[Chat]:
    """Invitations to go on elsewhere."""
    return [chat for chat in groups(device) if chat.state == "invited"]


def shown(device: Device) -> str:
    """The id under which this device lists the group."""
    return listed(device).id


def restart(device: Device, *without: str) -> str:
    """Why others are asked; empty where they go along."""
    people = [identity_id(device.world.identities[who]) for who in without]
    return device.call(lambda calls: calls.chat_restart(shown(device), people)).asks


def roles(device: Device) -> dict[str, str]:
    """Name -> role of those who are in the group in which the chat goes on."""
    found = chats.members(device.engine.profile, shown(device)).members
    return {member.name: member.role for member in found if member.state == "active"}


def bereft(seed: str) -> tuple[World, Device, Device, Device, Device]:
    """Ada's group of four, in which Bob is admin.  Her only device is stolen, and she has used her words: the stolen
    one, her new one, Bob's, Cleo's."""
    world = World(seed, dht=True)
    ada, bob, cleo, dan = (world.person(name) for name in ("Ada", "Bob", "Cleo", "Dan"))
    for other in (bob, cleo, dan):
        world.friends(ada, other)
    world.grouped(CLUB, ada, bob, cleo, dan)
    ada.call(lambda calls: calls.chat_admin(shown(ada), identity_id(world.identities["Bob"])))
    ada.send(CLUB, "from the first phone")
    cleo.send(CLUB, "from Cleo")
    world.settle()
    world.run(10)
    new = world.recover("Ada")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    return world, ada, new, bob, cleo


def test_a_group_goes_on_with_everybody_when_its_creator_lost_the_only_device() -> None:
    world, stolen, ada, bob, cleo = bereft("goes on")
    dan = next(device for device in world.devices if device.owner == "Dan")
    old = bob.space(CLUB).id
    before = {device: world.texts(device, CLUB) for device in (bob, cleo, dan)}
    assert "with which Ada made this group are lost" in listed(bob).notice
    assert listed(cleo).notice == "", "an admin is there, so it is not for her to restart"
    assert restart(bob) == ""
    world.settle()
    bob.send(CLUB, "from Bob, who restarted")
    cleo.send(CLUB, "from Cleo, in the new one")
    ada.send(CLUB, "from the new phone")
    world.settle()
    news = ["from Bob, who restarted", "from Cleo, in the new one", "from the new phone"]
    for device in (bob, cleo, dan):
        assert device.space(CLUB).id != old
        assert world.texts(device, CLUB) == [*before[device], *news]
        assert shown(device) == chat_id(old)
    assert world.texts(ada, CLUB)[-3:] == news
    assert roles(bob) == {"Bob": "creator", "Ada": "member", "Cleo": "member", "Dan": "member"}
    assert world.texts(stolen, CLUB) == ["from the first phone", "from Cleo"]
    assert listed(bob).notice == "" and restart_refused(cleo), "the new creator is there"


def restart_refused(device: Device) -> bool:
    with pytest.raises(KithkinError) as refused:
        restart(device)
    return refused.value.code == "not_allowed"


def test_somebody_asleep_through_a_restart_comes_along_later_and_misses_nothing() -> None:
    world, _, ada, bob, cleo = bereft("asleep")
    dan = next(device for device in world.devices if device.owner == "Dan")
    dan.stop()
    restart(bob)
    world.settle()
    assert [m.name for m in chats.members(cleo.engine.profile, shown(cleo)).members if m.state == "invited"] == ["Dan"]
    bob.send(CLUB, "while Dan slept")
    cleo.edit(CLUB, cleo.send(CLUB, "wrong"), "right")
    world.settle()
    world.cut(dan, [device for device in world.devices if device is not dan])
    dan.boot()
    dan.send(CLUB, "from Dan, who knows of nothing")
    world.settle()
    world.heal()
    world.settle()
    dan.send(CLUB, "from Dan, who came along")
    world.settle()
    said = ["while Dan slept", "right", "from Dan, who knows of nothing", "from Dan, who came along"]
    for device in (ada, bob, cleo, dan):
        assert world.texts(device, CLUB)[-4:] == said
    assert roles(dan)["Dan"] == "member"


def test_a_restart_that_leaves_somebody_out_is_asked_about_and_the_left_out_one_is_told() -> None:
    world, _, ada, bob, cleo = bereft("left out")
    dan = next(device for device in world.devices if device.owner == "Dan")
    assert "left out" in restart(bob, "Dan")
    world.settle()
    assert [chat.notice for chat in asked(cleo)] == ["Bob wants to go on with this chat in a new group, without Dan."]
    assert asked(cleo)[0].old == shown(cleo) and asked(dan) == []
    assert listed(dan).notice == "Bob went on with this chat in a new group, without you."
    old = dan.space(CLUB).id
    assert cleo.space(CLUB).id == old
    cleo.call(lambda calls: calls.chat_join(asked(cleo)[0].id))
    ada.call(lambda calls: calls.chat_decline(asked(ada)[0].id))
    world.settle()
    bob.send(CLUB, "without Dan")
    cleo.send(CLUB, "without Dan, too")
    dan.send(CLUB, "Dan goes on")
    ada.send(CLUB, "and Ada")
    world.settle()
    assert world.texts(cleo, CLUB)[-4:] == ["without Dan", "without Dan, too", "Dan goes on", "and Ada"]
    assert world.texts(dan, CLUB)[-2:] == world.texts(ada, CLUB)[-2:] == ["Dan goes on", "and Ada"]
    assert asked(ada) == asked(cleo) == [] and roles(cleo) == {"Bob": "creator", "Cleo": "member"}


def test_a_thief_who_restarts_first_is_asked_about_and_gets_in_nowhere() -> None:
    world = World("thief first", dht=True)
    ada, bob, cleo = (world.person(name) for name in ("Ada", "Bob", "Cleo"))
    world.friends(ada, bob)
    world.friends(ada, cleo)
    world.grouped(CLUB, ada, bob, cleo)
    world.run(10)
    assert "nothing shows that the devices of the creator are lost" in restart(ada)
    world.settle()
    old = bob.space(CLUB).id
    assert len(asked(bob)) == len(asked(cleo)) == 1
    ada.send(CLUB, "from the thief's group")
    world.settle()
    new = world.recover("Ada")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    assert asked(bob) == asked(cleo) == [], "whoever asked is out"
    assert restart(cleo) == "", "nobody of rank 0 or 1 is there, so anybody may"
    world.settle()
    bob.send(CLUB, "not for a thief")
    world.settle()
    assert bob.space(CLUB).id == cleo.space(CLUB).id != old
    assert world.texts(cleo, CLUB) == ["not for a thief"]
    assert "not for a thief" not in world.texts(ada, CLUB)
    stolen = ada.engine.profile.account.device
    assert stolen not in {writer.device for writer in bob.space(CLUB).state.writers.values()}


def test_two_who_restart_apart_write_in_one_and_both_are_one_chat() -> None:
    world, _, ada, bob, cleo = bereft("two")
    dan = next(device for device in world.devices if device.owner == "Dan")
    world.cut([bob, ada], [cleo, dan])
    old = bob.space(CLUB).id
    restart(bob)
    force_restart(cleo)
    world.run(30)
    bob.send(CLUB, "on Bob's side")
    cleo.send(CLUB, "on Cleo's side")
    world.heal()
    world.settle()
    for device in (ada, bob, dan):
        for one in asked(device):  # Cleo is no admin, so her restart is asked about
            device.call(lambda calls, one=one: calls.chat_join(one.id))  # type: ignore[misc]
    world.settle()
    for device in (ada, bob, cleo, dan):
        device.send(CLUB, f"from {device.owner}")
        world.settle()
    assert len({device.space(CLUB).id for device in (ada, bob, cleo, dan)}) == 1
    assert {shown(device) for device in (ada, bob, cleo, dan)} == {chat_id(old)}
    said = {"on Bob's side", "on Cleo's side", "from Ada", "from Bob", "from Cleo", "from Dan"}
    for device in (ada, bob, cleo, dan):
        assert said <= set(world.texts(device, CLUB)), device


def force_restart(device: Device) -> None:
    """Restarts where the service would refuse it."""

    def go(engine: Engine) -> None:
        begin_restart(engine.profile, device.space(CLUB), (), int(device.now * 1000))

    device.do(go)


def test_a_member_who_restarts_while_an_admin_is_there_is_asked_about() -> None:
    world, _, ada, bob, cleo = bereft("rank")
    assert restart_refused(cleo)
    force_restart(cleo)
    world.settle()
    for device in (ada, bob):
        assert [chat.notice for chat in asked(device)] == [
            "Cleo wants to go on with this chat in a new group, though the creator or an admin is there."
        ]


def test_a_restart_is_restarted() -> None:
    world, _, ada, bob, cleo = bereft("again")
    dan = next(device for device in world.devices if device.owner == "Dan")
    old = bob.space(CLUB).id
    restart(bob)
    world.settle()
    world.run(10)
    bob.stop()
    again = world.recover("Bob")
    world.run_until(lambda: again.knows("Ada"), "coming back", 900)
    world.settle()
    assert restart(cleo) == ""
    world.settle()
    for device in (ada, cleo, dan):
        device.send(CLUB, f"from {device.owner}")
        world.settle()
    assert {shown(device) for device in (ada, cleo, dan)} == {chat_id(old)}
    for device in (ada, cleo, dan):
        assert world.texts(device, CLUB)[-3:] == ["from Ada", "from Cleo", "from Dan"]
        assert roles(device)["Cleo"] == "creator"


def test_a_restart_said_again_in_another_group_or_by_somebody_else_is_nothing() -> None:
    world, _, ada, bob, cleo = bereft("replayed")
    dan = next(device for device in world.devices if device.owner == "Dan")
    world.grouped("other", cleo, ada)
    dan.stop()
    restart(bob)
    world.settle()
    genuine = restarts_in(cleo, CLUB)[0]
    before = {device: len(groups(device)) for device in (ada, bob, cleo)}
    other, here = cleo.space("other"), cleo.engine.profile.spaces[genuine.old]
    for space, forged in (
        (other, genuine),
        (other, replace(genuine, old=other.id)),
        (here, genuine),
        (here, replace(genuine, without=(world.identities["Dan"],))),
    ):
        cleo.do(lambda engine, s=space, f=forged: engine.profile.write(s, [[f]], int(cleo.now * 1000)))  # type: ignore[misc]
    world.settle()
    dan.boot()
    world.settle()
    assert {device: len(groups(device)) for device in (ada, bob, cleo)} == before
    assert asked(dan) == [] and dan.space(CLUB).id == bob.space(CLUB).id


def restarts_in(device: Device, title: str) -> list[Restart]:
    profile = device.engine.profile
    twins = [profile.spaces[id_] for id_ in twin_ids(profile, device.space(title).id)]
    talks = [talk for twin in twins for talk in group_talks(profile, twin).values()]
    return [restart for talk in talks for restart, _ in talk.restarts.values()]


def test_statements_that_nobody_signed_show_no_loss() -> None:
    world = World("forged words", dht=True)
    ada, bob, cleo = (world.person(name) for name in ("Ada", "Bob", "Cleo"))
    world.friends(ada, bob)
    world.friends(ada, cleo)
    world.grouped(CLUB, ada, bob, cleo)

    force_restart(bob)
    genuine = restarts_in(bob, CLUB)[0]
    own = bob.engine.profile.directory.encoded(world.identities["Bob"])
    forged = replace(genuine, statements=(b"R said so", *own))
    bob.do(lambda engine: engine.profile.write(engine.profile.spaces[genuine.old], [[forged]], int(bob.now * 1000)))
    world.settle()
    assert len(asked(cleo)) == 1 and "nothing shows" in asked(cleo)[0].notice
    assert cleo.space(CLUB).id == ada.space(CLUB).id


def test_what_was_written_before_a_restart_stays_as_it_is_but_can_be_deleted() -> None:
    world, _, _, bob, cleo = bereft("old messages")
    mine = cleo.send(CLUB, "to be deleted")
    world.settle()
    restart(bob)
    world.settle()
    for change in (
        lambda calls: calls.edit(shown(cleo), mine, "x"),
        lambda calls: calls.react(shown(cleo), mine, "👍"),
    ):
        with pytest.raises(KithkinError, match="before this chat was restarted"):
            cleo.call(change)
    cleo.delete(CLUB, mine)
    answer = bob.call(lambda calls: calls.send(shown(bob), "an answer to it", reply=mine))
    world.settle()
    assert world.texts(bob, CLUB)[-1] == "an answer to it" and "to be deleted" not in world.texts(bob, CLUB)
    profile = cleo.engine.profile
    shown_now = page(profile, cleo.space(CLUB), 50, None, None, int(cleo.now * 1000)).messages
    assert [message.id for message in shown_now][-2:] == [mine, answer.id]
    assert shown_now[-1].reply_to == mine


def test_all_devices_of_a_person_come_along() -> None:
    world, _, _, bob, cleo = bereft("devices")
    desk = world.link(cleo, "desktop")
    second = world.link(bob, "desktop")
    cleo.stop()
    restart(bob)
    world.settle()
    bob.stop()
    cleo.boot()
    world.settle()
    bob.boot()
    world.settle()
    for device in (bob, second, cleo, desk):
        device.send(CLUB, f"from {device.name}")
        world.settle()
    said = [f"from {device.name}" for device in (bob, second, cleo, desk)]
    for device in (bob, second, cleo, desk):
        assert world.texts(device, CLUB)[-4:] == said


def test_whoever_leaves_after_a_restart_has_left_the_chat() -> None:
    world, _, _, bob, cleo = bereft("leaves")
    restart(bob)
    world.settle()
    cleo.call(lambda calls: calls.chat_leave(shown(cleo)))
    world.settle()
    assert listed(cleo).state == "left" and "Cleo" not in roles(bob)
    with pytest.raises(KithkinError):
        cleo.send(CLUB, "gone")


def test_a_restarted_group_is_one_chat_again_for_whoever_recovers_later() -> None:
    world, _, _, bob, cleo = bereft("recovered later")
    world.friends(bob, cleo)
    restart(bob)
    world.settle()
    cleo.send(CLUB, "before Cleo lost hers")
    world.settle()
    world.run(10)
    cleo.stop()
    again = world.recover("Cleo")
    world.run_until(lambda: again.knows("Ada"), "coming back", 900)
    world.settle()
    again.send(CLUB, "from Cleo's new phone")
    world.settle()
    assert shown(again) == shown(bob) and again.space(CLUB).id == bob.space(CLUB).id
    assert world.texts(bob, CLUB)[-2:] == ["before Cleo lost hers", "from Cleo's new phone"]
    assert roles(bob)["Cleo"] == "member"


@pytest.mark.parametrize("when", list(When))
def test_a_crash_during_a_restart_leaves_the_old_group_or_the_new_one(when: When) -> None:
    world, _, _, bob, cleo = bereft("crash")
    old = bob.space(CLUB).id
    bob.misfortune.crash_in, bob.misfortune.when = 0, when
    with pytest.raises(Died):
        restart(bob)
    bob.misfortune.crash_in = None
    bob.boot_again()
    world.settle()
    if bob.space(CLUB).id == old:
        assert asked(cleo) == [] and cleo.space(CLUB).id == old
        restart(bob)
        world.settle()
    for device in (bob, cleo):
        device.send(CLUB, f"from {device.owner}")
        world.settle()
    assert world.texts(cleo, CLUB)[-2:] == world.texts(bob, CLUB)[-2:] == ["from Bob", "from Cleo"]
    assert cleo.space(CLUB).id == bob.space(CLUB).id != old


def test_whoever_comes_along_and_crashes_comes_along_all_the_same() -> None:
    world, _, _, bob, cleo = bereft("crash of a member")
    for at in range(6):
        cleo.misfortune.crash_in, cleo.misfortune.when = at, When.BEFORE if at % 2 else When.AFTER
        if at == 0:
            restart(bob)
        world.run(2)
        cleo.misfortune.crash_in = None
        cleo.boot_again()
    world.settle()
    cleo.send(CLUB, "after all that")
    world.settle()
    assert world.texts(bob, CLUB)[-1] == "after all that" and cleo.space(CLUB).id == bob.space(CLUB).id


def test_a_member_who_says_thousands_of_things_about_restarts_is_heard_a_few_times() -> None:
    world, _, _, bob, cleo = bereft("talker")
    profile, space = cleo.engine.profile, cleo.space(CLUB)
    noise = [[Decline(bytes([n]) * 32, bytes(16)) for n in range(60)] for _ in range(20)]
    cleo.do(lambda engine: engine.profile.write(cleo.space(CLUB), noise, int(cleo.now * 1000)))
    world.settle()
    assert space.mine is not None
    core = space.mine.core
    heard = [f for f in facts_of_kind(bob.store, bob.space(CLUB).id, ABOUT_OFFERS) if f.core == core]
    assert len(heard) == MAX_GROUP_TALK
    restart(bob)
    world.settle()
    bob.restart()
    world.settle()
    dan = next(device for device in world.devices if device.owner == "Dan")
    assert dan.space(CLUB).id == bob.space(CLUB).id, "who is heard is each on their own account"
    assert profile.view.chats[space.id].state == "active"


def test_a_question_is_no_question_any_more_once_the_loss_is_known() -> None:
    """Bob restarts before anybody knows what he saw; Ada then uses her words, and the others come along."""
    world = World("known later", dht=True)
    ada, bob, cleo = (world.person(name) for name in ("Ada", "Bob", "Cleo"))
    world.friends(ada, bob)
    world.friends(ada, cleo)
    world.grouped(CLUB, ada, bob, cleo)
    ada.call(lambda calls: calls.chat_admin(shown(ada), identity_id(world.identities["Bob"])))
    world.settle()
    world.run(10)
    assert restart(bob) != ""
    world.settle()
    assert len(asked(cleo)) == 1
    new = world.recover("Ada")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    assert asked(cleo) == [] and cleo.space(CLUB).id == bob.space(CLUB).id
    new.send(CLUB, "here again")
    world.settle()
    assert world.texts(cleo, CLUB) == world.texts(bob, CLUB) == ["here again"]


def test_a_recovered_creator_whom_nobody_can_let_back_is_offered_the_new_group_and_sees_one_chat() -> None:
    world = World("no admin", dht=True)
    ada, bob, cleo = (world.person(name) for name in ("Ada", "Bob", "Cleo"))
    world.friends(ada, bob)
    world.friends(ada, cleo)
    world.grouped(CLUB, ada, bob, cleo)
    old = shown(ada)
    world.run(10)
    new = world.recover("Ada")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    assert restart(bob) == ""
    world.settle()
    bob.call(lambda calls: calls.chat_add(old, identity_id(world.identities["Ada"])))
    world.settle()
    new.call(lambda calls: calls.chat_join(asked(new)[0].id))
    world.settle()
    assert shown(new) == shown(cleo) == old
    new.send(CLUB, "here again")
    world.settle()
    assert world.texts(cleo, CLUB) == world.texts(bob, CLUB) == world.texts(new, CLUB) == ["here again"]
    assert roles(new) == {"Bob": "creator", "Ada": "member", "Cleo": "member"}


def test_no_offer_makes_another_group_of_a_chat_that_i_am_in() -> None:
    world, _, _, bob, cleo = bereft("claimed")
    world.friends(bob, cleo)
    bob.group("other", cleo)
    world.settle()
    other, here = bob.space("other"), bob.space(CLUB).id

    def claim(engine: Engine) -> None:
        offer = replace(make_offer(engine.profile, other, int(bob.now * 1000)), old=here)
        engine.profile.write(bob.space("Cleo"), [[offer]], int(bob.now * 1000))

    bob.do(claim)
    world.settle()
    cleo.join("other")
    world.settle()
    assert {chat.title for chat in groups(cleo)} == {CLUB, "other"} and cleo.space(CLUB).id == here


def dan_of(world: World) -> Device:
    return next(device for device in world.devices if device.owner == "Dan")


def accept(device: Device) -> None:
    (chat,) = asked(device)
    device.call(lambda calls: calls.chat_join(chat.id))
    device.world.settle()


def removed_and_asked_back(world: World, bob: Device, dan: Device) -> None:
    """Bob restarts, removes Dan from the new group, writes there, and lets him in again."""
    world.friends(bob, dan)
    restart(bob)
    world.settle()
    who = identity_id(world.identities["Dan"])
    bob.call(lambda calls: calls.chat_remove(shown(bob), who))
    world.settle()
    bob.send(CLUB, "while Dan was out")
    world.settle()
    bob.call(lambda calls: calls.chat_add(shown(bob), who))
    world.settle()
    accept(dan)
    bob.send(CLUB, "Dan is back")
    world.settle()


def test_whoever_was_removed_from_the_new_group_comes_back_by_an_offer() -> None:
    world, _, _, bob, _ = bereft("removed, asked back")
    dan = dan_of(world)
    removed_and_asked_back(world, bob, dan)
    dan.send(CLUB, "thanks")
    world.settle()
    assert world.texts(bob, CLUB)[-2:] == ["Dan is back", "thanks"] and roles(bob)["Dan"] == "member"


def test_what_was_written_while_somebody_was_removed_from_the_new_group_is_not_given_to_them() -> None:
    world, _, _, bob, _ = bereft("written meanwhile")
    dan = dan_of(world)
    removed_and_asked_back(world, bob, dan)
    assert readable(dan.engine.profile, "Dan is back") and not readable(dan.engine.profile, "while Dan was out")


def test_whoever_was_left_out_and_is_added_later_is_not_given_what_was_written_before() -> None:
    world, _, ada, bob, cleo = bereft("added later")
    dan = dan_of(world)
    world.friends(bob, dan)
    restart(bob, "Dan")
    world.settle()
    for device in (ada, cleo):
        accept(device)
    bob.send(CLUB, "while Dan was out")
    world.settle()
    bob.call(lambda calls: calls.chat_add(shown(bob), identity_id(world.identities["Dan"])))
    world.settle()
    accept(dan)
    bob.send(CLUB, "Dan is here")
    world.settle()
    assert readable(dan.engine.profile, "Dan is here") and not readable(dan.engine.profile, "while Dan was out")


def test_tips_that_are_too_old_leave_nobody_out_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _, ada, bob, cleo = bereft("old tips")
    dan = dan_of(world)
    creator = bob.space(CLUB).state.creator
    assert creator is not None
    monkeypatch.setattr(restarts, "Restart", lambda *values: replace(Restart(*values), past=(creator,)))
    force_restart(bob)
    monkeypatch.undo()
    world.settle()
    assert asked(cleo) == asked(dan) == [], "they are left out, and told"
    assert listed(dan).notice == listed(cleo).notice == "Bob went on with this chat in a new group, without you."
    (told,) = [chat.notice for chat in asked(ada)]
    assert told.endswith((", without Cleo and Dan.", ", without Dan and Cleo."))


def test_a_restart_said_again_leaves_nobody_out_whom_it_named_at_first() -> None:
    world, _, _, bob, cleo = bereft("said again")
    dan = dan_of(world)
    dan.stop()
    restart(bob)
    world.settle()
    genuine = restarts_in(bob, CLUB)[0]
    again = replace(genuine, without=(world.identities["Dan"],))
    bob.do(lambda engine: engine.profile.write(engine.profile.spaces[genuine.old], [[again]], int(bob.now * 1000)))
    world.settle()
    invited = [m.name for m in chats.members(cleo.engine.profile, shown(cleo)).members if m.state == "invited"]
    assert invited == ["Dan"]
    dan.boot()
    world.settle()
    assert dan.space(CLUB).id == bob.space(CLUB).id


def test_no_offer_takes_over_a_group_that_i_wait_to_be_let_into() -> None:
    world = World("taken over")
    ada, bob, mal = (world.person(name) for name in ("Ada", "Bob", "Mal"))
    for one, other in ((ada, bob), (ada, mal), (bob, mal)):
        world.friends(one, other)
    world.grouped(CLUB, bob, mal)
    bob.call(lambda calls: calls.chat_add(shown(bob), identity_id(world.identities["Ada"])))
    world.settle()
    bob.stop()
    ada.join(CLUB)
    mal.group("trap")
    trap, old = mal.space("trap"), mal.space(CLUB).id

    def claim(engine: Engine) -> None:
        offer = replace(make_offer(engine.profile, trap, int(mal.now * 1000)), old=old)
        engine.profile.write(mal.space("Ada"), [[offer]], int(mal.now * 1000))

    mal.do(claim)
    world.settle()
    accept(ada)
    bob.boot()
    world.settle()
    ada.call(lambda calls: calls.send(chat_id(old), "for the club"))
    world.settle()
    assert world.texts(bob, CLUB) == world.texts(mal, CLUB) == ["for the club"] and world.texts(mal, "trap") == []


def test_whoever_is_removed_after_a_restart_speaks_in_the_old_group_no_more() -> None:
    world, _, ada, bob, cleo = bereft("removed from both")
    dan = dan_of(world)
    old = dan.engine.profile.spaces[bob.space(CLUB).id]
    restart(bob)
    world.settle()
    bob.call(lambda calls: calls.chat_remove(shown(bob), identity_id(world.identities["Dan"])))
    world.settle()
    still = Message(dan.rng(16), "still here")
    dan.do(lambda engine: engine.profile.write(old, [[still]], int(dan.now * 1000)))
    world.settle()
    for device in (ada, bob, cleo):
        assert "still here" not in world.texts(device, CLUB)
