"""Attacks that were tried on the engine, and what must come of them: nothing.

Ada is the victim, Mal whoever attacks, with production code but for the methods that a test replaces; Bob is honest.
`docs/threat-model.md` says who may do what; each test here is one thing that somebody may not do.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pytest

from crdt.docs.chat import Message as ChatMessage
from crdt.docs.chat import Offer
from crdt.docs.kinds import DocKind
from crdt.docs.schema import dump_value
from crdt.docs.update import make_update
from crdt.log.entry import GRANT_TAG, Kind, Plaintext, encode_plaintext, message_key, read_block, seal_entry
from crdt.log.item import Item
from crdt.log.manifest import core_key
from crdt.log.pack import encode_pack, seal_pack
from crdt.space.consent import sign_consent
from crdt.space.control import Add, Admit, ControlBody, Epoch, Parent, Set, encode_control
from crdt.space.epoch import z_check
from crdt.space.grant import OpenedGrant, make_grant
from crdt.space.rendezvous import space_id
from identity.codec import Writer
from identity.device import new_device
from identity.errors import KithkinError
from identity.invite import Person, person_of
from identity.keys import SigningKey
from identity.statement import Statement, certificate_body, counter_sign, issue, revoke, root_certificate
from sync.account import directory as directories
from sync.engine import replication
from sync.engine.dialling import PendingDial
from sync.engine.effects import OnboardingFailed
from sync.engine.engine import Engine
from sync.engine.hello import GRANTS, DeviceHandshake, encode_handover
from sync.engine.onboarding.approve import Approvals
from sync.engine.peer import Peer, Purpose, SpaceLink
from sync.engine.replication import PROTOCOL, Replication
from sync.engine.tasks.offers import MAX_INVITED
from sync.service.ids import chat_id, identity_id
from sync.space import facts as reading
from sync.space import members
from sync.space.epochs import open_epoch
from sync.space.feed import Feed
from sync.space.outbound import Draft
from sync.space.space import Space
from sync.store.port import Table
from tests.support.device import NOTES, Device
from tests.support.three import device_id, identity, keys, three
from tests.support.world import Message, World

Patch = pytest.MonkeyPatch


# -- who they are ---------------------------------------------------------------------------------------------


def peers(device: Device, other: Device) -> list[Peer]:
    """Connections of a device that are proved to lead to the other one."""
    found = [peer for peer in device.engine.peers.values() if not peer.closing]
    return [peer for peer in found if peer.device == device_id(other)]


def peer(device: Device, other: Device) -> Peer:
    (found,) = peers(device, other)
    return found


def must(feed: Feed | None) -> Feed:
    assert feed is not None
    return feed


def flush(device: Device) -> None:
    """What was put on its connections behind the engine's back goes out."""
    device.do(lambda engine: None)


def nothing_broke(*devices: Device) -> None:
    assert [(device.name, device.engine.faults, device.errors) for device in devices] == [
        (device.name, [], []) for device in devices
    ]


def works(world: World, one: Device, other: Device, text: str) -> None:
    """They can still write to each other."""
    one.send(other, text)
    world.settle()
    assert Message(text, "delivered") in world.of(one, other)
    assert text in world.texts(other, one)


def give(mal: Device, patch: Patch, packs: Iterable[list[Item]]) -> None:
    """Answers whoever asks for history with these packs and nothing else."""
    replication, waiting = mal.engine.replication, iter(packs)

    def answer(peer: Peer, link: SpaceLink, space: Space, request: int, now: float) -> None:
        items = next(waiting, None)
        if link.replicator is None:
            return
        if items is None:
            replication.perform(peer, link, link.replicator.answer_history(request, (), now, done=True), now)
            return
        key = mal.rng(32)
        sealed = seal_pack(encode_pack(sorted(items, key=lambda item: (item.core, item.seq))), key)
        told = replication._seal_key(peer, space, link.prekeys[request], key)
        assert told is not None
        replication.perform(peer, link, link.replicator.give_pack(request, told, sealed, now), now)

    def asked(peer: Peer, link: SpaceLink, space: Space, request: int, spans: object, now: float) -> None:
        answer(peer, link, space, request, now)

    patch.setattr(replication, "_asked", asked)
    patch.setattr(replication, "_give", answer)


