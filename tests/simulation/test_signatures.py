"""Every signature of a whole run, walked: none of an identity covers anything that somebody said."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from crdt.log.manifest import core_key
from crdt.log.merkle import leaf_hash
from identity.keys import SUITE, VERSION, SigningKey
from identity.labels import SIGNERS, Label
from identity.statement import decode_statement, revoke
from sync.service.ids import chat_id, identity_id
from sync.space import timeline
from tests.house.names import PACKAGES, ROOT, modules
from tests.simulation.test_forging import TALK, held_talk
from tests.support.device import Device
from tests.support.world import World

HEAD, DHT = "a head", "a record in the DHT"
SAID = "the secret word is kestrel"


@dataclass
class Signed:
    """label: a Label, or HEAD, or DHT; by: the public key; body: what is covered, without label."""

    label: Label | str
    by: bytes
    body: bytes


@dataclass
class Run:
    """What was signed in a run, and who the keys are."""

    signed: list[Signed] = field(default_factory=list)
    letters: dict[bytes, set[str]] = field(default_factory=dict)

    def note(self, letter: str, public: bytes) -> None:
        self.letters.setdefault(public, set()).add(letter)

    def letter(self, public: bytes) -> str:
        (letter,) = self.letters.get(public, {"one use"})
        return letter


Story = tuple[Run, World, list[Device]]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """The story, told once, with every signature that any code made meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        run = noting(patch)
        yield run, *whole_story(run)


def noting(patch: pytest.MonkeyPatch) -> Run:
    seen = Run()
    sign, raw = SigningKey.sign, SigningKey.sign_raw
    inside: list[Label] = []

    def note_label(key: SigningKey, label: Label, body: bytes, *, version: int = VERSION, suite: int = SUITE) -> bytes:
        seen.signed.append(Signed(label, key.public, body))
        inside.append(label)
        try:
            return sign(key, label, body, version=version, suite=suite)
        finally:
            inside.pop()

    def note_raw(key: SigningKey, message: bytes) -> bytes:
        if not inside:
            seen.signed.append(Signed(HEAD if len(message) == 112 else DHT, key.public, message))
        return raw(key, message)

    patch.setattr(SigningKey, "sign", note_label)
    patch.setattr(SigningKey, "sign_raw", note_raw)
    return seen


def whole_story(run: Run) -> tuple[World, list[Device]]:
    """Two devices are linked, people meet, a group comes, is restarted and goes, a backup is put back, a device is
    revoked."""
    world = World("signatures", dht=True)
    phone, desk = world.linked("Ada", devices=2)
    bob, cem = world.person("Bob"), world.person("Cem")
    world.friends(phone, bob)
    world.friends(phone, cem)
    world.friends(bob, cem)
    world.grouped("club", phone, bob, cem)
    held_talk(TALK[:4], world, phone, bob)
    said = phone.send(bob, SAID)
    phone.edit(bob, said, SAID + " indeed")
    world.settle()
    bob.react(phone, said, "👍")
    phone.delete(bob, phone.send(bob, "never mind"))
    bob.send("club", SAID)
    world.settle()
    club, bobs = chat_id(phone.space("club").id), identity_id(world.identities["Bob"])
    phone.call(lambda calls: calls.chat_rename(club, "the club"))
    phone.call(lambda calls: calls.chat_admin(club, bobs))
    phone.call(lambda calls: calls.chat_remove(club, identity_id(world.identities["Cem"])))
    world.settle()
    bob.call(lambda calls: calls.chat_restart(club))
    world.settle()
    backup = bob.store.reopen(bob.misfortune)
    bob.stop()
    restored = world.restored(backup, "Bob", "new phone")
    world.settle()
    restored.send(phone, SAID)
    world.settle()
    _revoke(phone, desk)
    world.run(5.0)
    devices = [phone, desk, cem, restored]
    for device in devices:
        _name_keys(run, world, device)
    return world, devices


def _revoke(by: Device, gone: Device) -> None:
    account, other = by.engine.profile.account, gone.engine.profile.account
    signer = (account.keys.signing.public, account.keys.agreement.public)
    made = max(s.generation for s in by.engine.profile.directory.statements(account.identity))
    statement = revoke(
        account.identity,
        other.device,
        created=int(by.now),
        generation=made,
        signer=signer,
        key=account.keys.signing,
    )
    by.do(lambda engine: engine.profile.learn([statement]))


def _name_keys(run: Run, world: World, device: Device) -> None:
    for identity in world.identities.values():
        run.note("R", identity)
    profile = device.engine.profile
    run.note("S", profile.account.keys.signing.public)
    for _, key in profile.account.transports:
        run.note("T", key.public)
    for invite in profile.view.invites:
        run.note("I", invite)
    for space in profile.spaces.values():
        for writer in space.feed_store.by_writer:
            run.note("W", writer)
    for identity in world.identities.values():
        for statement in profile.directory.statements(identity):
            if hasattr(statement, "signing"):
                run.note("S", statement.signing)


