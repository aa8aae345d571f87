"""Devices in one space with real keys, real feeds and sealed entries, and nothing between them but `give`."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import shake_256

from crdt.log.entry import (
    GRANT_TAG,
    Kind,
    Plaintext,
    decode_plaintext,
    encode_plaintext,
    message_key,
    open_entry,
    read_block,
    seal_entry,
)
from crdt.log.manifest import core_key
from crdt.log.merkle import Tree, leaf_hash, leaf_of
from crdt.log.stamp import make_stamp
from crdt.space.consent import sign_consent
from crdt.space.control import (
    Add,
    Admit,
    ControlBody,
    ControlEntry,
    Create,
    Epoch,
    FeedEnd,
    Op,
    SpaceKind,
    decode_control,
    encode_control,
)
from crdt.space.epoch import EpochKey, epoch_op, next_z, proves_z, recipients, usable
from crdt.space.grant import make_grant, open_grant
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End, FeedLineage
from crdt.space.membership import SpaceState
from crdt.space.moves import succeed
from crdt.space.rendezvous import space_id
from crdt.space.rules import Limits
from identity.device import DeviceKeys, new_device
from identity.keys import Random, SigningKey
from identity.statement import Certificate, root_certificate
from tests.support.kem import SIMULATED

NOW = 1_790_000_000_000


class Stream:
    """Seeded randomness."""

    def __init__(self, seed: str) -> None:
        self._seed, self._count = seed, 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return shake_256(f"{self._seed}/{self._count}".encode()).digest(size)


class Person:
    """An identity; its devices are certified by the root key itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rng: Random = Stream(name)
        self.root = SigningKey.generate(self.rng)

    def certify(self, keys: DeviceKeys) -> Certificate:
        return root_certificate(self.root, keys.signing, keys.agreement.public, created=1000, generation=1)


class Line:
    """One branch of a feed: every tree hash."""

    def __init__(self) -> None:
        self.trees = [Tree()]

    def append(self, block: bytes) -> End:
        self.trees.append(self.trees[-1].extend([leaf_of(block)])[0])
        return self.end

    @property
    def end(self) -> End:
        tree = self.trees[-1]
        return End(tree.length, tree.hash() if tree.length else bytes(32))

    def root_at(self, length: int) -> bytes | None:
        return self.trees[length].hash() if length < len(self.trees) else None

    def copy(self) -> Line:
        other = Line()
        other.trees = list(self.trees)
        return other


class Feeds:
    """All branches of all feeds, as if everybody had every proof."""

    def __init__(self) -> None:
        self.lines: dict[bytes, list[Line]] = {}

    def lineage(self) -> FeedLineage:
        return FeedLineage(lambda core: self.lines.get(core, ()))


