"""People whose devices know no address of each other: keys and topics of a DHT lead them together, or nothing does."""

from __future__ import annotations

import pytest

from crdt.docs.own import OwnContact
from crdt.space.rendezvous import topics
from identity.keys import SigningKey
from sync.engine.candidates import BURST, MAX_KEYS, REFILL
from sync.engine.topics import FIRST_JITTER
from sync.space.space import Space
from tests.support.device import Device
from tests.support.rendezvous import Rendezvous
from tests.support.world import Message, World


def apart(seed: str) -> World:
    """Nobody tells anybody an address."""
    return World(seed, dht=True, hints=False)


def dht_of(world: World) -> Rendezvous:
    assert world.dht is not None
    return world.dht


def topics_now(device: Device, space: Space) -> tuple[bytes, ...]:
    assert space.z is not None
    return topics(space.z, int(device.now * 1000))


def test_people_who_know_no_address_meet_and_write() -> None:
    world = apart("strangers in the night")
    phone, desk = world.linked("Ada", devices=2)  # the pairing itself goes by the one-use key
    bob = world.person("Bob")
    world.friends(phone, bob)  # and the invite by its own
    phone.send("Bob", "how did you find me?")
    world.settle()
    bob.send("Ada", "by your key")
    world.settle()
    assert world.of(bob) == [Message("how did you find me?"), Message("by your key", "delivered")]
    assert world.texts(desk) == world.texts(phone)
    assert all(peer.hints == () for peer in bob.engine.dialling.whereabouts().values())


def test_devices_find_each_other_at_new_addresses() -> None:
    world = apart("moved")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    for device in (ada, bob):
        device.stop()
    for device in (ada, bob):
        device.move()
        device.boot()
    ada.send(bob, "new house, same keys")
    world.settle()
    assert world.texts(bob) == ["new house, same keys"]


def test_device_off_for_a_month_finds_friends_with_new_keys_and_addresses() -> None:
    """Nobody's transport key is what it was, and nobody's address; the topic of the day is all that is left."""
    world = apart("a month in bed")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    old = {peer.transports for peer in ada.engine.dialling.whereabouts().values()}
    for device in (ada, bob):
        device.stop()
    world.sleep(days=33)
    for device in (bob, ada):
        device.move()
        device.boot()
    ada.send(bob, "good morning")
    world.settle()
    assert world.texts(bob) == ["good morning"]
    assert {peer.transports for peer in ada.engine.dialling.whereabouts().values()}.isdisjoint(old)


def test_contact_off_right_after_the_invite_is_found_without_any_chat_state() -> None:
    """Bob has the secret of the chat and not one entry of it; a month later both are somebody else on the network."""
    world = apart("one word")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob, settle=False)
    for device in (ada, bob):
        device.stop()
    world.sleep(days=33)
    for device in (ada, bob):
        device.move()
        device.boot()
    assert bob.space("Ada").state.creator is None
    ada.send(bob, "where were we?")
    world.settle()
    assert world.texts(bob) == ["where were we?"]


@pytest.mark.parametrize("seed", range(4))
def test_device_that_missed_a_leave_is_found_under_the_old_secret(seed: int) -> None:
    """Ada and Bob share nothing but the club, and Carol, who left it and is gone, was all that joined them.
    Whose epoch has the lower id is a matter of the seed."""
    world = apart(f"slept through it {seed}")
    ada, bob, carol = world.person("Ada"), world.person("Bob"), world.person("Carol")
    world.friends(carol, ada)
    world.friends(carol, bob)
    world.grouped("club", carol, ada, bob)
    bob.send("club", "good night")
    world.settle()
    bob.stop()
    carol.leave("club")
    world.settle()
    ada.send("club", "Carol is gone")
    world.settle()
    assert len(ada.space("club").rendezvous) == 2, "a leave draws a new Z"
    for device in (ada, carol):
        device.stop()
    world.sleep(days=33)
    for device in (bob, ada):
        device.move()
        device.boot()
    world.settle()
    assert world.texts(bob, "club") == ["good night", "Carol is gone"]
    assert bob.space("club").z == ada.space("club").z


def test_earlier_rendezvous_secret_is_looked_up_and_never_announced() -> None:
    world = apart("only looking")
    ada, bob, carol = world.person("Ada"), world.person("Bob"), world.person("Carol")
    world.friends(ada, bob)
    world.friends(ada, carol)
    world.grouped("club", ada, bob, carol)
    bob.stop()
    carol.leave("club")
    world.settle()
    space, dht = ada.space("club"), dht_of(world)
    (earlier,) = [topic for z in space.rendezvous[1:] for topic in topics(z, int(ada.now * 1000))]
    world.run(FIRST_JITTER + 1)
    assert earlier in dht.topics_of(ada)
    own = {key.public for _, key in ada.engine.profile.account.transports}
    dht.leave(ada, earlier)  # what stood there from the time when it was the Z in use
    ada.restart()
    world.run(30.0)
    assert earlier in dht.topics_of(ada) and not own & dht.announced(earlier)
    bob.boot()
    world.settle()
    world.run(1300.0)
    assert earlier not in dht.topics_of(ada), "nobody is missing there any more"


