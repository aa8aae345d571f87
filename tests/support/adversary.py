"""A cast for stories about hostile members: who they are, what Mal can write, and what must hold afterwards.

Mal is a member with production code and his own keys; he writes whatever his keys can sign.  Ada and Bob are honest.
`Cast.promises` is what every story ends with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crdt.docs.kinds import DocKind
from crdt.docs.schema import Value, dump_value
from crdt.docs.update import make_update
from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head
from crdt.log.merkle import leaf_of
from crdt.log.stamp import next_stamp
from crdt.space.control import ControlBody, Op, encode_control
from sync.service.ids import chat_id, identity_id
from sync.space.epochs import ensure_key, open_epoch
from sync.space.feed import Feed
from sync.space.outbound import Draft
from sync.space.space import Space
from tests.support.device import Device
from tests.support.world import World

CLUB = "club"
BOUND = 24  # entries that an honest device may write because of one adversary, in all of its chats together


class Cast:
    """Ada, Bob and Mal know one another and are in Ada's group; Mal is an admin where `rank` is 1."""

    def __init__(self, seed: str, *, rank: int = 2) -> None:
        self.world = world = World(seed)
        self.ada, self.mal, self.bob = world.person("Ada"), world.person("Mal"), world.person("Bob")
        for one, other in ((self.ada, self.mal), (self.ada, self.bob), (self.bob, self.mal)):
            world.friends(one, other)
        world.grouped(CLUB, self.ada, self.mal, self.bob)
        if rank == 1:
            self.call(self.ada, "chat_admin", self.mal)
        world.settle()
        self._before = {device: self._written(device) for device in self.honest}

    @property
    def all(self) -> tuple[Device, Device, Device]:
        return self.ada, self.mal, self.bob

    @property
    def honest(self) -> tuple[Device, ...]:
        return self.ada, self.bob

    def call(self, device: Device, name: str, person: Device) -> None:
        """A service call about a person in the group."""
        chat, who = chat_id(device.space(CLUB).id), identity_id(self.world.identities[person.owner])
        device.call(lambda calls: getattr(calls, name)(chat, who))

    def remove(self, device: Device, person: Device) -> None:
        self.call(device, "chat_remove", person)

    # -- what Mal writes ---------------------------------------------------------------------------------------

    @property
    def club(self) -> Space:
        """The group as Mal has it."""
        return self.mal.space(CLUB)

    @property
    def feed(self) -> Feed:
        """Mal's feed in the group."""
        assert self.club.mine is not None
        return self.club.mine

    def do(self, act: Callable[[Space, int], object], device: Device | None = None) -> None:
        """Something that no client does, in the group, as one change."""
        who = device or self.mal
        who.do(lambda engine: act(who.space(CLUB), self.now(who)))

    def now(self, device: Device) -> int:
        """Unix ms by that device's clock."""
        return int(device.now * 1000)

    def says(self, *values: Value, space: Space | None = None) -> None:
        """An update entry with these values, past every check of the service."""
        where = space or self.club
        core, dumped = self._mine(where).core, [dump_value(value) for value in values]
        body = Draft(Kind.UPDATE, lambda seq: make_update(core, seq, DocKind.CHAT, dumped))
        self._append(where, [body])

    def controls(self, *ops: Op) -> None:
        """A control entry with these operations, whatever Mal's rank."""
        parents = self.club.graph.tips(self.feed.core)
        self._append(self.club, [Draft(Kind.CONTROL, lambda seq: encode_control(ControlBody(parents, ops)))])

    def opens(self, *ops: Op) -> None:
        """A control entry with these operations and an epoch."""
        self.mal.do(lambda engine: open_epoch(self.club, self.now(self.mal), ops))

    def appends(self, *drafts: Draft) -> None:
        self._append(self.club, drafts)

    def seals(self, kind: Kind, body: bytes, stamp: int | None = None) -> None:
        """An entry with any bytes within, which Mal's own device does not read before it is sent."""
        space, feed = self.club, self.feed

        def write(engine: object) -> None:
            ensure_key(space, self.now(self.mal))
            epoch = space.epoch_keys.in_use(self.now(self.mal))
            assert epoch is not None and feed.key is not None
            at = stamp if stamp is not None else next_stamp(feed.stamp, 0, self.now(self.mal))
            key, tag = message_key(epoch.secret, feed.core, feed.length)
            text = encode_plaintext(Plaintext(kind, 0, (), body))
            text = text[:1] + at.to_bytes(8, "little") + text[9:]  # whatever our own code would not write
            block = seal_entry(key, tag, feed.core, space.id, feed.length, text, b"")
            leaf = leaf_of(block)
            tree, nodes = feed.tree.extend([leaf])
            head = sign_head(feed.key, tree)
            space.inbound.absorb(feed.writer, feed.length, [block], [leaf], tree, nodes, head, self.now(self.mal))

        self.mal.do(write)

    def _append(self, space: Space, drafts: Sequence[Draft]) -> None:
        def write(engine: object) -> None:
            ensure_key(space, self.now(self.mal))
            space.append(drafts, self.now(self.mal))

        self.mal.do(write)

    @staticmethod
    def _mine(space: Space) -> Feed:
        assert space.mine is not None
        return space.mine

    # -- what must hold ----------------------------------------------------------------------------------------

    def promises(self, *, also: Sequence[str] = (), never: Sequence[str] = (), bound: int = BOUND) -> None:
        """Honest devices are of one mind, reach each other, and have not worked without bound.

        also: texts that each of them must show; never: texts that none of them may show; bound: entries that each of
        them may have written.
        """
        world, (ada, bob) = self.world, (self.ada, self.bob)
        world.heal().settle()
        ada.send(CLUB, "still there?")
        bob.send(CLUB, "still here.")
        world.settle()
        for device in (ada, bob):
            assert [device.engine.faults, device.errors] == [[], []], device.name
            texts = world.texts(device, CLUB)
            assert {"still there?", "still here.", *also} <= set(texts), (device.name, texts)
            assert not set(never) & set(texts), (device.name, texts)
            assert len(texts) == len(set(texts)), (device.name, texts)
        assert world.texts(ada, CLUB) == world.texts(bob, CLUB)
        one, other = ada.space(CLUB).state, bob.space(CLUB).state
        assert (one.ends, one.admins, one.roster, one.title) == (other.ends, other.admins, other.roster, other.title)
        assert {m: one.active(m) for m in one.members} == {m: other.active(m) for m in other.members}
        for device in self.honest:
            assert self._written(device) - self._before[device] <= bound, device.name

    def in_group(self, device: Device, person: Device) -> bool:
        """Whether this device holds that person for a member."""
        state, identity = device.space(CLUB).state, self.world.identities[person.owner]
        return any(m.identity == identity and state.active(m.id) for m in state.members.values())

    @staticmethod
    def _written(device: Device) -> int:
        spaces = device.engine.profile.spaces.values()
        return sum(space.mine.length for space in spaces if space.mine is not None)