def junk_items(mal: Device, cores: Iterable[bytes], count: int) -> list[Item]:
    text = encode_plaintext(Plaintext(Kind.MERGE, 1, (), b""))
    found = []
    for core in cores:
        for seq in range(count):
            key, tag = message_key(bytes(32), core, seq)
            found.append(Item(core, seq, tag, key, text))
    return found


def parked(device: Device, space: Space) -> list[bytes]:
    """Cores of the items that wait in the store."""
    return [key[32:64] for key, _ in device.store.scan(Table.ITEM, space.id, space.id + b"\xff" * 64)]


# -- whose a device is ----------------------------------------------------------------------------------------


def belongs_to(victim: Device, thief: Device) -> Statement:
    """A certificate, signed by a device, which says that this same device is one of the victim's."""
    own = keys(thief)
    signer = (own.signing.public, own.agreement.public)
    body = certificate_body(
        identity(victim), own.signing.public, own.agreement.public, created=1, generation=1, signer=signer
    )
    return issue(body, counter_sign(body, own.signing), own.signing)


@pytest.mark.parametrize("way", ["grant", "admit", "revoke"])
def test_self_made_certificate_makes_no_device_of_mine(way: str) -> None:
    world = World(5)
    ada, mal, bob = world.person("Ada"), world.person("Mal"), world.person("Bob")
    world.friends(ada, mal)
    world.friends(ada, bob)
    bob.send(ada, "secret of Bob")
    ada.send(NOTES, "my private note")
    world.settle()
    second = world.link(mal, "desktop", settle=False)
    junk = belongs_to(ada, second)
    chat = mal.space(ada)
    assert chat.mine is not None
    if way == "grant":
        entry = chat.feed_store.entry(chat.mine, 0)
        assert entry is not None
        body = encode_handover(chat.id, chat.mine.writer, 0, entry.block, [], [junk.encoded])
        there = peer(mal, ada)
        there.mux.send(there.main, GRANTS, body)
    elif way == "admit":
        admit = Admit(SigningKey.generate(mal.rng).public, device_id(second), (junk.encoded,), bytes(32), bytes(64))
        control = encode_control(ControlBody(chat.graph.tips(chat.mine.core), (admit,)))
        mal.do(lambda engine: _append(engine, chat, Draft(Kind.CONTROL, lambda seq: control), mal.now))
    else:
        mal.do(lambda engine: engine.profile.learn([junk]))
    world.settle()
    ada.send(NOTES, "another private note")
    works(world, ada, mal, "hello")
    directory = ada.engine.profile.directory
    found = directory.device(device_id(second))
    assert found is not None and found.identity == identity(mal)
    assert [device.id for device in directory.active(identity(ada))] == [device_id(ada)]
    assert {link for one in peers(ada, second) for link in one.links} <= {chat.id}
    assert set(second.engine.profile.spaces) & set(ada.engine.profile.spaces) == {chat.id}
    nothing_broke(ada, bob)


def _append(engine: Engine, space: Space, draft: Draft, now: float) -> None:
    space.append([draft], int(now * 1000))


def test_echoing_a_channel_proof_serves_nothing(monkeypatch: Patch) -> None:
    """Ada waits for a space of which she knows the id and Z alone, and so tells its channel to everybody she meets."""
    world = World(6)
    ada, mal = world.person("Ada"), world.person("Mal")
    world.friends(ada, mal)
    waiting = ada.rng(32)
    ada.do(lambda engine: engine.profile.space(waiting).epoch_keys.set_z(ada.rng(32)))
    heard: list[int] = []

    def echo(self: DeviceHandshake, peer: Peer, name: bytes, now: float) -> None:
        if self is not mal.engine.handshake:
            real(self, peer, name, now)
            return
        number = peer.mux.open(PROTOCOL, name)
        link = SpaceLink(mal.engine.profile.space(waiting).id, number, name, b"")
        peer.links[waiting] = peer.by_channel[number] = link

    def hear(self: Replication, peer: Peer, link: SpaceLink, type: int, body: bytes, now: float) -> None:
        if link.space == waiting:
            heard.append(type)
        receive(self, peer, link, type, body, now)

    real, receive = DeviceHandshake.offered, Replication.receive
    monkeypatch.setattr(DeviceHandshake, "offered", echo)
    monkeypatch.setattr(Replication, "receive", hear)
    ada.restart()
    world.run(5)
    assert heard == []
    assert all(link.replicator is None for one in ada.engine.peers.values() for link in one.links.values())
    assert "a space channel without its proof" in world.trace.tail()
    monkeypatch.undo()
    ada.restart()
    mal.restart()
    works(world, ada, mal, "hello")
    nothing_broke(ada)