class Phone:
    """One device of a person, in one space."""

    def __init__(self, person: Person, name: str, feeds: Feeds) -> None:
        self.name, self.person, self.feeds = name, person, feeds
        self.rng: Random = Stream(name)
        self.keys = new_device(self.rng, NOW / 1000, SIMULATED)
        self.certificate = person.certify(self.keys)
        self.w = SigningKey.generate(self.rng)
        self.core = core_key(self.w.public)
        self.line = Line()
        feeds.lines.setdefault(self.core, []).append(self.line)
        self.graph: ControlGraph | None = None
        self.epochs: dict[bytes, EpochKey] = {}
        self.blocks: dict[bytes, tuple[Phone, ControlEntry, bytes]] = {}
        self.sent: list[tuple[Phone, ControlEntry, bytes]] = []
        self.clock = NOW

    @property
    def statements(self) -> tuple[bytes, ...]:
        return (self.certificate.encoded,)

    @property
    def prekey(self) -> bytes:
        return self.keys.prekey.public

    @property
    def here(self) -> ControlGraph:
        assert self.graph is not None
        return self.graph

    @property
    def state(self) -> SpaceState:
        return self.here.state()

    def enter(self, space: bytes, limits: Limits | None = None) -> None:
        self.graph = ControlGraph(space, self.feeds.lineage(), limits=limits)

    # -- writing ----------------------------------------------------------------------------------------------

    def found(self, kind: SpaceKind = SpaceKind.GROUP, title: str = "walks") -> bytes:
        """Creates a space; gives its id."""
        self.enter(space_id(self.core))
        self.act(Create(kind, title, self.person.root.public, self.keys.id, self.statements, self.prekey))
        return self.here.space

    def consent(self, admitting: Phone, identity: bytes | None) -> bytes:
        return sign_consent(
            self.w,
            admitting.here.space,
            admitting.core,
            identity=identity,
            device=self.keys.id,
            prekey=self.prekey,
        )

    def add_op(self, other: Phone) -> Add:
        who = other.person.root.public
        return Add(who, other.w.public, other.keys.id, other.statements, other.prekey, other.consent(self, who))

    def admit_op(self, other: Phone) -> Admit:
        return Admit(other.w.public, other.keys.id, other.statements, other.prekey, other.consent(self, None))

    def act(self, *ops: Op) -> ControlEntry:
        """Writes operations and the epoch they call for; what a node does is `sync.space.epochs.open_epoch`."""
        seq, parents = self.line.end.length, self.here.tips(self.core)
        after = self.here.preview(self.w.public, ops, seq=seq, parents=parents)
        z, secret = next_z(self.rng, after, self.epochs), self.rng(32)
        slots = [(r.agreement, r.prekey) for r in recipients(after, self.core, {}, self.clock)]
        grant = make_grant(
            self.rng, secret, z, self.core, seq, self.here.space, self.keys.agreement, slots, kem=SIMULATED
        )
        key, _ = message_key(secret, self.core, seq)
        entry = self._write(ControlBody(parents, (*ops, epoch_op(after, z))), key, GRANT_TAG, grant)
        self.epochs[entry.id] = EpochKey(entry.id, secret, z)
        return entry

    def do(self, *ops: Op) -> ControlEntry:
        """Writes operations under the epoch in use."""
        epoch = usable(self.state, self.core, known=self.epochs)
        assert epoch is not None
        key, tag = message_key(self.epochs[epoch].secret, self.core, self.line.end.length)
        return self._write(ControlBody(self.here.tips(self.core), ops), key, tag, b"")

    def backup(self) -> tuple[End, list[tuple[Phone, ControlEntry, bytes]]]:
        return self.line.end, list(self.blocks.values())

    def restore(
        self,
        name: str,
        backup: tuple[End, list[tuple[Phone, ControlEntry, bytes]]],
        new: Phone | None = None,
        statements: tuple[bytes, ...] | None = None,
    ) -> Phone:
        """A new device that goes on with this one's feed, from what a backup holds.  statements: what it says of
        itself, where its certificate is not enough."""
        end, items = backup
        new = new or phone(self.person, name, self.feeds)
        new.enter(self.here.space)
        for item in items:
            new.take(*item)
        new.epochs.update(self.epochs)
        parents = new.here.tips(new.core)
        new.act(
            *succeed(
                self.w,
                new.here.space,
                new.core,
                parents,
                end,
                device=new.keys.id,
                statements=statements or new.statements,
                prekey=new.prekey,
            )
        )
        return new

    def _write(self, body: ControlBody, key: bytes, tag: bytes, grant: bytes) -> ControlEntry:
        self.clock += 1000
        seq, stamp = self.line.end.length, make_stamp(self.clock)
        text = encode_plaintext(Plaintext(Kind.CONTROL, stamp, (), encode_control(body)))
        block = seal_entry(key, tag, self.core, self.here.space, seq, text, grant)
        entry = ControlEntry(
            leaf_hash(block), self.w.public, seq, self.line.append(block).root, stamp, body.parents, body.ops
        )
        self.take(self, entry, block)
        self.sent.append((self, entry, block))
        return entry

    # -- reading ----------------------------------------------------------------------------------------------

    def take(self, author: Phone, entry: ControlEntry, block: bytes) -> None:
        self.blocks[entry.id] = (author, entry, block)
        self.here.add(entry)

    def opens(self, author: Phone, entry: ControlEntry, block: bytes, senders: Iterable[bytes]) -> bool:
        """Opens a grant entry for real: slot, entry, body, check of Z."""
        header = read_block(block)
        got = open_grant(
            header.grant,
            author.core,
            entry.seq,
            self.here.space,
            self.keys.agreement,
            [p.key for p in self.keys.prekeys],
            senders,
            kem=SIMULATED,
        )
        if got is None:
            return False
        key, _ = message_key(got.secret, author.core, entry.seq)
        plaintext = decode_plaintext(open_entry(key, author.core, self.here.space, block, header))
        body = decode_control(plaintext.body)
        assert body.ops == entry.ops
        epoch = body.ops[-1]
        assert isinstance(epoch, Epoch) and proves_z(epoch, got.z)
        self.epochs[entry.id] = EpochKey(entry.id, got.secret, got.z)
        return True

    def end(self) -> FeedEnd:
        return FeedEnd(self.w.public, *self.line.end)


PHONES: list[Phone] = []  # every device of the test at hand: whose D a reader tries


def phone(person: Person, name: str, feeds: Feeds) -> Phone:
    """A new device, entered in PHONES."""
    made = Phone(person, name, feeds)
    PHONES.append(made)
    return made


def give(source: Phone, *targets: Phone) -> None:
    """Everything that `source` has goes to the others, keys by grants alone."""
    for target in targets:
        if target.graph is None:
            target.enter(source.here.space)
        for author, entry, block in list(source.blocks.values()):
            if entry.id in target.blocks:
                continue
            target.take(author, entry, block)
            if read_block(block).grant:
                target.opens(author, entry, block, [p.keys.agreement.public for p in PHONES])


def share(*phones: Phone) -> None:
    """Everybody has everything."""
    for _ in range(2):
        for source in phones:
            give(source, *[other for other in phones if other is not source])


def group(names: str, feeds: Feeds) -> list[Phone]:
    """ "cab": c created a group and added a, then b; all in sync, every block 0 opened an epoch."""
    phones = [phone(Person(name), f"{name}1", feeds) for name in names]
    first = phones[0]
    first.found()
    for other in phones[1:]:
        first.act(first.add_op(other))
        give(first, other)
        other.act()
        share(*phones[: phones.index(other) + 1])
    share(*phones)
    return phones
