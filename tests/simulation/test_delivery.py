"""Delivered means these bytes, opened by a device that proved itself: what others claim moves no message on."""

from __future__ import annotations

from crdt.log.head import HeadRef
from crdt.space.consent import sign_consent
from crdt.space.control import Add, Admit, Op
from crdt.space.record import Report, encode_record, seal_record
from identity.keys import SigningKey
from sync.engine.engine import Engine
from sync.service import delivery
from sync.service.ids import chat_id, identity_id
from sync.space.epochs import open_epoch
from sync.space.space import Space
from sync.store.memory import MemoryStore
from tests.support.device import NOTES, Device
from tests.support.three import device_id, identity, keys, three
from tests.support.world import Message, World


def states(world: World, device: Device, chat: str | Device) -> dict[str, str]:
    return {message.text: message.state for message in world.of(device, chat)}


def counted(device: Device, chat: str | Device) -> dict[str, tuple[int, int]]:
    """Text -> (delivered, devices) of what this device shows."""
    space, now_ms = device.space(chat), int(device.now * 1000)
    status = delivery.status_of(space)
    found = {row.text: status.of(row, now_ms) for row in device.rows(chat)}
    return {text: (one.delivered, one.devices) for text, one in found.items()}


def admit_as(mal: Device, club: Space, device: bytes, statements: tuple[bytes, ...], feed: SigningKey) -> None:
    """Mal lets in a feed of his own that is said to be written by that device."""
    assert club.mine is not None
    prekey = keys(mal).prekey.public
    consent = sign_consent(feed, club.id, club.mine.core, identity=None, device=device, prekey=prekey)
    let_in(mal, club, Admit(feed.public, device, statements, prekey, consent))


def let_in(mal: Device, club: Space, op: Op) -> None:
    def do(engine: Engine) -> None:
        open_epoch(club, int(mal.now * 1000), [op])

    mal.do(do)


def claim_everything(mal: Device, space: Space, feed: SigningKey) -> None:
    """Publishes a record of that feed which says that it has opened all there is."""
    epoch = space.epoch_keys.newest()
    assert epoch is not None
    now_ms = int(mal.now * 1000)
    feeds = sorted((f for f in space.feed_store.feeds.values() if f.length), key=lambda f: f.core)
    heads = tuple(HeadRef(f.core[:8], f.length, f.tree.hash()[:16]) for f in feeds)
    ids = tuple(key[:8] for key in list(space.keys)[-32:])
    report = Report(now_ms, heads, heads, (), keys(mal).prekey.public, (mal.rng(32), mal.rng(32)), (), ids)
    sealed = encode_record(seal_record(feed, space.id, epoch.secret, now_ms, report))
    mal.do(lambda engine: space.records.hear(feed.public, now_ms, sealed, now_ms))


# -- whose word it is -----------------------------------------------------------------------------------------


def test_a_second_feed_under_a_friends_device_id_delivers_nothing_to_that_friend() -> None:
    for seed in range(3):
        world, ada, mal, bob = three(f"claimed {seed}")
        world.grouped("club", bob, ada, mal)
        club, feed = mal.space("club"), SigningKey.generate(mal.rng)
        statements = tuple(mal.engine.profile.directory.encoded(identity(bob)))
        admit_as(mal, club, device_id(bob), statements, feed)
        world.run(20)
        bob.stop()
        world.run(5)
        ada.send("club", "did Bob get this?")
        world.run(20)
        claim_everything(mal, club, feed)
        world.run(20)
        assert states(world, ada, "club") == {"did Bob get this?": "queued"}
        assert "did Bob get this?" in world.outbox(ada)
        world.heal()
        world.run(60)
        assert "did Bob get this?" in world.texts(bob, "club")
        delivered, _ = counted(ada, "club")["did Bob get this?"]
        assert delivered == 2


