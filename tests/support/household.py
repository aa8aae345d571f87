"""A cast for stories about stolen devices, words and backups: Ada's phone and desktop, her friends Bob and Mal.

A thief runs production code, too.  What makes him one stands here: he does not listen to what puts him out (`deafen`),
speaks past every check of the client (`utter`, `enact`), and has helpers (`pass_on`).  `Household.promises`
is what a story ends with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crdt.docs.chat import Message
from crdt.docs.kinds import DocKind
from crdt.docs.schema import Value, dump_value
from crdt.docs.update import make_update
from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.manifest import core_key
from crdt.log.merkle import leaf_of
from crdt.log.stamp import next_stamp
from crdt.space.control import ControlBody, Op, encode_control
from identity.errors import KithkinError
from identity.keys import SigningKey
from identity.statement import Certificate, Statement
from sync.account.directory import Directory
from sync.engine.engine import Engine
from sync.service.ids import chat_id, device_id, identity_id
from sync.space.feed import EntryState
from sync.space.space import Space
from tests.support.device import Device
from tests.support.world import World

CLUB = "club"
BOUND = 32  # entries that an honest device may write because of one adversary, in all of its chats together


class Household:
    """Ada (phone and desktop) knows Bob and Mal; all are in Bob's group.  honest: who has to keep the promises."""

    def __init__(self, seed: str, *, dht: bool = False, mal: bool = True) -> None:
        self.world = world = World(seed, dht=dht)
        self.phone, self.desk = world.linked("Ada")
        self.bob = world.person("Bob")
        world.friends(self.phone, self.bob)
        others = [self.phone]
        if mal:
            self.mal = world.person("Mal")
            world.friends(self.phone, self.mal)
            world.friends(self.bob, self.mal)
            others.append(self.mal)
        world.grouped(CLUB, self.bob, *others)
        self.honest: list[Device] = [self.desk, self.bob]
        self._before: dict[str, int] = {}
        self.count_from_here()

    def count_from_here(self) -> None:
        """From here on the entries of honest devices are counted."""
        self._before = {device.name: written(device) for device in self.world.devices}

    @property
    def ada(self) -> bytes:
        """Ada's identity."""
        return self.world.identities["Ada"]

    def promises(self, *, also: Sequence[str] = (), never: Sequence[str] = (), bound: int = BOUND) -> None:
        """Honest devices in the group are of one mind, reach each other, and have not worked without bound.

        also: texts that each of them must show in the group; never: texts that none of them may show anywhere.
        """
        world = self.world
        world.settle()
        said = {device.name: f"still here at {world.now:.0f}: {device.name}" for device in self.honest}
        for device in self.honest:
            device.send(CLUB, said[device.name])
        world.settle()
        want = {*also, *said.values()}
        agree(self.honest)
        for device in self.honest:
            texts = world.texts(device, CLUB)
            assert want <= set(texts) and len(texts) == len(set(texts)), (device.name, texts)
            assert not set(never) & set(world.texts(device)), (device.name, world.texts(device))
            done = written(device) - self._before.get(device.name, 0)
            assert done <= bound, (device.name, done)


def agree(devices: Sequence[Device], chat: str = CLUB) -> None:
    """These devices met no defect and fold one group."""
    one = devices[0].space(chat).state
    for device in devices:
        assert [device.engine.faults, device.errors] == [[], []], device.name
        state = device.space(chat).state
        assert (state.ends, state.admins, state.roster, state.title) == (one.ends, one.admins, one.roster, one.title)
        assert {m: state.active(m) for m in state.members} == {m: one.active(m) for m in one.members}, device.name
        assert device.world.texts(device, chat) == device.world.texts(devices[0], chat), device.name


def written(device: Device) -> int:
    """Entries that a device wrote, in all of its chats together."""
    return sum(space.mine.length for space in device.engine.profile.spaces.values() if space.mine is not None)


def key_of(device: Device) -> bytes:
    """Its device id."""
    return device.engine.profile.account.device


def shut_out(by: Device, lost: bytes) -> None:
    """The person shuts a device out."""
    by.call(lambda calls: calls.device_revoke(device_id(lost)))


def remove(by: Device, person: str) -> None:
    """A person is removed from the group."""
    chat, who = chat_id(by.space(CLUB).id), identity_id(by.world.identities[person])
    by.call(lambda calls: calls.chat_remove(chat, who))


def make_admin(by: Device, person: str) -> None:
    chat, who = chat_id(by.space(CLUB).id), identity_id(by.world.identities[person])
    by.call(lambda calls: calls.chat_admin(chat, who))


def add(by: Device, person: str) -> None:
    """A person is offered the group."""
    chat, who = chat_id(by.space(CLUB).id), identity_id(by.world.identities[person])
    by.call(lambda calls: calls.chat_add(chat, who))


def is_in(device: Device, person: str) -> bool:
    """Whether this device holds that person for a member of the group."""
    state, identity = device.space(CLUB).state, device.world.identities[person]
    return any(m.identity == identity and state.active(m.id) for m in state.members.values())


# -- what makes a thief of a device ---------------------------------------------------------------------------------