def test_topic_full_of_unknown_keys_costs_bounded_work() -> None:
    """Mal knows the topic and stands there a hundred and fifty times, with true keys that answer and prove nothing."""
    world = apart("crowd")
    ada, bob, mal = world.person("Ada"), world.person("Bob"), world.person("Mal")
    world.friends(ada, bob)
    for device in (ada, bob, mal):
        device.stop()
    world.sleep(days=33)
    mal.boot()
    dht = dht_of(world)
    for device in (ada, bob):
        device.move()
        device.boot()
    space = ada.space("Bob")
    crowd = [SigningKey.generate(mal.rng) for _ in range(150)]
    assert mal.core is not None
    for key in crowd[:75]:
        mal.core.listen(key)  # half of them answer
    for topic in topics_now(ada, space):
        dht.occupy(topic, crowd, mal.address)
    before, start = len(dht.asked), world.now
    ada.send(bob, "I know you among thousands")
    world.settle(1500.0)
    assert world.texts(bob) == ["I know you among thousands"]
    world.run(900.0)
    for device in (ada, bob):
        dialled = [key for one, key in dht.asked[before:] if one is device]
        assert len(dialled) <= BURST + (world.now - start) / REFILL + 60
        assert len(device.engine.candidates) <= MAX_KEYS * 2
        assert len(device.engine.peers) <= 8


def test_lying_and_lossy_dht_only_delays_discovery() -> None:
    world = apart("liars")
    dht = dht_of(world)
    dht.lies, dht.loss = 20, 0.5
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    for device in (ada, bob):
        device.stop()
    world.sleep(days=33)
    for device in (ada, bob):
        device.move()
        device.boot()
    bob.send("Ada", "at last")
    world.settle(3600.0)
    assert world.texts(ada) == ["at last"]


def test_address_hints_suffice_without_a_dht() -> None:
    world = World("dead", dht=True)
    dht_of(world).alive = False
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone.stop()
    bob.send("Ada", "who needs a DHT")
    world.settle()
    assert world.texts(desk) == ["who needs a DHT"]


def test_single_device_without_contacts_joins_no_topic() -> None:
    """One device, no contacts: there is nobody to be found, so nothing is announced but its own key."""
    world = apart("alone")
    ada = world.person("Ada")
    world.settle()
    world.run(60.0)
    assert dht_of(world).topics_of(ada) == set()


def test_blocked_contact_is_not_looked_for() -> None:
    world = apart("blocked")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    world.run(FIRST_JITTER + 1)
    topic = topics_now(ada, ada.space("Bob"))[0]
    assert topic in dht_of(world).topics_of(ada)
    bobs = world.identities["Bob"]
    ada.do(lambda engine: engine.profile.note(int(ada.now * 1000), OwnContact(bobs, blocked=True)))
    world.run(2.0)
    assert topic not in dht_of(world).topics_of(ada)


def test_topics_and_keys_overlap_near_midnight_and_week_ends() -> None:
    world = apart("late on Sunday")
    phone, desk = world.linked("Ada", devices=2)
    dht, personal = dht_of(world), phone.engine.profile.personal
    account = phone.engine.profile.account
    this, following = account.transport(phone.now).public, account.next_transport(phone.now).public
    assert len(topics_now(phone, personal)) == 1
    assert dht.keys_of(phone) == {this}
    for device in (phone, desk):
        device.stop()
    world.sleep(days=3 + 13 / 24)  # worlds begin on a Thursday, 9:00 UTC
    for device in (phone, desk):
        device.boot()
    world.settle()
    world.run(FIRST_JITTER + 1)
    assert set(topics_now(phone, phone.engine.profile.personal)) <= dht.topics_of(phone)
    assert len(dht.topics_of(phone)) == 2
    assert dht.keys_of(phone) == {this, following}
    for device in (phone, desk):
        device.stop()
    world.sleep(days=0.1)
    phone.boot()
    world.run(1.0)
    assert dht.keys_of(phone) == {following}


def test_daily_topics_change_at_staggered_times() -> None:
    world = apart("a whole day")
    phone, desk = world.linked("Ada", devices=2)
    world.run(FIRST_JITTER + 1)
    dht, yesterday = dht_of(world), dht_of(world).topics_of(phone)
    desk.stop()
    moved = []
    for _ in range(24 * 12):
        before = dht.topics_of(phone)
        world.run(300.0)
        if dht.topics_of(phone) != before:
            moved.append(int((phone.now % 86_400) / 3600))
    assert moved == [21, 3]
    assert dht.topics_of(phone).isdisjoint(yesterday)
    desk.boot()
    phone.send("notes", "another day")
    world.settle()
    assert world.texts(desk) == ["another day"]
