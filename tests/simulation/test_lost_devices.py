"""Lost, stolen and recovered devices in the chats of others, and operations of tomorrow's versions.

The recovery phrase speaks here through its root key; what the recovered device itself does is its own matter.
"""

from __future__ import annotations

import pytest

from crdt.space.consent import sign_consent
from crdt.space.control import Add, Unknown
from crdt.space.epoch import recipients
from identity.device import new_device
from identity.errors import KithkinError
from identity.keys import Random, SigningKey
from identity.phrase import new_phrase, phrase_keys
from identity.statement import Certificate, root_certificate
from sync.engine.engine import Engine
from sync.space.epochs import open_epoch, write_control
from tests.simulation.test_attacks import nothing_broke
from tests.support import world as worlds
from tests.support.device import Device
from tests.support.streams import stream
from tests.support.three import device_id, identity, three
from tests.support.world import World

RNG = stream("lost devices")


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, SigningKey]:
    """Identity -> root key of each person of a world, as they come."""
    found: dict[bytes, SigningKey] = {}

    def noted(rng: Random) -> str:
        words = new_phrase(rng)
        root = phrase_keys(words).root
        found[root.public] = root
        return words

    monkeypatch.setattr(worlds, "new_phrase", noted)
    return found


def learn(device: Device, *statements: Certificate) -> None:
    """As a hello, a kit or a contact's copy brings statements."""

    def go(engine: Engine) -> None:
        engine.profile.learn(statements)
        for space in engine.profile.spaces.values():
            space.look_again()

    device.do(go)


def test_lost_phone_of_a_recovered_friend_gets_no_keys_and_the_new_one_may_come_in(
    roots: dict[bytes, SigningKey],
) -> None:
    world = World("recovered friend")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(bob, ada)
    lost, space, root = device_id(ada), bob.space(ada), roots[identity(ada)]
    ada.stop()
    new, generation = new_device(RNG, bob.now), int(bob.now) + 9
    word = root_certificate(
        root, new.signing, new.agreement.public, created=int(bob.now), generation=generation
    )  # no list: the phone is not kept
    learn(bob, word)
    world.run(10)
    now_ms, mine = int(bob.now * 1000), space.mine
    assert mine is not None and [p.device for p in space.state.roster] == [device_id(bob)]
    assert lost not in {r.device for r in recipients(space.state, mine.core, {}, now_ms)}
    w = SigningKey.generate(RNG)
    consent = sign_consent(w, space.id, mine.core, identity=root.public, device=new.id, prekey=new.prekey.public)
    said = bob.engine.profile.directory.encoded(root.public, new.id)
    add = Add(root.public, w.public, new.id, said, new.prekey.public, consent)
    assert space.graph.can(mine.core, add)
    bob.do(lambda engine: open_epoch(space, now_ms, [add]))
    assert {p.device for p in space.state.roster} == {device_id(bob), new.id}


def test_lost_device_of_ones_own_is_put_out_of_every_chat_by_the_phrases_newest_word(
    roots: dict[bytes, SigningKey],
) -> None:
    """Nothing revokes it: the phrase kept the other device by name, and not this one."""
    world = World("kept by name")
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.friends(phone, bob)
    world.settle()
    root, lost = roots[identity(phone)], device_id(desk)
    desk.stop()
    directory, new = phone.engine.profile.directory, new_device(RNG, phone.now)
    kept = [s.id for s in directory.statements(root.public) if getattr(s, "device", b"") == device_id(phone)]
    assert kept and lost in {p.device for p in bob.space(phone).state.roster}
    word = root_certificate(
        root, new.signing, new.agreement.public, created=1, generation=int(phone.now) + 9, stay=kept
    )
    learn(phone, word)
    world.run(30)
    for device in (phone, bob):
        for space in device.engine.profile.spaces.values():
            assert lost not in {p.device for p in space.state.roster}, space.kind
    closed = [w.core for w in bob.space(phone).state.writers.values() if w.device == lost]
    assert closed and not any(map(bob.space(phone).state.open, closed)), "its own member closes its feed"
    phone.send(bob, "still here")
    world.run(10)
    assert world.texts(bob, phone) == ["still here"]
    nothing_broke(phone, bob)


def test_operation_of_a_later_version_stops_older_ones_until_they_are_updated() -> None:
    world, ada, mal, bob = three(11)
    world.grouped("club", ada, mal, bob)
    ada.send("club", "before")
    world.settle()
    ada.do(lambda engine: write_control(ada.space("club"), [Unknown(11, b"rule of tomorrow")], int(ada.now * 1000)))
    world.run(10)
    club = bob.space("club")
    assert club.state.stopped and not club.may_write
    length, epochs = club.mine.length if club.mine else 0, set(club.state.epochs)
    with pytest.raises(KithkinError) as refused:
        bob.send("club", "sealed to whom?")
    assert refused.value.code == "update_needed" and "Update Kithkin" in str(refused.value)
    bob.restart()
    world.run(60)
    club = bob.space("club")
    assert club.state.stopped and club.mine is not None and club.mine.length == length
    assert set(club.state.epochs) == epochs
    bob.send(ada, "something else")
    world.run(10)
    assert world.texts(ada, bob) == ["something else"]
    nothing_broke(ada, bob)


def test_odd_operation_of_a_plain_member_stops_nobody() -> None:
    world, ada, mal, bob = three(12)
    world.grouped("club", ada, mal, bob)
    world.settle()
    mal.do(lambda engine: write_control(mal.space("club"), [Unknown(11, b"")], int(mal.now * 1000)))
    world.run(10)
    bob.send("club", "goes on")
    world.run(10)
    assert world.texts(ada, "club") == ["goes on"]
    nothing_broke(ada, bob)