def deafen(device: Device, identity: bytes) -> None:
    """The device hears of nothing more that puts a device of this identity out, until it starts again."""

    class Deaf(Directory):
        def _learn(self, who: bytes, told: dict[bytes, Statement], by: bytes | None) -> list[Statement]:
            if who == identity:
                told = {i: s for i, s in told.items() if isinstance(s, Certificate) and s.issuer is not None}
            return super()._learn(who, told, by)

    device.engine.profile.directory.__class__ = Deaf


def pass_on(thief: Device, helper: Device, space: bytes) -> None:
    """The helper gets what the thief wrote in a space, on whatever way, and serves it like anything else."""
    theirs = thief.engine.profile.spaces[space]
    source = theirs.mine
    assert source is not None and source.head is not None
    head, entries = source.head, theirs.feed_store.entries(source, 0, source.length)

    def take(engine: Engine) -> None:
        here = engine.profile.spaces[space]
        feed = here.feed_store.feed(source.writer)
        blocks = [entry.block for entry in entries[feed.length :]]
        leaves = [leaf_of(block) for block in blocks]
        tree, nodes = feed.tree.extend(leaves)
        here.inbound.absorb(source.writer, feed.length, blocks, leaves, tree, nodes, head, int(helper.now * 1000))

    helper.do(take)


def utter(device: Device, space: Space, *texts: str) -> None:
    """Messages under whatever key the device has, past every check."""
    compose(device, space, *([Message(device.rng(16), text)] for text in texts))


def compose(device: Device, space: Space, *entries: Sequence[Value]) -> None:
    """Update entries with these values, past every check."""
    for values in entries:
        dumped = [dump_value(value) for value in values]
        core = _core(space)
        seal(device, space, lambda seq, core=core, dumped=dumped: make_update(core, seq, DocKind.CHAT, dumped))


def enact(device: Device, space: Space, *ops: Op) -> None:
    """One control entry with these operations, without an epoch, past every check."""
    parents = space.graph.tips(_core(space))
    seal(device, space, lambda seq: encode_control(ControlBody(parents, ops)), Kind.CONTROL)


def seal(device: Device, space: Space, make: object, kind: Kind = Kind.UPDATE) -> None:
    """An entry at the end of the device's feed, under the newest key that it has there, whatever became of both."""
    feed, keys = space.mine, list(space.keys.values())
    assert feed is not None and feed.key is not None and keys and callable(make)
    now_ms = int(device.now * 1000)

    def write(engine: Engine) -> None:
        body = make(feed.length)
        key, tag = message_key(keys[-1].secret, feed.core, feed.length)
        text = encode_plaintext(Plaintext(kind, next_stamp(feed.stamp, 0, now_ms), (), body))
        block = seal_entry(key, tag, feed.core, space.id, feed.length, text, b"")
        leaf = leaf_of(block)
        tree, nodes = feed.tree.extend([leaf])
        assert feed.key is not None
        space.inbound.absorb(feed.writer, feed.length, [block], [leaf], tree, nodes, sign_head(feed.key, tree), now_ms)

    device.do(write)


def speak(device: Device, space: Space, key: SigningKey, *texts: str) -> None:
    """Messages of a feed of which the device holds the writer's key, under the newest epoch that it has."""
    for text in texts:
        say(device, space, key, Message(device.rng(16), text))


def say(device: Device, space: Space, key: SigningKey, *values: Value) -> None:
    """An update entry of a feed of which the device holds the writer's key."""
    secret, core, dumped = list(space.keys.values())[-1].secret, core_key(key.public), [dump_value(v) for v in values]

    def write(engine: Engine) -> None:
        now_ms, feed = int(device.now * 1000), space.feed_store.feed(key.public)
        body = make_update(core, feed.length, DocKind.CHAT, dumped)
        sealed, tag = message_key(secret, core, feed.length)
        plain = encode_plaintext(Plaintext(Kind.UPDATE, next_stamp(feed.stamp, 0, now_ms), (), body))
        block = seal_entry(sealed, tag, core, space.id, feed.length, plain, b"")
        leaf = leaf_of(block)
        tree, nodes = feed.tree.extend([leaf])
        head = sign_head(key, tree)
        space.inbound.absorb(key.public, feed.length, [block], [leaf], tree, nodes, head, now_ms)

    device.do(write)


def _core(space: Space) -> bytes:
    assert space.mine is not None
    return space.mine.core


# -- what a thief got -----------------------------------------------------------------------------------------------


def opened_of(reader: Device, space: bytes, core: bytes, start: int = 0) -> list[int]:
    """Places of a feed, from `start` on, that this device has opened."""
    found = reader.engine.profile.spaces.get(space)
    feed = found.feed_store.feeds.get(core) if found is not None else None
    if found is None or feed is None:
        return []
    entries = found.feed_store.entries(feed, min(start, feed.length), feed.length)
    return [start + i for i, entry in enumerate(entries) if entry.state is EntryState.OPENED]


def refused(act: object) -> str:
    """The code with which something is refused; empty where it is not."""
    assert callable(act)
    try:
        act()
    except KithkinError as error:
        return error.code
    return ""


def notices(device: Device) -> str:
    """Everything that the device was told in sentences."""
    return " ".join(str(getattr(event, "notice", "")) for event in device.events)


def everywhere(devices: Iterable[Device]) -> set[str]:
    """Every text that one of them shows in any chat."""
    return {text for device in devices for text in device.world.texts(device)}
