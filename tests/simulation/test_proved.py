"""Who speaks is what was proved: nobody is shown under a name that somebody else merely gave him."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crdt.docs.chat import MemberProfile, Reaction
from crdt.docs.chat import Message as ChatMessage
from crdt.docs.kinds import DocKind
from crdt.docs.schema import dump_value
from crdt.docs.update import make_update
from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.manifest import core_key
from crdt.log.merkle import leaf_of
from crdt.space.consent import sign_consent
from crdt.space.control import Add, Admit, Op, Witness
from identity.keys import SigningKey
from sync.engine.engine import Engine
from sync.service import models
from sync.service.chats import members as members_of
from sync.service.exporting import export_lines
from sync.service.ids import chat_id, identity_id
from sync.service.messages import is_mine, page
from sync.space.epochs import open_epoch
from sync.space.space import Space
from tests.support.calls import result_of
from tests.support.device import Device
from tests.support.household import pass_on, utter
from tests.support.three import device_id, identity, three
from tests.support.world import World


class Puppet:
    """A feed of Mal's in a space, admitted as a device of somebody else's, and what it says there."""

    def __init__(self, mal: Device, space: Space, whose: Device, device: bytes | None = None) -> None:
        self.mal, self.space, self.key = mal, space, SigningKey.generate(mal.rng)
        self.identity, self.device = identity(whose), device or device_id(whose)
        self.statements = tuple(mal.engine.profile.directory.encoded(self.identity))
        self.prekey = mal.engine.profile.account.keys.prekey.public

    def add(self) -> Puppet:
        """Let in as a person."""
        consent = self._consent(self.identity)
        return self._in(Add(self.identity, self.key.public, self.device, self.statements, self.prekey, consent))

    def admit(self) -> Puppet:
        """Let in as one more device of Mal."""
        return self._in(Admit(self.key.public, self.device, self.statements, self.prekey, self._consent(None)))

    def _consent(self, person: bytes | None) -> bytes:
        assert self.space.mine is not None
        return sign_consent(
            self.key, self.space.id, self.space.mine.core, identity=person, device=self.device, prekey=self.prekey
        )

    def _in(self, op: Op) -> Puppet:
        self.mal.do(lambda engine: open_epoch(self.space, self._ms, [op]))
        return self

    @property
    def _ms(self) -> int:
        return int(self.mal.now * 1000)

    def says(self, *values: Any) -> None:
        """Entries without any grant, under the epoch that all have."""
        space, core = self.space, core_key(self.key.public)
        epoch = space.epoch_keys.in_use(self._ms)
        assert epoch is not None

        def speak(engine: Engine) -> None:
            for value in values:
                feed = space.feed_store.feed(self.key.public)
                seq = feed.length
                body = make_update(core, seq, DocKind.CHAT, [dump_value(value)])
                text = encode_plaintext(Plaintext(Kind.UPDATE, (self._ms << 16) + seq, (), body))
                key, tag = message_key(epoch.secret, core, seq)
                block = seal_entry(key, tag, core, space.id, seq, text, b"")
                leaf = leaf_of(block)
                tree, nodes = feed.tree.extend([leaf])
                head = sign_head(self.key, tree)
                space.inbound.absorb(self.key.public, seq, [block], [leaf], tree, nodes, head, self._ms)

        self.mal.do(speak)

    def message(self, text: str) -> None:
        self.says(ChatMessage(self.mal.rng(16), text))


def shown(device: Device, chat: str | Device) -> list[models.Message]:
    profile = device.engine.profile
    return page(profile, device.space(chat), 100, None, None, int(device.now * 1000)).messages


def said(device: Device, chat: str | Device) -> list[tuple[str, str, bool]]:
    """(name, text, proved) of each message."""
    return [(one.author_name, one.text, one.proved) for one in shown(device, chat)]


def listed(device: Device, title: str) -> dict[str, bool]:
    """Name -> proved, of each member."""
    found = members_of(device.engine.profile, chat_id(device.space(title).id)).members
    return {one.name: one.proved for one in found}


# -- in groups ------------------------------------------------------------------------------------------------


def test_a_creator_who_adds_a_feed_of_his_own_as_bob_does_not_speak_as_bob() -> None:
    world, ada, mal, bob = three("added")
    world.grouped("club", mal, ada)
    Puppet(mal, mal.space("club"), bob).add().message("send your money to Mal")
    world.run(30)
    assert said(ada, "club") == [("Bob, vouched by Mal", "send your money to Mal", False)]
    assert listed(ada, "club") == {"Ada": True, "Mal": True, "Bob, vouched by Mal": False}
    (chat,) = [one for one in ada.call(lambda calls: calls.chats()).chats if one.title == "club"]
    assert (chat.preview_author, chat.preview_proved) == ("Bob, vouched by Mal", False)


def test_a_second_feed_under_a_friends_device_id_does_not_speak_as_the_friend() -> None:
    world, ada, mal, bob = three("admitted")
    world.grouped("club", bob, ada, mal)
    bob.send("club", "it is me")
    world.settle()
    Puppet(mal, mal.space("club"), bob).admit().message("me too")
    world.run(30)
    assert ("Bob", "it is me", True) in said(ada, "club")
    assert not [name for name, text, _ in said(ada, "club") if text == "me too" and name == "Bob"]
    assert all(name != "Bob" for name, text, _ in said(ada, "club") if text == "me too")


def test_somebody_added_beside_the_real_one_spoils_the_proof_in_the_list() -> None:
    world, ada, mal, bob = three("beside")
    world.grouped("club", mal, ada, bob)
    bob.send("club", "real")
    world.settle()
    Puppet(mal, mal.space("club"), bob).add().message("unreal")
    world.run(30)
    assert said(ada, "club") == [("Bob", "real", True), ("Bob, vouched by Mal", "unreal", False)]
    assert listed(ada, "club")["Bob, vouched by Mal"] is False
    assert said(bob, "club")[1] == ("Bob, vouched by Mal", "unreal", False)


def test_nobody_speaks_as_me() -> None:
    world, ada, mal, _ = three("me")
    world.grouped("club", mal, ada)
    Puppet(mal, mal.space("club"), ada).add().message("I owe Mal a thousand")
    world.run(30)
    (one,) = shown(ada, "club")
    assert (one.author_name, one.proved, one.mine, one.state) == ("Ada, vouched by Mal", False, False, "received")
    (row,) = ada.rows("club")
    assert not is_mine(ada.engine.profile, ada.space("club"), row)


def test_a_name_that_was_told_by_somebody_unproved_is_not_the_proved_ones_name() -> None:
    """Zed is no contact of Ada's.  What a feed of Mal's tells in Zed's name must not rename him."""
    world, ada, mal, _ = three("told")
    zed = world.person("Zed")
    world.friends(mal, zed)
    world.grouped("club", mal, ada, zed)
    zed.send("club", "hello")
    world.settle()
    puppet = Puppet(mal, mal.space("club"), zed).add()
    puppet.says(MemberProfile("Bob", None), ChatMessage(mal.rng(16), "hello again"))
    world.run(30)
    assert said(ada, "club")[0] == ("Zed", "hello", True)
    assert said(ada, "club")[1] == ("Zed, vouched by Mal", "hello again", False)


