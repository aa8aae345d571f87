"""Stories of people who come back with their words and keep a device that they still have, by name."""

from __future__ import annotations

import pytest

from identity.errors import KithkinError
from sync.service.ids import device_id
from tests.simulation.test_recovery import lose, notices
from tests.support.device import NOTES, Device
from tests.support.world import World

SEEDS = (1, 2)


def id_of(device: Device) -> str:
    return device_id(device.engine.profile.account.device)


def keep(world: World, by: Device, *names: str) -> list[str]:
    """Types the words and the names of devices; ids of those that stay."""
    return by.call(lambda calls: calls.device_keep(world.words[by.owner], list(names))).kept


def out(device: Device) -> bool:
    return device.engine.profile.out


def joined(one: Device, other: Device) -> bool:
    """Whether two devices share one personal space."""
    return one.engine.profile.personal.id == other.engine.profile.personal.id


@pytest.mark.parametrize("seed", SEEDS)
def test_a_device_that_is_kept_by_name_goes_on_without_being_linked_anew(seed: int) -> None:
    world = World(seed, dht=True)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    world.grouped("Trip", phone, bob)
    bob.send("Ada", "before")
    desk.send(NOTES, "milk")
    world.settle()
    world.run(10)
    lose(world, phone)
    desk_id, lists = id_of(desk), desk.engine.profile.personal.id

    new = world.recover("Ada")
    new.send(NOTES, "written alone")
    world.run_until(lambda: "Recovered: 1 contact and 2 chats" in notices(new), "finding the copy", 900)
    assert '"desktop"' in notices(new)
    world.run_until(lambda: out(desk), "hearing of the words", 900)
    states = {one.name: one.state for one in new.call(lambda calls: calls.devices()).devices}
    assert states == {"new phone": "active", "desktop": "revoked", "phone": "revoked"}
    assert keep(world, new, "Desktop") == [desk_id]

    world.run_until(lambda: not out(desk), "hearing of the newer word", 900)
    world.run_until(lambda: joined(new, desk), "moving", 900)
    world.settle()
    assert desk.engine.profile.personal.id == lists
    states = {one.name: one.state for one in new.call(lambda calls: calls.devices()).devices}
    assert states == {"new phone": "active", "desktop": "active", "phone": "revoked"}
    bob.send("Ada", "to both")
    desk.send("Bob", "from the desk")
    new.send("Bob", "from the new phone")
    desk.send("Trip", "all here?")
    world.settle()
    for device in (desk, new):
        assert sorted(world.texts(device, "Bob")) == sorted(
            ["before", "to both", "from the desk", "from the new phone"]
        )
        assert world.texts(device, "Trip") == ["all here?"]
        assert sorted(world.texts(device, NOTES)) == ["milk", "written alone"]
    assert world.texts(bob, "Trip") == ["all here?"]
    assert world.texts(bob, "Ada")[1:] == world.texts(new, "Bob")[1:]
    assert len([chat for chat in new.engine.profile.view.chats.values() if chat.kind == "self"]) == 1
    assert knowing(new, "phone") == (["Bob", "desktop"], [])


@pytest.mark.parametrize("seed", SEEDS)
def test_kept_devices_that_sleep_join_when_they_wake(seed: int) -> None:
    """Two are kept and one is not; what the phrase says waits for them."""
    world = World(seed, dht=True)
    phone, desk, tablet = world.linked("Ada", 3)
    bob = world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "before")
    world.settle()
    world.run(10)
    desk.stop()
    tablet.stop()
    lose(world, phone)
    new = world.recover("Ada")
    world.run_until(lambda: "Recovered" in notices(new), "finding the copy", 900)
    assert sorted(keep(world, new, "tablet", id_of_stopped(desk))) == sorted(map(id_of_stopped, (desk, tablet)))
    world.run(60)
    new.send(NOTES, "still alone")
    desk.boot()
    world.run_until(lambda: joined(new, desk), "moving", 1500)
    tablet.boot()
    world.run(60)
    world.settle()
    tablet.send("Bob", "all three")
    bob.send("Ada", "hello you three")
    world.settle()
    for device in (new, desk, tablet):
        assert world.texts(device, "Bob") == ["before", "all three", "hello you three"]
        assert world.texts(device, NOTES) == ["still alone"]
        assert len(device.engine.profile.directory.active(world.identities["Ada"])) == 3