# -- a stolen device of mine ----------------------------------------------------------------------------------


def test_hundreds_of_statements_by_a_stolen_device_stop_nothing() -> None:
    world = World(31)
    ada, desk = world.linked("Ada")
    bob = world.person("Bob")
    world.cut(ada, desk)
    ada.group("before")
    own, directory = keys(desk), desk.engine.profile.directory
    signer = (own.signing.public, own.agreement.public)
    generation = max(statement.generation for statement in directory.statements(identity(desk)))
    junk: list[Statement] = []
    for number in range(100):
        new = new_device(desk.rng, desk.now)
        made = certificate_body(
            identity(desk),
            new.signing.public,
            new.agreement.public,
            created=int(desk.now) + number,
            generation=generation,
            signer=signer,
        )
        junk.append(issue(made, counter_sign(made, new.signing), own.signing))
        junk.append(
            revoke(
                identity(desk),
                desk.rng(32),
                created=int(desk.now) + number,
                generation=generation,
                signer=signer,
                key=own.signing,
            )
        )
    ada.do(lambda engine: engine.profile.learn(junk))
    world.heal()
    world.settle()
    ada.restart()
    world.friends(ada, bob)
    assert not refused(bob), bob.steps
    ada.group("after", bob)
    world.settle()
    bob.join("after")
    world.settle()
    ada.send("after", "still here")
    ada.send(NOTES, "noted")
    world.settle()
    assert world.texts(bob, "after") == ["still here"]
    assert world.texts(ada, NOTES) == ["noted"]
    works(world, ada, bob, "hello")
    end = ada.engine.profile.account.keys
    signer = (end.signing.public, end.agreement.public)
    shut = revoke(
        identity(ada), device_id(desk), created=int(ada.now), generation=generation, signer=signer, key=end.signing
    )

    def shut_out(engine: Engine) -> None:
        engine.profile.learn([shut])
        for space in engine.profile.spaces.values():
            space.look_again()

    ada.do(shut_out)
    world.run(10)
    notes = ada.space(NOTES)
    assert [device.id for device in ada.engine.profile.directory.active(identity(ada))] == [device_id(ada)]
    assert not [w for w in notes.state.writers.values() if w.device == device_id(desk) and w.open and not w.out]
    assert not [s.id for s in ada.engine.profile.spaces.values() if device_id(desk) in s.devices()]
    nothing_broke(ada, bob)


# -- more of it than anybody needs ----------------------------------------------------------------------------


def room_for_few(monkeypatch: Patch) -> None:
    for module in (members, reading):
        monkeypatch.setattr(module, "MAX_CORES", 64)


def test_start_survives_more_authorless_feeds_than_are_remembered(monkeypatch: Patch) -> None:
    world = World(2)
    ada = world.person("Ada")
    room_for_few(monkeypatch)

    def flood(engine: Engine) -> None:
        notes, dumped = ada.space(NOTES), [dump_value(ChatMessage(bytes(16), "of nobody"))]
        for _ in range(100):
            core = ada.rng(32)
            body = make_update(core, 0, DocKind.CHAT, dumped)
            notes.facts.update(Plaintext(Kind.UPDATE, 1, (), body), core, 0, ms(ada))
        notes.members.vouch(ada.rng(32) for _ in range(100))

    ada.do(flood)
    assert len(ada.space(NOTES).facts.unfolded) == len(ada.space(NOTES).members.vouched) == 64
    ada.restart()
    ada.send(NOTES, "up again")
    assert world.texts(ada, NOTES) == ["up again"]
    nothing_broke(ada)


# -- groups ---------------------------------------------------------------------------------------------------