def _what_was_said(devices: list[Device]) -> Iterator[tuple[str, bytes]]:
    """Names and hashes of everything that was said: chats, feeds, entries, trees, messages, texts."""
    yield "a text", SAID.encode()
    for device in devices:
        for space in device.engine.profile.spaces.values():
            yield "a space", space.id
            for core, feed in space.feed_store.feeds.items():
                yield "a feed", core
                yield "a writer", feed.writer
                yield "a tree", feed.tree.hash()
                for seq, entry in enumerate(space.feed_store.entries(feed, 0, feed.length)):
                    if entry.block:
                        yield "a block", leaf_hash(entry.block)
                    root = space.feed_store.root_at(feed, seq + 1)
                    yield "a tree", root or b""
            for row in timeline.page(device.engine.profile.store, space.id, 10_000):
                yield "a message", row.id
                yield "a text", row.text.encode()


def test_no_signature_of_an_identity_covers_anything_that_was_said(story: Story) -> None:
    run, world, devices = story
    said = {name: what for what, name in _what_was_said(devices) if len(name) >= 16}
    assert len(said) > 100 and len(run.signed) > 100
    by_identities = [one for one in run.signed if run.letter(one.by) in ("R", "S")]
    assert len(by_identities) >= 8
    for one in by_identities:
        assert one.label in (Label.CERTIFICATE, Label.COUNTERSIGN, Label.REVOCATION)
        found = [what for name, what in said.items() if name in one.body or name[:16] in one.body]
        assert found == [], (one.label, found)
        # It is a statement, and there is no room in one for anything else.
        kind = one.body[:1]
        assert kind in (b"\0", b"\1") and one.body[1:33] in world.identities.values()
    # The same search finds what a W signs, so it would have found it here.
    heads = [one for one in run.signed if one.label == HEAD]
    assert any(name in one.body for one in heads for name, what in said.items() if what == "a tree")


def test_a_writer_key_has_nothing_to_do_with_the_identity_that_writes(story: Story) -> None:
    """It is drawn for one space; no key signs as two kinds, and no W is certified by anybody."""
    run, _, devices = story
    assert {letters for letters in map(frozenset, run.letters.values()) if len(letters) > 1} == set()
    writers = {key for key, letters in run.letters.items() if letters == {"W"}}
    spaces: dict[bytes, set[bytes]] = {}
    for device in devices:
        for space in device.engine.profile.spaces.values():
            for writer in space.feed_store.by_writer:
                spaces.setdefault(writer, set()).add(space.id)
    assert all(len(where) == 1 for where in spaces.values()), "a W in two spaces would link them"
    statements = [one.body for one in run.signed if one.label in (Label.CERTIFICATE, Label.REVOCATION)]
    assert not any(writer in body or core_key(writer) in body for writer in writers for body in statements)


def test_labels_and_signers_of_a_run_are_those_of_the_registry(story: Story) -> None:
    run, _, _ = story
    table: dict[Label | str, set[str]] = {}
    for one in run.signed:
        table.setdefault(one.label, set()).add(run.letter(one.by))
    assert table.pop(HEAD) == {"W"}
    assert table.pop(DHT, {"T"}) <= {"T", "I", "one use"}
    registry = {label: set(letters) for label, letters in SIGNERS.items()}
    assert table.keys() == registry.keys()
    assert {(label, key) for label in registry for key in registry[label] ^ table[label]} <= {(Label.REVOCATION, "R")}


def test_every_call_that_signs_in_the_source_uses_a_label_of_the_registry() -> None:
    used: set[str] = set()
    raw: set[str] = set()
    for module in modules():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr == "sign_raw":
                raw.add(module.name)
            elif node.func.attr == "sign" and module.name != "identity.keys":
                label = node.args[0]
                assert isinstance(label, ast.Attribute), f"{module.name} signs under a label that is no constant"
                used.add(label.attr)
    assert used == {label.name for label in SIGNERS}
    assert raw == {"identity.keys", "crdt.log.head", "netstack.dht.records"}
    assert PACKAGES


def test_the_protocol_page_has_the_same_table() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8").split("### Who signs what\n", 1)[1].split("\n### ", 1)[0]
    rows = re.findall(r"^\| `(kithkin [^`]+)` \| ([RSW, ]+) \|", page, re.MULTILINE)
    assert {label: set(letters.split(", ")) for label, letters in rows} == {
        label.value.decode(): set(letters) for label, letters in SIGNERS.items()
    }


def test_statements_of_the_run_are_read_as_statements() -> None:
    """`decode_statement` refuses what has room for more: the body of a statement ends where its fields do."""
    world = World("statements")
    ada = world.person("Ada")
    (statement,) = ada.engine.profile.directory.statements(world.identities["Ada"])
    assert decode_statement(statement.encoded) == statement