def test_somebody_added_under_a_friends_name_never_counts_as_reached() -> None:
    world, ada, mal, bob = three("added")
    world.grouped("club", mal, ada)
    club, feed = mal.space("club"), SigningKey.generate(mal.rng)
    assert club.mine is not None
    prekey = keys(mal).prekey.public
    statements = tuple(mal.engine.profile.directory.encoded(identity(bob)))
    consent = sign_consent(feed, club.id, club.mine.core, identity=identity(bob), device=device_id(bob), prekey=prekey)
    let_in(mal, club, Add(identity(bob), feed.public, device_id(bob), statements, prekey, consent))
    world.run(20)
    ada.send("club", "hello, both of you")
    world.run(10)
    claim_everything(mal, club, feed)
    world.run(20)
    assert states(world, ada, "club") == {"hello, both of you": "queued"}
    assert counted(ada, "club") == {"hello, both of you": (1, 2)}


def test_a_record_of_another_branch_delivers_nothing() -> None:
    """Bob's record names the length of Ada's feed with the hash of other bytes."""
    world = World("branch")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "before")
    world.settle()
    world.cut(ada, bob)
    ada.send(bob, "nobody has this")
    theirs = bob.space(ada)
    epoch, mine = theirs.epoch_keys.newest(), theirs.mine
    own = ada.space(bob)
    assert epoch is not None and mine is not None and mine.key is not None and own.mine is not None
    now_ms = int(bob.now * 1000) + 1
    told = theirs.reports[mine.core]
    wrong = HeadRef(own.mine.core[:8], own.mine.length, bytes(16))
    heads = tuple(sorted((wrong, *(h for h in told.opened if h.core8 != wrong.core8)), key=lambda h: h.core8))
    lie = Report(now_ms, heads, heads, (), told.prekey, told.transports, told.hints, told.epochs, told.extensions)
    sealed = encode_record(seal_record(mine.key, theirs.id, epoch.secret, now_ms, lie))
    ada.do(lambda engine: own.records.hear(mine.writer, now_ms, sealed, now_ms))
    assert states(world, ada, bob) == {"before": "delivered", "nobody has this": "queued"}


# -- the same place, other bytes ------------------------------------------------------------------------------


def copied(device: Device) -> MemoryStore:
    """A copy of the folder, kept for later."""
    kept = MemoryStore()
    kept._tables = {table: rows.copy() for table, rows in device.store._tables.items()}
    return kept


def restored(device: Device, kept: MemoryStore) -> None:
    """The folder of an earlier day is put back."""
    device.store = MemoryStore(device.misfortune)
    device.store._tables = kept._tables
    device.boot()


def test_nothing_written_after_a_restored_folder_reads_delivered_that_nobody_has() -> None:
    world = World("restored")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    for number in range(3):
        ada.send(bob, f"old {number}")
    world.settle()
    backup = copied(ada)
    for number in range(4):
        ada.send(bob, f"newer {number}")
    world.settle()
    ada.stop()
    world.cut(ada, bob)
    restored(ada, backup)
    ada.send(bob, "first after the restore")
    ada.send(bob, "second after the restore")
    assert {states(world, ada, bob)[text] for text in ("old 0", "old 1", "old 2")} == {"delivered"}
    world.heal()
    for _ in range(8):
        world.run(30)
        there = world.texts(bob, ada)
        false = [m for m in world.of(ada, bob) if m.state in ("delivered", "read") and m.text not in there]
        assert not false


def test_a_restored_feed_that_grew_as_long_as_before_is_still_not_delivered() -> None:
    world = World("as long")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "old")
    world.settle()
    backup = copied(ada)
    ada.send(bob, "then")
    world.settle()
    length = bob.space(ada).feed_store.feeds[ada.feed(bob).core].length
    ada.stop()
    world.cut(ada, bob)
    restored(ada, backup)
    while (mine := ada.space(bob).mine) is not None and mine.length <= length:
        ada.send(bob, f"now {mine.length}")
    world.heal()
    world.run(120)
    there = world.texts(bob, ada)
    assert not [m for m in world.of(ada, bob) if m.state in ("delivered", "read") and m.text not in there]


def test_delivery_seen_once_stays_after_a_restart() -> None:
    world = World("again")
    phone, desk = world.linked("Ada", devices=2)
    bob = world.person("Bob")
    world.friends(phone, bob)
    phone.send(bob, "from the phone")
    desk.send(bob, "from the desktop")
    world.settle()
    bob.stop()
    phone.restart()
    desk.restart()
    world.run(20)
    for device in (phone, desk):
        assert states(world, device, bob) == {"from the phone": "delivered", "from the desktop": "delivered"}
        assert world.outbox(device) == []