def test_marks_of_somebody_unproved_count_for_nobody() -> None:
    world, ada, mal, bob = three("marks")
    world.grouped("club", mal, ada)
    ada.send("club", "shall we?")
    world.settle()
    (row,) = ada.rows("club")
    Puppet(mal, mal.space("club"), bob).add().says(Reaction(row.id, "\N{THUMBS UP SIGN}", True))
    world.run(30)
    assert shown(ada, "club")[0].reactions == {}
    mal.react("club", shown(mal, "club")[0].id, "\N{THUMBS DOWN SIGN}")
    world.run(30)
    assert shown(ada, "club")[0].reactions == {"\N{THUMBS DOWN SIGN}": [identity_id(identity(mal))]}


def test_exports_say_who_vouches(tmp_path: Path) -> None:
    world, ada, mal, bob = three("export")
    world.grouped("club", mal, ada)
    Puppet(mal, mal.space("club"), bob).add().message("in writing")
    world.run(30)
    path, profile = tmp_path / "club.jsonl", ada.engine.profile
    assert result_of(export_lines(profile, ada.space("club").id, path, False, int(ada.now * 1000))) == 1
    assert json.loads(path.read_text())["from"] == "Bob, vouched by Mal"


# -- in direct chats ------------------------------------------------------------------------------------------


def test_in_a_direct_chat_the_other_side_cannot_speak_for_me() -> None:
    """Mal may add a writer for Ada while Ada has none: what it says is not Ada's."""
    world = World("direct")
    ada, mal = world.person("Ada"), world.person("Mal")
    world.friends(mal, ada)
    ada.send(mal, "hello")
    world.settle()
    direct = mal.space(ada)
    puppet = Puppet(mal, direct, ada)
    assert direct.mine is not None
    consent = puppet._consent(puppet.identity)
    op = Add(puppet.identity, puppet.key.public, puppet.device, puppet.statements, puppet.prekey, consent)
    assert not direct.graph.can(direct.mine.core, op)  # not while she has an open one, either
    puppet._in(op)
    puppet.message("I said so")
    world.run(30)
    assert [one for one in shown(ada, mal) if one.text == "I said so" and (one.mine or one.proved)] == []


# -- as it is proved ------------------------------------------------------------------------------------------


def test_friends_are_proved_to_each_other_from_their_first_message_on() -> None:
    world = World("first")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "one")
    bob.send(ada, "two")
    world.settle()
    assert said(ada, bob) == said(bob, ada) == [("Ada", "one", True), ("Bob", "two", True)]