def test_forged_grant_changes_neither_keys_nor_topic_of_a_group() -> None:
    world, ada, mal, bob = three(9)
    world.grouped("club", ada, mal, bob)
    club = ada.space("club")
    z, held = club.z, dict(club.keys)
    writer = SigningKey.generate(mal.rng)
    core = core_key(writer.public)
    there, own = peer(mal, ada), keys(ada)
    for seq in range(4):
        secret, false = mal.rng(32), mal.rng(32)
        slots = [(own.agreement.public, own.prekey.public)]
        grant = make_grant(mal.rng, secret, false, core, seq, club.id, keys(mal).agreement, slots)
        key, _ = message_key(secret, core, seq)
        body = encode_control(ControlBody((), (Epoch((), (), z_check(false)),)))
        text = encode_plaintext(Plaintext(Kind.CONTROL, 1, (), body))
        block = seal_entry(key, GRANT_TAG, core, club.id, seq, text, grant)
        there.mux.send(there.main, GRANTS, encode_handover(club.id, writer.public, seq, block, [], []))
    flush(mal)
    world.run(30)
    assert ada.space("club").z == z and ada.space("club").keys.items() <= held.items()
    ada.send("club", "first")
    world.settle()
    ada.restart()
    world.settle()
    assert ada.space("club").z == z and ada.space("club").keys.items() <= held.items()
    mal.stop()
    ada.send("club", "second")
    world.settle()
    assert world.of(ada, "club")[0].text == "first"
    assert world.texts(bob, "club") == ["first", "second"]
    nothing_broke(ada, bob)


def denies_everything(mal: Device, patch: Patch) -> None:
    """Answers whoever asks for anything that it is not for him."""
    replication = mal.engine.replication

    def asked(peer: Peer, link: SpaceLink, space: Space, request: int, spans: object, now: float) -> None:
        lies = tuple((feed.writer, 0, 2**39) for feed in space.feed_store.feeds.values())
        if link.replicator is not None:
            replication.perform(peer, link, link.replicator.answer_history(request, lies, now, done=True), now)

    patch.setattr(replication, "_asked", asked)


def test_denial_of_entries_sealed_for_me_is_not_believed(monkeypatch: Patch) -> None:
    world, ada, mal, bob = three(11)
    world.grouped("club", ada, mal, bob)
    world.cut(ada, bob)
    club, theirs = ada.space("club"), bob.space("club").mine
    assert theirs is not None
    lost = dict(club.epoch_keys.keyring.held)
    club.epoch_keys.keyring.held.clear()
    club.epoch_keys.keyring._last.clear()
    denies_everything(mal, monkeypatch)
    bob.send("club", "for everybody")
    world.run(20)
    feed = club.feed_store.feeds[theirs.core]
    assert feed.length == theirs.length and feed.opened < feed.length
    assert club.inbound.denied == {}
    assert world.of(bob, "club") == [Message("for everybody", "sent")] or world.of(bob, "club")[0].state != "delivered"
    for epoch in lost.values():
        club.epoch_keys.learn(epoch.id, OpenedGrant(epoch.secret, epoch.z, None))
    ada.do(lambda engine: None)
    world.heal()
    world.settle()
    assert world.texts(ada, "club") == ["for everybody"]
    assert world.of(bob, "club") == [Message("for everybody", "delivered")]
    assert feed.opened == feed.length
    nothing_broke(ada, bob)


def test_denial_by_one_peer_does_not_hide_what_another_gives(monkeypatch: Patch) -> None:
    """A group that shows newcomers what was written before: the first whom Ada asks denies all but who is in it."""
    world, ada, mal, bob = three(12)
    world.grouped("club", bob, mal)
    open_history(bob, "club")
    bob.send("club", "long ago")
    world.settle()
    replication = mal.engine.replication
    real = replication._asked

    def asked(peer: Peer, link: SpaceLink, space: Space, request: int, spans: object, now: float) -> None:
        if spans is None:
            real(peer, link, space, request, (), now)
        elif link.replicator is not None:
            lies = tuple((feed.writer, 0, 2**39) for feed in space.feed_store.feeds.values())
            replication.perform(peer, link, link.replicator.answer_history(request, lies, now, done=True), now)

    monkeypatch.setattr(replication, "_asked", asked)
    bob.call(lambda calls: calls.chat_add(shown(bob, "club"), identity_id(identity(ada))))
    world.settle()
    ada.join("club")
    world.run_until(lambda: len(bob.space("club").state.writers) == 3, "the admission")
    world.cut(ada, bob)
    world.run(60)
    club = ada.space("club")
    assert (
        club.feed_store.feeds[must(bob.space("club").mine).core].length
        and club.inbound.sealed
        and not club.inbound.denied
    )
    world.heal()
    world.settle()
    assert world.texts(ada, "club") == ["long ago"]
    nothing_broke(ada, bob)