# -- who came later -------------------------------------------------------------------------------------------


def test_what_was_said_before_somebody_joined_is_neither_owed_nor_delivered_to_them() -> None:
    world, ada, mal, bob = three("joined")
    world.grouped("club", ada, bob)
    ada.send("club", "before Mal came")
    bob.send("club", "Bob, before Mal came")
    world.settle()
    assert counted(ada, "club")["before Mal came"] == (1, 1)
    ada.call(lambda calls: calls.chat_add(chat_id(ada.space("club").id), identity_id(identity(mal))))
    world.settle()
    mal.join("club")
    world.settle()
    ada.send("club", "after Mal came")
    world.settle()
    assert counted(ada, "club")["before Mal came"] == (1, 1)
    assert counted(ada, "club")["after Mal came"] == (2, 2)
    assert counted(bob, "club")["Bob, before Mal came"] == (1, 1)
    assert world.outbox(ada) == world.outbox(bob) == []
    assert world.texts(mal, "club") == ["after Mal came"]


def test_a_device_linked_later_sees_no_delivery_to_who_came_after_the_message() -> None:
    world, ada, mal, bob = three("linked")
    world.grouped("club", ada, bob)
    ada.send("club", "before Mal came")
    world.settle()
    ada.call(lambda calls: calls.chat_add(chat_id(ada.space("club").id), identity_id(identity(mal))))
    world.settle()
    mal.join("club")
    world.settle()
    desk = world.link(ada, "desktop")
    ada.send("club", "after both")
    world.settle()
    assert counted(desk, "club")["before Mal came"] == (2, 2)  # Bob's phone, and this device
    assert counted(desk, "club")["after both"] == (3, 3)


# -- proofs ---------------------------------------------------------------------------------------------------


def test_who_was_in_before_proves_itself_to_a_newcomer_by_its_record() -> None:
    """Bob's grants have no slot for Mal, who came later; Bob's record has a proof for him."""
    world, ada, mal, bob = three("newcomer")
    world.grouped("club", ada, bob)
    bob.send("club", "first")
    world.settle()
    ada.call(lambda calls: calls.chat_add(chat_id(ada.space("club").id), identity_id(identity(mal))))
    world.settle()
    mal.join("club")
    world.settle()
    club = mal.space("club")
    core = bob.feed("club").core
    assert club.proofs.proved(core)
    mal.send("club", "hello")
    world.settle()
    assert Message("hello", "delivered") in world.of(mal, "club")
    assert counted(mal, "club")["hello"] == (2, 2)
    mal.restart()
    assert mal.space("club").proofs.proved(core)


def test_records_carry_no_proof_where_a_grant_has_given_it() -> None:
    world = World("lean")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "one")
    bob.send(ada, "two")
    world.settle()
    for one, other in ((ada, bob), (bob, ada)):
        space = one.space(other)
        assert space.mine is not None
        assert space.reports[space.mine.core].proofs == frozenset()
        assert all(space.proofs.proved(core) for core in space.state.writers)


def test_notes_to_self_are_delivered_to_my_other_device() -> None:
    world = World("notes")
    phone, _ = world.linked("Ada", devices=2)
    phone.send(NOTES, "milk")
    world.settle()
    assert states(world, phone, NOTES) == {"milk": "delivered"}


# -- lifetimes ------------------------------------------------------------------------------------------------


def test_a_message_whose_lifetime_has_passed_leaves_the_outbox_as_expired() -> None:
    world = World("lifetime")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.call(lambda calls: calls.chat_set(chat_id(ada.space(bob).id), "lifetime", "60"))
    ada.send(bob, "in time")
    world.settle()
    bob.stop()
    ada.send(bob, "too late for Bob")
    world.run(30)
    assert world.outbox(ada) == ["too late for Bob"]
    world.run(60)
    assert world.outbox(ada) == []
    space, now_ms = ada.space(bob), int(ada.now * 1000)
    status = delivery.status_of(space)
    assert [status.of(row, now_ms).state for row in ada.rows(bob)] == ["delivered", "expired"]