def test_a_newcomer_sees_proved_names_after_meeting_those_who_were_in() -> None:
    world, ada, mal, bob = three("newcomer")
    world.grouped("club", ada, bob)
    ada.call(lambda calls: calls.chat_add(chat_id(ada.space("club").id), identity_id(identity(mal))))
    world.settle()
    mal.join("club")
    world.settle()
    bob.send("club", "welcome")
    world.settle()
    assert said(mal, "club") == [("Bob", "welcome", True)]
    assert set(listed(mal, "club").values()) == {True}


def test_a_linked_device_knows_its_own_person_and_friends() -> None:
    world = World("linked")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    ada.send(bob, "one")
    bob.send(ada, "two")
    world.settle()
    desk = world.link(ada, "desktop")
    assert said(desk, bob) == [("Ada", "one", True), ("Bob", "two", True)]
    assert [one.mine for one in shown(desk, bob)] == [True, False]
    desk.send(bob, "three")
    world.settle()
    assert said(bob, ada)[-1] == ("Ada", "three", True)
    assert said(ada, bob)[-1] == ("Ada", "three", True)


def test_a_device_linked_while_the_friend_is_away_takes_the_word_of_its_own_people() -> None:
    world = World("away")
    ada, bob = world.person("Ada"), world.person("Bob")
    world.friends(ada, bob)
    bob.send(ada, "before I leave")
    world.settle()
    bob.stop()
    desk = world.link(ada, "desktop")
    assert said(desk, bob) == [("Bob", "before I leave", True)]


# -- names that look alike ------------------------------------------------------------------------------------


def test_two_contacts_that_look_alike_are_told_apart_by_their_ids() -> None:
    world = World("alike")
    ada, bob, fake = world.person("Ada"), world.person("Bob"), world.person("B\N{CYRILLIC SMALL LETTER O}b")
    world.friends(ada, bob)
    assert [one.name for one in ada.call(lambda calls: calls.contacts()).contacts] == ["Bob"]
    world.friends(ada, fake)
    found = {one.id: one.name for one in ada.call(lambda calls: calls.contacts()).contacts}
    ids = [identity_id(identity(one)) for one in (bob, fake)]
    assert [found[id_].endswith(f" ({id_[:11]})") for id_ in ids] == [True, True]
    ada.call(lambda calls: calls.contact_rename(ids[1], "Robert"))
    assert {one.name for one in ada.call(lambda calls: calls.contacts()).contacts} == {"Bob", "Robert"}


def test_a_contact_with_my_own_name_is_marked_and_a_name_of_nothing_is_the_id() -> None:
    world = World("mine")
    ada, other = world.person("Ada"), world.person("A\N{ZERO WIDTH SPACE}da")
    blank = world.person("\N{HANGUL FILLER}")
    world.friends(ada, other)
    world.friends(ada, blank)
    names = {one.id: one.name for one in ada.call(lambda calls: calls.contacts()).contacts}
    assert names[identity_id(identity(other))] == f"Ada ({identity_id(identity(other))[:11]})"
    assert names[identity_id(identity(blank))] == identity_id(identity(blank))[:11]


# -- beyond the end of a feed ------------------------------------------------------------------------------------


def mal_is_removed(seed: str) -> tuple[World, Device, Device, Device]:
    """Ada removed Mal from her group; Bob and Ada heard him until then."""
    world, ada, mal, bob = three(seed)
    world.grouped("club", ada, mal, bob)
    mal.send("club", "while I was in")
    world.settle()
    world.cut(mal, [ada, bob])
    ada.call(lambda calls: calls.chat_remove(chat_id(ada.space("club").id), identity_id(identity(mal))))
    world.run(20)
    return world, ada, mal, bob


def test_what_came_after_the_end_is_vouched_for_by_no_honest_device() -> None:
    world, ada, mal, bob = mal_is_removed("after the end")
    club = mal.space("club")
    utter(mal, club, "I am not gone")
    pass_on(mal, bob, club.id)
    world.run(20)
    bob.restart()
    world.run(20)
    assert world.texts(bob, "club") == world.texts(ada, "club") == ["while I was in"]
    ops = [op for entry in ada.space("club").graph.entries() for op in entry.ops]
    assert not [op for op in ops if isinstance(op, Witness)]


def test_what_a_member_says_to_have_had_before_the_end_is_on_that_members_word() -> None:
    world, ada, mal, bob = three("before the end")
    world.grouped("club", ada, mal, bob)
    world.settle()
    world.cut(ada, [mal, bob])
    mal.send("club", "Ada never had this")
    world.run(10)
    ada.call(lambda calls: calls.chat_remove(chat_id(ada.space("club").id), identity_id(identity(mal))))
    world.heal()
    world.run(30)
    assert said(bob, "club") == [("Mal", "Ada never had this", True)]
    assert said(ada, "club") == [("Mal, vouched by Bob", "Ada never had this", False)]
    ada.restart()
    bob.restart()
    assert said(bob, "club") == [("Mal", "Ada never had this", True)]
    assert said(ada, "club") == [("Mal, vouched by Bob", "Ada never had this", False)]
