"""A stolen phone and a contact spoil the way back: false copies with the highest counter, false records in the DHT.

Held by: a contact keeps a copy of an active device in place of one of a device that was shut out, whatever their
counters; records push out what the same record named, and nothing else; an older copy brings what the newest lacks
(`sync/engine/recovery/`).
"""

from __future__ import annotations

from crdt.docs.own import OwnProfile
from identity.device import new_device
from identity.keys import SigningKey
from identity.recovery import DropSlot, copy_maker, drop_slot, seal_copy, seal_record
from identity.statement import PREFIX, root_certificate
from sync.account.recovery_copy import CopiedContact, RecoveryCopy, encode_copy
from sync.engine.dialling import Whereabouts
from sync.engine.recovery.drops import MAX_HOLDERS
from sync.engine.recovery.messages import KEEP, encode_holder
from sync.store.port import Table
from tests.support.device import Device
from tests.support.household import key_of, notices, shut_out, written
from tests.support.world import World

FALSE = 2**64 - 1
BOUND = 40


def play(seed: str) -> None:
    world = World(seed, dht=True)
    phone, desk = world.linked("Ada")
    bob = world.person("Bob")
    mal = next(m for m in (world.person(f"Mal {n}") for n in range(9)) if place(m) != place(bob))
    for friend in (bob, mal):
        world.friends(phone, friend)
    bob.send("Ada", "before")
    world.settle()
    world.run(30)

    # While the phone is hers by all that anybody knows, its copy is hers, too: it names nobody but Mal, as Bob.
    false = false_copy(phone, mal)
    assert phone.engine.profile.recovery is not None
    slot = drop_slot(phone.engine.profile.recovery, place(mal))
    for friend in (bob, mal):
        for peer in phone.engine.peers.values():
            if peer.device == key_of(friend):
                body = PREFIX + slot.signing.seed + slot.secret + false
                phone.do(lambda engine, peer=peer, body=body: peer.mux.send(peer.main, KEEP, body))  # type: ignore[misc]
    world.run(5)
    assert kept(bob, world) == kept(mal, world) == false
    world.cut(phone, [desk, bob])
    shut_out(desk, key_of(phone))
    world.settle()
    desk.do(lambda engine: engine.profile.note(int(desk.now * 1000), OwnProfile(about="about me")))
    world.run(20)
    assert copy_maker(kept(bob, world)) == desk.engine.profile.account.keys.agreement.public
    row = slot.signing.seed + slot.secret + false  # Mal goes on giving the false one
    mal.do(lambda engine: engine.profile.context.batch.put(Table.META, b"kept/" + world.identities["Ada"], row))

    before = written(bob)
    bob.stop()
    world.forget(desk.name)
    world.forget(phone.name)
    owner = world.recover("Ada")
    for _ in range(2 * 8 * MAX_HOLDERS):  # as many looks would take hours
        value = spam(world, slot, mal)
        owner.do(lambda engine, value=value: engine.sought(slot.signing.public, value, owner.now))  # type: ignore[misc]
    world.run(100)
    bob.boot()
    world.run_until(lambda: owner.knows("Bob"), "coming back", 1500)
    world.run(60)
    owner.send("Bob", "it is me")
    world.run(5)

    contacts = owner.engine.profile.view.contacts
    assert contacts[world.identities["Bob"]].profile == "Bob" and "Recovered: 1 contact" in notices(owner)
    assert world.texts(bob, "Ada")[-1] == "it is me"
    assert len(owner.engine.dialling.holders) <= 8 * MAX_HOLDERS
    assert written(bob) - before <= BOUND
    for honest in (owner, bob):
        assert [honest.engine.faults, honest.errors] == [[], []], honest.name


def place(friend: Device) -> int:
    """Which record of the eight is this contact's."""
    return 1 + friend.engine.profile.account.identity[0] % 7


def kept(device: Device, world: World) -> bytes:
    found = device.engine.recovery.copies.kept(world.identities["Ada"])
    return found.copy if found is not None else b""


def false_copy(phone: Device, mal: Device) -> bytes:
    """What a thief's phone says: the only contact is Mal, who is called Bob and is verified."""
    profile, other = phone.engine.profile, mal.engine.profile
    identity = other.account.identity
    statements = tuple(other.directory.encoded(identity))
    one = CopiedContact(identity, "Bob", "Bob", False, True, bytes(32), statements)
    text = encode_copy(RecoveryCopy(2**40, "", (one,), ()))
    assert profile.recovery is not None
    return seal_copy(profile.recovery, profile.account.keys.agreement, FALSE, text, phone.rng, phone.kem)


def spam(world: World, slot: DropSlot, mal: Device) -> bytes:
    """Another device of nobody says in Mal's record that it keeps a copy."""
    root, one = SigningKey.generate(mal.rng), new_device(mal.rng, mal.now)
    certificate = root_certificate(root, one.signing, one.agreement.public, created=1, generation=1)
    where = Whereabouts(int(mal.now * 1000), (mal.rng(32), mal.rng(32)), ("10.0.0.99:4000",))
    assert world.dht is not None
    value = seal_record(slot, mal.rng, encode_holder(one.id, [certificate], where))
    world.dht.put_record(slot.signing.public, 2**53 + int(world.now), value)
    return value