def ms(device: Device) -> int:
    return int(device.now * 1000)


def shown(device: Device, title: str) -> str:
    return chat_id(device.space(title).id)


def open_history(device: Device, title: str) -> None:
    def change(engine: Engine) -> None:
        space = device.space(title)
        open_epoch(space, ms(device), [Set("history", b"all")])

    device.do(change)


# -- history and packs ----------------------------------------------------------------------------------------


def test_history_packs_of_unknown_feeds_leave_nothing_stored(monkeypatch: Patch) -> None:
    world, ada, mal, bob = three(3)
    room_for_few(monkeypatch)
    world.cut(ada, bob)
    mal.group("club", ada)
    world.settle()
    give(mal, monkeypatch, [junk_items(mal, [mal.rng(32) for _ in range(40)], 3) for _ in range(5)])
    ada.join("club")
    world.run(10)
    club = ada.space("club")
    assert len(club.members.vouched) <= 64
    assert len(parked(ada, club)) <= 3 * 64
    monkeypatch.undo()
    mal.restart()  # from now on he answers as everybody does
    ada.restart()
    world.settle()
    mal.send("club", "welcome")
    world.settle()
    assert world.texts(ada, "club") == ["welcome"]
    club = ada.space("club")
    assert set(parked(ada, club)) <= set(club.state.writers)
    assert club.members.vouched <= set(club.state.writers)
    nothing_broke(ada, bob)


def test_flood_of_feed_names_does_not_keep_a_newcomer_out(monkeypatch: Patch) -> None:
    """Mal is of the group: the packs that he gives fill whatever room there is before Bob is heard."""
    world, ada, mal, bob = three(4)
    world.grouped("club", bob, mal)
    room_for_few(monkeypatch)
    give(mal, monkeypatch, [junk_items(mal, [mal.rng(32) for _ in range(100)], 1)])
    world.cut(ada, bob)
    bob.call(lambda calls: calls.chat_add(shown(bob, "club"), identity_id(identity(ada))))
    world.heal()
    world.settle()
    ada.join("club")
    world.run(1)
    world.cut(ada, bob)
    world.run(100)
    world.heal()
    world.settle()
    bob.send("club", "welcome")
    world.settle()
    assert world.texts(ada, "club") == ["welcome"]
    nothing_broke(ada, bob)


def test_waiting_history_items_are_bounded_over_many_connections(monkeypatch: Patch) -> None:
    """Items of a writer's own feed, far beyond its end, on one connection after the other."""
    world, ada, mal, bob = three(13)
    world.grouped("club", mal, ada)
    bound = 60_000
    monkeypatch.setattr(replication, "PARKED", bound)
    mine = mal.space("club").mine
    assert mine is not None
    for turn in range(4):
        start = 1000 * (turn + 1)
        items = [item for item in junk_items(mal, [mine.core], start + 60) if item.seq >= start]
        give(mal, monkeypatch, [items] * 8)
        club = ada.space("club")
        ada.do(partial(_ask_all, space=club, other=mal))
        world.run(5)
        ada.restart()
        monkeypatch.undo()
        monkeypatch.setattr(replication, "PARKED", bound)
        world.run(5)
    rows = ada.store.scan(Table.ITEM, club.id, club.id + b"\xff" * 64)
    assert sum(len(value) for _, value in rows) <= bound
    works(world, ada, mal, "hello")
    nothing_broke(ada, bob)


def _ask_all(engine: Engine, space: Space, other: Device) -> None:
    for one, link in engine.replication.links[space.id].values():
        if one.device == device_id(other) and link.replicator is not None:
            request, effects = link.replicator.ask_history(None, engine.replication._prekey)
            link.asked.add(request)
            engine.replication.perform(one, link, effects, other.now)