def id_of_stopped(device: Device) -> str:
    return device_id(device.stored().account.device)


def test_a_thief_with_the_phone_is_out_while_the_desktop_is_kept() -> None:
    world = World(3, dht=True)
    stolen, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(stolen, bob)
    bob.send("Ada", "before")
    world.settle()
    world.run(10)
    new = world.recover("Ada")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    keep(world, new, "desktop")
    world.run_until(lambda: joined(new, desk), "moving", 900)
    world.settle()
    bob.send("Ada", "not for a thief")
    desk.send(NOTES, "nor this")
    world.settle()
    assert out(stolen) and not out(desk)
    assert world.texts(stolen, "Bob") == ["before"] and world.texts(stolen, NOTES) == []
    assert world.texts(desk, "Bob") == world.texts(new, "Bob") == ["before", "not for a thief"]


@pytest.mark.parametrize("seed", SEEDS)
def test_words_typed_at_a_device_put_all_others_out(seed: int) -> None:
    """No folder is made anew: the desktop is in one's hands, and the phrase keeps it alone."""
    world = World(seed)
    phone, desk, tablet = world.linked("Ada", 3)
    bob = world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "before")
    world.settle()
    done = desk.call(lambda calls: calls.device_keep(world.words["Ada"], ["tablet"]))
    assert (done.kept, done.out) == ([id_of(tablet)], [id_of(phone)])
    world.settle()
    bob.send("Ada", "between us")
    world.settle()
    assert out(phone) and not out(desk) and not out(tablet)
    assert world.texts(phone, "Bob") == ["before"]
    assert world.texts(desk, "Bob") == world.texts(tablet, "Bob") == ["before", "between us"]


def test_words_decide_between_two_devices_that_shut_out_each_other() -> None:
    world = World(4)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone_id, desk_id = id_of(phone), id_of(desk)
    world.cut(phone, desk)
    phone.call(lambda calls: calls.device_revoke(desk_id))
    desk.call(lambda calls: calls.device_revoke(phone_id))
    world.heal()
    world.settle()
    assert out(phone) and out(desk)
    done = desk.call(lambda calls: calls.device_keep(world.words["Ada"], []))
    assert done.out == [phone_id]
    world.run(90)
    world.settle()
    assert not out(desk) and out(phone)
    desk.send("Bob", "it is me")
    bob.send("Ada", "and me")
    world.settle()
    assert world.texts(bob, "Ada") == world.texts(desk, "Bob") == ["it is me", "and me"]


def test_bad_input_keeps_nothing() -> None:
    world = World(5, dht=True)
    phone, desk = world.linked("Ada")
    world.person("Eve")
    tablet = world.link(phone, "tablet")
    phone.call(lambda calls: calls.device_rename(id_of(tablet), "Desktop"))
    before = phone.engine.profile.directory.generation(world.identities["Ada"])
    words = world.words["Ada"]
    for typed, names, code in (
        (world.words["Eve"], ["desktop"], "phrase_invalid"),
        (" ".join(words.split()[:23]), [], "phrase_invalid"),
        (words, ["laptop"], "not_found"),
        (words, ["dev_" + "A" * 32], "not_found"),
        (words, ["desktop"], "not_allowed"),
    ):
        with pytest.raises(KithkinError) as refused:
            phone.call(lambda calls, typed=typed, names=names: calls.device_keep(typed, names))  # type: ignore[misc]
        assert refused.value.code == code
    assert "Several" in refused.value.message and id_of(tablet) in refused.value.message
    assert phone.engine.profile.directory.generation(world.identities["Ada"]) == before
    assert not out(desk) and not out(tablet)