@pytest.mark.parametrize("answers", ["never", "nothing"])
def test_history_is_asked_of_another_peer_when_the_first_gives_none(answers: str, monkeypatch: Patch) -> None:
    world, ada, mal, bob = three(21)
    world.grouped("club", mal, ada)
    ada.send("club", "before")
    world.settle()
    if answers == "never":
        monkeypatch.setattr(mal.engine.replication, "_asked", lambda *rest: None)
    else:
        give(mal, monkeypatch, [])
    mal.call(lambda calls: calls.chat_add(shown(mal, "club"), identity_id(identity(bob))))
    world.settle()
    bob.join("club")
    world.run(75)  # one peer is waited for a minute
    ada.send("club", "hello Bob")
    world.settle()
    club = bob.space("club")
    assert club.mine is not None and club.mine.core in club.state.writers
    assert "hello Bob" in world.texts(bob, "club")
    assert not any(link.gate for _, link in bob.engine.replication.links[club.id].values())
    nothing_broke(ada, bob)


def test_missing_control_parent_does_not_block_a_newcomers_proof() -> None:
    """Block 0 of a feed opens an epoch, also where control entries are named that nobody has."""
    world, ada, mal, bob = three(22)
    world.grouped("club", ada, mal)
    club = mal.space("club")
    nowhere = Parent(mal.rng(32), 0, mal.rng(32))
    parents = tuple(sorted((*club.graph.tips(must(club.mine).core), nowhere)))
    body = encode_control(ControlBody(parents, (Set("title", b"mine"),)))
    mal.do(lambda engine: _append(engine, club, Draft(Kind.CONTROL, lambda seq: body), mal.now))
    world.settle()
    ada.call(lambda calls: calls.chat_add(shown(ada, "club"), identity_id(identity(bob))))
    world.settle()
    bob.join("club")
    world.settle()
    bob.send("club", "hello")
    world.settle()
    club = bob.space("club")
    first = club.feed_store.entry(must(club.mine), 0)
    assert first is not None and read_block(first.block, 0).grant
    assert world.texts(ada, "club") == ["hello"]
    nothing_broke(ada, bob)


def test_junk_identities_of_one_group_leave_room_for_new_contacts(monkeypatch: Patch) -> None:
    world, ada, mal, bob = three(23)
    eve = world.person("Eve")
    monkeypatch.setattr(directories, "MAX_TOLD", 8)
    world.grouped("club", mal, ada)
    club = mal.space("club")

    def flood(engine: Engine) -> None:
        for _ in range(20):
            root, writer = SigningKey.generate(mal.rng), SigningKey.generate(mal.rng)
            new = new_device(mal.rng, mal.now)
            made = root_certificate(root, new.signing, new.agreement.public, created=1, generation=1)
            consent = sign_consent(
                writer, club.id, must(club.mine).core, identity=root.public, device=new.id, prekey=new.prekey.public
            )
            add = Add(root.public, writer.public, new.id, (made.encoded,), new.prekey.public, consent)
            open_epoch(club, ms(mal), [add])

    mal.do(flood)
    world.settle()
    assert len(ada.space("club").state.members) == 22
    directory = ada.engine.profile.directory
    known = [m for m in ada.space("club").state.members.values() if directory.active(m.identity)]
    assert len(known) <= 2 + 8
    world.friends(ada, eve)
    works(world, ada, eve, "hello")
    world.grouped("others", bob, ada)
    bob.call(lambda calls: calls.chat_add(shown(bob, "others"), identity_id(identity(mal))))
    nothing_broke(ada, bob, eve)


# -- invites and offers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 300, "x" * 128, "a\0b", "a\nb", "\ud7ff" * 100, ""])
def test_invalid_names_leave_no_half_founded_space(name: str, monkeypatch: Patch) -> None:
    world = World(3)
    ada, mal = world.person("Ada"), world.person("Mal")

    def me() -> Person:
        statements = mal.engine.profile.directory.statements(identity(mal))
        return person_of(identity(mal), statements, keys(mal), Writer().string(name).buffer(b"").finish())

    monkeypatch.setattr(mal.engine.onboarding.invites, "me", me)
    before = len(ada.engine.profile.spaces)
    for _ in range(3):
        world.friends(ada, mal)
    assert len(ada.engine.profile.spaces) == before + 1
    assert list(ada.engine.profile.view.contacts) == [identity(mal)]
    assert not len(ada.engine.profile.context.batch)
    works(world, ada, mal, "hello")
    nothing_broke(ada)


def _accept(engine: Engine, text: str, now: float) -> None:
    engine.onboarding.invites.accept(text, now)


def test_reusing_one_invite_founds_no_more_spaces() -> None:
    world = World(14)
    ada, mal, eve = world.person("Ada"), world.person("Mal"), world.person("Eve")
    code = ada.do(lambda engine: engine.onboarding.invites.create(ada.now, 86_400, [ada.address]))
    before = len(ada.engine.profile.spaces)
    for one in (mal, eve, mal, mal, eve):
        one.do(partial(_accept, text=code.payload.text, now=one.now))
        world.run(3)
    assert len(ada.engine.profile.spaces) == before + 1
    assert set(ada.engine.profile.view.contacts) == {identity(mal)}
    works(world, ada, mal, "hello")
    nothing_broke(ada)


def refused(device: Device) -> bool:
    """Whether the invite that it accepted came to nothing."""
    return any(isinstance(step, OnboardingFailed) for step in device.steps)


def test_known_group_is_not_taken_for_a_private_chat() -> None:
    world, ada, mal, bob = three(15)
    world.grouped("club", ada, mal, bob)
    club = mal.space("club")
    private = ada.space(mal).id
    mal.engine.onboarding.invites.chat_of = lambda person: club  # type: ignore[method-assign]
    world.friends(mal, ada, settle=False)
    assert refused(ada)
    world.run(5)
    view = ada.engine.profile.view
    assert view.chats[club.id].kind == "group" and view.chats[club.id].peer is None
    assert ada.space(mal).id == private and ada.space(bob).id != club.id
    ada.send("club", "to all")
    ada.send(mal, "to Mal")
    world.settle()
    assert world.texts(bob, "club") == ["to all"]
    nothing_broke(ada, bob)


def test_unknown_group_is_not_taken_for_a_private_chat() -> None:
    """Mal offers his own group, in which Eve reads along, as the chat of the two of them."""
    world = World(16)
    ada, mal, eve = world.person("Ada"), world.person("Mal"), world.person("Eve")
    world.friends(mal, eve)
    world.grouped("club", mal, eve)
    club = mal.space("club")
    mal.engine.onboarding.invites.chat_of = lambda person: club  # type: ignore[method-assign]
    world.friends(mal, ada, settle=False)
    world.run(10)
    with pytest.raises(KithkinError):
        ada.send(mal, "for your eyes only")
    world.run(30)
    assert "for your eyes only" not in world.texts(eve, "club")


def test_flood_of_group_offers_makes_few_invitations() -> None:
    world = World(17)
    ada, mal = world.person("Ada"), world.person("Mal")
    world.friends(ada, mal)
    before = set(ada.engine.profile.view.chats)
    chat, creator = mal.space(ada), SigningKey.generate(mal.rng).public
    mine = ada.engine.profile.personal.mine
    assert mine is not None
    length = mine.length
    false = [Offer(mal.rng(32), creator, "spam", mal.rng(16)) for _ in range(150)]
    made = [SigningKey.generate(mal.rng).public for _ in range(150)]
    true = [Offer(space_id(core_key(writer)), writer, "spam", mal.rng(16)) for writer in made]
    mal.do(lambda engine: engine.profile.write(chat, [[offer] for offer in false + true], ms(mal)))
    world.settle()
    new = set(ada.engine.profile.view.chats) - before
    assert not new & {offer.space for offer in false}
    assert len(new) <= MAX_INVITED
    # The title of a chat stands in an entry of its own, so that it can be erased.
    assert mine.length - length <= 2 * MAX_INVITED + 4
    works(world, ada, mal, "hello")
    nothing_broke(ada)


# -- pairing and connections ----------------------------------------------------------------------------------