@pytest.mark.parametrize("seed", SEEDS)
def test_words_used_at_a_device_whose_clock_is_behind_say_so_and_count_when_typed_again(seed: int) -> None:
    """Its generation was in the past of the one that holds: whoever it meets shows it that."""
    world = World(seed, dht=True)
    phone, bob = world.person("Ada"), world.person("Bob")
    world.friends(phone, bob)
    bob.send("Ada", "before")
    world.settle()
    world.run(10)
    lose(world, phone)
    new = world.recover("Ada", boot=False, skew=-400 * 86_400.0)
    new.boot()
    world.run_until(lambda: "Set the clock" in notices(new), "being told", 1500)
    assert out(new) and "Recovered" not in notices(new)
    keep(world, new)  # the clock is still behind: the generation is above the one found all the same
    assert not out(new)
    world.run_until(lambda: new.knows("Bob"), "coming back", 1500)
    world.settle()
    assert world.texts(new, "Bob") == ["before"]


def test_a_device_whose_feeds_another_one_ended_is_linked_anew() -> None:
    """A feed that ended is never a writer again, and that device hears of nothing that would tell it so."""
    world = World(6)
    phone, desk = world.linked("Ada")
    lost = id_of(desk)
    phone.call(lambda calls: calls.device_revoke(lost))
    world.settle()
    with pytest.raises(KithkinError, match="linked anew"):
        keep(world, phone, "desktop")
    assert out(desk) and not out(phone)


def knowing(device: Device, lost: str) -> tuple[list[str], list[str]]:
    """Who knows that a device is out, and who does not yet, as the list of devices says."""
    (found,) = [one for one in device.call(lambda calls: calls.devices()).devices if one.name == lost]
    return found.told, found.waiting


def test_a_revocation_says_who_knows_of_it_and_who_sleeps() -> None:
    world = World(7)
    phone, desk = world.linked("Ada")
    tablet = world.link(phone, "tablet")
    bob, carol = world.person("Bob"), world.person("Carol")
    world.friends(phone, bob)
    world.friends(phone, carol)
    world.settle()
    carol.stop()
    tablet.stop()
    lost = id_of(desk)
    said = phone.call(lambda calls: calls.device_revoke(lost))
    assert (said.told, said.waiting) == ([], ["Bob", "Carol", "tablet"])
    world.run(10)
    assert knowing(phone, "desktop") == (["Bob"], ["Carol", "tablet"])
    carol.boot()
    tablet.boot()
    world.run(10)
    world.settle()
    assert knowing(phone, "desktop") == (["Bob", "Carol", "tablet"], [])
    assert knowing(tablet, "desktop") == (["Bob", "Carol", "phone"], [])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plain_member_who_heard_that_all_are_out_hears_that_one_is_kept(seed: int) -> None:
    """Bob has told the group that every device of its creator is out, and may add nobody there."""
    world = World(seed, dht=True)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    world.grouped("Trip", phone, bob)
    bob.send("Trip", "before")
    world.settle()
    world.run(10)
    desk.stop()
    lose(world, phone)
    new = world.recover("Ada")
    world.run_until(lambda: new.knows("Bob"), "coming back", 900)
    world.settle()
    assert not [p for p in bob.space("Trip").state.roster if p.device != bob.engine.profile.account.device]
    keep(world, new, "desktop")
    world.run(30)
    new.stop()
    desk.boot()
    world.run(60)
    desk.send("Trip", "from the desk")
    world.run(60)
    new.boot()
    world.run_until(lambda: joined(new, desk), "moving", 900)
    world.settle()
    assert world.texts(bob, "Trip") == world.texts(desk, "Trip") == ["before", "from the desk"]