def test_pairing_cut_before_admission_finishes_at_the_next_connection(monkeypatch: Patch) -> None:
    world = World(18)
    ada = world.person("Ada")
    monkeypatch.setattr(Approvals, "_admit", lambda self, peer, *rest: peer.drop(self._profile.effects, "cut off"))
    made = world._device("Ada", "desktop")
    text = made.boot_linking("desktop", "desktop")
    ada.do(
        lambda engine: engine.onboarding.approvals.begin(
            engine.onboarding.approvals.check(text, ada.now), True, ada.now
        )
    )
    with pytest.raises(AssertionError):
        world.run_until(lambda: world._paired(ada, made), "pairing", 60)
    monkeypatch.undo()
    made.restart()
    ada.restart()
    world.settle()
    personal = made.engine.profile.personal
    assert personal.mine is not None and personal.mine.core in personal.state.writers
    ada.send(NOTES, "from the phone")
    made.send(NOTES, "from the desktop")
    world.settle()
    assert sorted(world.texts(ada, NOTES)) == sorted(world.texts(made, NOTES)) == ["from the desktop", "from the phone"]
    nothing_broke(ada, made)


def test_reconnecting_device_replaces_only_its_own_connection(monkeypatch: Patch) -> None:
    world, ada, mal, bob = three(19)
    kept = peer(ada, bob).conn
    proved = DeviceHandshake.proved

    def greedy(self: DeviceHandshake, peer: Peer, device: bytes, now: float) -> None:
        """Mal keeps every connection that he can get."""
        if self is not mal.engine.handshake:
            proved(self, peer, device, now)
            return
        known = self.profile.directory.device(device)
        peer.device, peer.identity, peer.proved_at = device, known.identity if known else None, now

    monkeypatch.setattr(DeviceHandshake, "proved", greedy)

    def dial(engine: Engine) -> None:
        where = engine.dialling.whereabouts()[device_id(ada)]
        for _ in range(8):
            local = engine.profile.account.transport(mal.now)
            want = PendingDial(Purpose.HELLO, device_id(ada), local)
            engine.dialling.dial(want, where.transport(mal.now), where.hints)

    for _ in range(10):
        mal.do(dial)
        world.run(1)
        assert len(peers(ada, mal)) <= 1
    world.run(20)
    assert len(ada.engine.peers) <= 2
    assert peer(ada, bob).conn == kept
    works(world, ada, bob, "hello")
    monkeypatch.undo()
    mal.restart()
    world.settle()
    works(world, ada, mal, "hello again")
    nothing_broke(ada, bob)


@pytest.mark.parametrize("apart", [False, True])
def test_an_epoch_that_is_kept_from_one_of_two_parts_nobody(apart: bool) -> None:
    """Mal gives a new epoch to Ada alone; and another one to Bob alone, too (apart)."""
    world, ada, mal, bob = three(41)
    world.grouped("club", ada, mal, bob)
    world.settle()
    for given in (ada, bob)[: 1 + apart]:
        _open_epoch_for(mal, "club", given)
    world.run(3)
    for round in range(2):
        ada.send("club", f"Ada {round}")
        bob.send("club", f"Bob {round}")
        world.run(10)
    for device in (ada, bob):
        assert sorted(world.texts(device, "club")) == ["Ada 0", "Ada 1", "Bob 0", "Bob 1"], device.name
    nothing_broke(ada, bob)


def _open_epoch_for(mal: Device, title: str, given: Device) -> None:
    """An epoch of Mal with the whole roster, a Z of its own, and slots for one other device."""
    space, secret, z = mal.space(title), mal.rng(32), mal.rng(32)
    core = must(space.mine).core
    over = tuple(sorted(epoch.id for epoch in space.state.epochs.values() if not epoch.superseded))
    body = encode_control(ControlBody(space.graph.tips(core), (Epoch(space.state.roster, over, z_check(z)),)))
    slots = [(keys(one).agreement.public, keys(one).prekey.public) for one in (given, mal)]

    def grant(seq: int) -> bytes:
        return make_grant(mal.rng, secret, z, core, seq, space.id, keys(mal).agreement, slots, None)

    mal.do(lambda engine: space.append([Draft(Kind.CONTROL, lambda seq: body, grant, secret)], ms(mal)))
