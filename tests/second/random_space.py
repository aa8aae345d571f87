"""Random histories of a space, as bytes: people with phrases and devices, honest ones and liars.

This file alone stands on production: it needs its encoders to make the bytes, its fold to know what an honest device
would write next, and its moves to write it.  What comes out, feeds with signed heads and blocks with message keys, is
read by both sides.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from crdt.log.entry import Kind, Plaintext, encode_plaintext, message_key, seal_entry
from crdt.log.head import sign_head, write_head
from crdt.log.manifest import core_key
from crdt.log.merkle import Tree, leaf_hash, leaf_of
from crdt.space.consent import sign_consent
from crdt.space.control import (
    Add,
    Admin,
    Admit,
    Close,
    ControlBody,
    ControlEntry,
    Create,
    Epoch,
    FeedEnd,
    Op,
    Parent,
    Revoke,
    Set,
    Slots,
    SpaceKind,
    Succeed,
    Unknown,
    Witness,
    encode_control,
)
from crdt.space.epoch import epoch_op, usable
from crdt.space.graph import ControlGraph
from crdt.space.lineage import START, End, FeedLineage
from crdt.space.membership import SpaceState, Writer
from crdt.space.moves import close_own, leave, obligations, remove, succeed
from crdt.space.rendezvous import space_id
from identity.codec import Writer as Output
from identity.device import device_id
from identity.device_set import certificates_to_keep, generation_of
from identity.evidence import chain, evidence
from identity.keys import AgreementKey, SigningKey
from identity.statement import (
    Certificate,
    Statement,
    certificate_body,
    counter_sign,
    issue,
    revoke,
    root_certificate,
)

SECRET = b"\x45" * 32
PEOPLE = "cabde"


def drawn(*parts: object) -> bytes:
    """32 bytes that follow from names."""
    return blake2b(repr(parts).encode(), digest_size=32).digest()


@dataclass(slots=True)
class Line:
    """One branch of a feed: its blocks with message keys, and the tree hash at each length."""

    writer: SigningKey
    core: bytes
    space: bytes
    blocks: list[tuple[bytes, bytes]] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=lambda: [Tree()])

    def root_at(self, length: int) -> bytes | None:
        """The tree hash at a length, for production's lineage."""
        return self.roots[length - 1] if 0 < length <= len(self.roots) else None

    def end_at(self, length: int) -> End:
        """The end at a length."""
        return End(length, self.roots[length - 1]) if length else START

    def append(self, kind: Kind, stamp: int, body: bytes) -> bytes:
        """Seals one more entry; gives its block hash."""
        seq = len(self.blocks)
        key, tag = message_key(SECRET, self.core, seq)
        text = encode_plaintext(Plaintext(kind, stamp, (), body))
        block = seal_entry(key, tag, self.core, self.space, seq, text)
        tree, _ = self.trees[-1].extend([leaf_of(block)])
        self.blocks.append((block, key))
        self.trees.append(tree)
        self.roots.append(tree.hash())
        return leaf_hash(block)

    def cut(self, length: int) -> Line:
        """Another branch that begins with the first blocks of this one."""
        return Line(
            self.writer, self.core, self.space, self.blocks[:length], self.roots[:length], self.trees[: length + 1]
        )

    def head(self) -> bytes:
        """The signed head of the whole branch."""
        return write_head(Output(), sign_head(self.writer, self.trees[-1])).finish()


@dataclass(slots=True)
class Device:
    """A device of a person, by its keys."""

    signing: SigningKey
    agreement: AgreementKey

    @property
    def id(self) -> bytes:
        """Its device id."""
        return device_id(self.signing.public, self.agreement.public)

    @property
    def signer(self) -> tuple[bytes, bytes]:
        """How a statement names it as its signer."""
        return self.signing.public, self.agreement.public


class Person:
    """A person: a phrase, devices, and every statement there is of them."""

    def __init__(self, world: RandomSpace, name: str) -> None:
        self.world, self.name = world, name
        self.root = SigningKey.from_seed(drawn("root", name, world.seed))
        self.devices: list[Device] = []
        self.statements: list[Statement] = []
        self.restored(())

    @property
    def identity(self) -> bytes:
        """The public half of R."""
        return self.root.public

    def device(self) -> Device:
        """Fresh keys."""
        seed = (self.name, len(self.devices), self.world.seed)
        made = Device(SigningKey.from_seed(drawn("S", *seed)), AgreementKey.from_secret(drawn("D", *seed)))
        self.devices.append(made)
        return made

    def generation(self) -> int:
        """The generation that statements carry now."""
        return generation_of(self.statements, self.identity) or 1

    def certify(self, issuer: Device) -> Device:
        """A device of this person lets another in."""
        made, now = self.device(), self.world.tick()
        body = certificate_body(
            self.identity,
            made.signing.public,
            made.agreement.public,
            created=now,
            generation=self.generation(),
            signer=issuer.signer,
        )
        self.statements.append(issue(body, counter_sign(body, made.signing), issuer.signing))
        return made

    def restored(self, lost: Iterable[bytes]) -> Device:
        """The phrase makes a device, in a new generation that keeps all others but those that are lost."""
        gone, made, now = set(lost), self.device(), self.world.tick()
        of = {one.id: one.device for one in self.statements if isinstance(one, Certificate)}
        kept = [one for one in certificates_to_keep(self.statements, self.identity) if of[one] not in gone]
        self.statements.append(
            root_certificate(
                self.root, made.signing, made.agreement.public, created=now, generation=now, stay=sorted(kept)[:5]
            )
        )
        return made

    def take_back(self, device: Device) -> None:
        """The phrase certifies a device anew, whatever was said of it, and keeps all others."""
        now = self.world.tick()
        of = {one.id: one.device for one in self.statements if isinstance(one, Certificate)}
        kept = [one for one in certificates_to_keep(self.statements, self.identity) if of[one] != device.id]
        self.statements.append(
            root_certificate(
                self.root, device.signing, device.agreement.public, created=now, generation=now, stay=sorted(kept)[:5]
            )
        )

    def shut_out(self, device: bytes, signer: Device | None, stay: Sequence[bytes] = ()) -> None:
        """A revocation, by a device or by the phrase."""
        now = self.world.tick()
        if signer is None:
            of = {one.id: one.device for one in self.statements if isinstance(one, Certificate)}
            kept = [one for one in certificates_to_keep(self.statements, self.identity) if of[one] != device]
            word = revoke(
                self.identity, device, created=now, generation=now, signer=None, key=self.root, stay=sorted(kept)
            )
        else:
            word = revoke(
                self.identity,
                device,
                created=now,
                generation=self.generation(),
                signer=signer.signer,
                key=signer.signing,
                stay=sorted(stay),
            )
        self.statements.append(word)


class Seat:
    """One feed of one device, with what it holds of the space."""

    def __init__(self, world: RandomSpace, person: Person, device: Device, honest: bool) -> None:
        self.world, self.person, self.device, self.honest = world, person, device, honest
        self.w = SigningKey.from_seed(drawn("W", len(world.seats), world.seed))
        self.core = core_key(self.w.public)
        self.line = Line(self.w, self.core, world.space)
        world.lines[self.core] = [self.line]
        self.graph = world.graph()
        self.held: dict[bytes, ControlEntry] = {}
        self.lent: tuple[Parent, ...] | None = None
        world.seats.append(self)

    @property
    def state(self) -> SpaceState:
        """What this device folds."""
        return self.graph.state()

    @property
    def prekey(self) -> bytes:
        """P of the device, for this feed."""
        return drawn("P", self.w.public)

    @property
    def speaks(self) -> bool:
        """Whether the feed is an open writer's here."""
        writer = self.state.writers.get(self.core)
        return writer is not None and writer.open

    def take(self, entry: ControlEntry) -> None:
        """Holds an entry."""
        if entry.id not in self.held:
            self.held[entry.id] = entry
            self.graph.add(entry)

    def write(self, *ops: Op, parents: tuple[Parent, ...] | None = None) -> ControlEntry:
        """One control entry."""
        named = self.graph.tips(self.core) if parents is None else parents
        stamp = self.world.stamp()
        seq = len(self.line.blocks)
        hash_ = self.line.append(Kind.CONTROL, stamp, encode_control(ControlBody(named, tuple(ops))))
        entry = ControlEntry(hash_, self.w.public, seq, self.line.roots[-1], stamp, named, tuple(ops))
        self.world.entries[entry.id] = entry
        self.take(entry)
        return entry

    def say(self) -> None:
        """A message: one block that is no control entry."""
        self.line.append(Kind.UPDATE, self.world.stamp(), b"hello")

    def act(self, *ops: Op) -> ControlEntry:
        """Operations and the epoch they call for."""
        after = self.graph.preview(self.w.public, ops, seq=len(self.line.blocks))
        return self.write(*ops, epoch_op(after, drawn("Z", self.world.written)))

    def enter(self) -> None:
        """Block 0, by which every feed opens an epoch."""
        if self.speaks and not self.line.blocks:
            self.act()

    def shown(self, other: Seat) -> tuple[bytes, ...]:
        """The statements that let the device of another seat in, as this one knows them."""
        return encoded(chain(self.world.some(other.person.statements), other.person.identity, other.device.id))

    def add_op(self, other: Seat) -> Add:
        """Brings a person in."""
        identity = other.person.identity
        consent = sign_consent(
            other.w, self.world.space, self.core, identity=identity, device=other.device.id, prekey=other.prekey
        )
        return Add(identity, other.w.public, other.device.id, self.shown(other), other.prekey, consent)

    def admit_op(self, other: Seat) -> Admit:
        """Brings another device of the own member in."""
        consent = sign_consent(
            other.w, self.world.space, self.core, identity=None, device=other.device.id, prekey=other.prekey
        )
        return Admit(other.w.public, other.device.id, self.shown(other), other.prekey, consent)

    def succeed_ops(self, old: Seat) -> tuple[Op, ...]:
        """Takes the place of an old feed, whose key this device has."""
        return succeed(
            old.w,
            self.world.space,
            self.core,
            self.graph.tips(self.core),
            old.line.end_at(self.world.rng.randint(0, len(old.line.blocks))),
            device=self.device.id,
            statements=self.shown(self),
            prekey=self.prekey,
        )

    def revoke_op(self, person: Person, device: bytes) -> Revoke:
        """Says that a device is out."""
        known = self.world.some(person.statements)
        return Revoke(device, encoded(evidence(known, person.identity, device)))


def encoded(statements: Iterable[Statement]) -> tuple[bytes, ...]:
    """Statements as operations carry them."""
    return tuple(one.encoded for one in statements)


class RandomSpace:
    """Everything that was written in one space; one seed gives one history."""

    def __init__(self, seed: int, kind: SpaceKind | None = None) -> None:
        """With a kind, the space has its creator c alone, and whoever calls writes its history."""
        self.seed = seed
        self.rng = random.Random(seed)
        self.most = self.rng.randint(14, 42)
        self.now, self.written = 1_800_000_000, 0
        self.space = bytes(32)
        self.lines: dict[bytes, list[Line]] = {}
        self.seats: list[Seat] = []
        self.entries: dict[bytes, ControlEntry] = {}
        drawn_kind = self.rng.choice((SpaceKind.GROUP,) * 5 + (SpaceKind.DIRECT,) * 3 + (SpaceKind.SELF,))
        self.kind = kind or drawn_kind
        count = {SpaceKind.GROUP: self.rng.randint(2, 5), SpaceKind.DIRECT: 2}.get(self.kind, 1)
        self.people = {name: Person(self, name) for name in PEOPLE[:count]}
        self.liars = {name for name in PEOPLE[1:count] if self.rng.random() < 0.3}
        self.candid = self.rng.random() < 0.5 or kind is not None
        self.first = self._create()
        if kind is None:
            self._people_enter()

    def tick(self) -> int:
        """A second passes."""
        self.now += 1
        return self.now

    def stamp(self) -> int:
        """Stamps do not follow causes: clocks differ."""
        self.written += 1
        return (1_700_000_000_000 + self.rng.randrange(100_000)) << 16 | self.written

    def graph(self) -> ControlGraph:
        """Production's graph of this space, empty."""
        return ControlGraph(self.space, FeedLineage(lambda core: self.lines.get(core, ())))

    def some(self, statements: Sequence[Statement]) -> list[Statement]:
        """What somebody knows of statements: mostly all, sometimes not the newest ones."""
        if self.candid or self.rng.random() < 0.7 or len(statements) < 2:
            return list(statements)
        return list(statements[: self.rng.randrange(1, len(statements))])

    # -- how it begins

    def _create(self) -> Seat:
        creator = self.people["c"]
        first = Seat(self, creator, creator.devices[0], True)
        self.space = first.line.space = space_id(first.core)
        first.graph = self.graph()
        known = encoded(chain(creator.statements, creator.identity, first.device.id))
        first.act(Create(self.kind, "walks", creator.identity, first.device.id, known, first.prekey))
        return first

    def _people_enter(self) -> None:
        rng, first = self.rng, self.first
        for name in list(self.people)[1:]:
            person = self.people[name]
            self.bring(first, Seat(self, person, person.devices[0], name not in self.liars))
            if self.kind is SpaceKind.GROUP and rng.random() < 0.4:
                first.write(Admin(first.state.writers[self.seats[-1].core].member))
        for person in self.people.values():
            elder = next(seat for seat in self.seats if seat.person is person)
            while rng.random() < 0.5 and len(person.devices) < 3:
                self.give(first, elder)
                self.let_in(elder)
                self.give(elder, first)
        if rng.random() < 0.7:
            self.settle()

    def bring(self, by: Seat, other: Seat) -> None:
        """A seat adds another person's, which writes its block 0."""
        by.act(by.add_op(other))
        self.give(by, other)
        other.enter()
        self.give(other, by)

    def let_in(self, elder: Seat) -> Seat:
        """A device admits a new one of its person, which writes its block 0."""
        other = Seat(self, elder.person, elder.person.certify(elder.device), elder.honest)
        elder.act(elder.admit_op(other))
        self.give(elder, other)
        other.enter()
        return other

    # -- what happens

    def give(self, source: Seat, target: Seat, share: float = 1.0) -> None:
        """Entries go from one to another, all or some."""
        for entry in list(source.held.values()):
            if share == 1.0 or self.rng.random() < share:
                target.take(entry)

    def settle(self) -> None:
        """Everybody gets everything."""
        for seat in self.seats:
            for entry in list(self.entries.values()):
                seat.take(entry)

    def live(self) -> RandomSpace:
        """Moves until there are enough entries."""
        for _ in range(4 * self.most):
            if len(self.entries) >= self.most:
                break
            seat = self.rng.choice(self.seats)
            if not seat.held:
                continue
            if self.rng.random() < 0.35:
                self.give(seat, self.rng.choice(self.seats), self.rng.choice((1.0, 1.0, 0.7)))
            elif seat.honest or self.rng.random() < 0.3:
                self._honest(seat)
            else:
                self._lie(seat)
        return self

    def _honest(self, seat: Seat) -> None:
        if not seat.speaks:
            if seat.line.blocks and self.rng.random() < 0.05:
                self._succeed(seat)
            return
        moves = (
            (self._remove, 4),
            (self._take_back, 1),
            (self._admit, 3),
            (self._add, 3),
            (self._appoint, 3),
            (self._shut_out, 4),
            (self._close_own, 2),
            (self._leave, 0.5),
            (self._succeed, 1.5),
            (self._set, 1),
            (self._oblige, 4),
            (self._unknown, 0.3),
            (self._talk, 1),
        )
        move = self.rng.choices([m for m, _ in moves], [weight for _, weight in moves])[0]
        move(seat)

    def _others(self, seat: Seat) -> list[bytes]:
        state = seat.state
        me = state.writers[seat.core].member
        return sorted(m for m in state.members if m != me and state.active(m))

    def _remove(self, seat: Seat) -> None:
        state, rank = seat.state, seat.state.rank(seat.core)
        below = [m for m in self._others(seat) if rank is not None and state.members[m].rank > rank]
        if below and self.kind is SpaceKind.GROUP:
            seat.act(*remove(seat.graph, self.rng.choice(below), {}))

    def _admit(self, seat: Seat) -> None:
        if len(seat.person.devices) < 5:
            self.let_in(seat)

    def _add(self, seat: Seat) -> None:
        if self.kind is SpaceKind.GROUP and seat.state.rank(seat.core) in (0, 1):
            name = self.rng.choice(PEOPLE)
            person = self.people.setdefault(name, Person(self, name))
            device = self.rng.choice(person.devices)
            other = Seat(self, person, device, name not in self.liars)
            self.bring(seat, other)
        elif self.kind is SpaceKind.DIRECT:
            person = self.people["a" if seat.person.name == "c" else "c"]
            other = Seat(self, person, self.rng.choice(person.devices), person.name not in self.liars)
            self.bring(seat, other)

    def _appoint(self, seat: Seat) -> None:
        others = self._others(seat)
        if seat.state.rank(seat.core) == 0 and others:
            seat.write(Admin(self.rng.choice(others)))

    def _shut_out(self, seat: Seat) -> None:
        """A person loses a device; somebody who hears of it says so here, with the owner's close or without."""
        rng, person = self.rng, seat.person
        lost = rng.choice(person.devices).id
        if rng.random() < 0.5:
            person.shut_out(lost, rng.choice(person.devices), self._stay(person, lost))
        elif rng.random() < 0.5:
            person.restored({lost})
        else:
            person.shut_out(lost, None)
        ops: list[Op] = [seat.revoke_op(person, lost)]
        writers = seat.state.writers.values()
        mine = [w.core for w in writers if w.device == lost and w.open and w.core != seat.core]
        if mine and rng.random() < 0.6:
            ops += close_own(seat.graph, mine, {})
        if rng.random() < 0.7:
            seat.act(*ops)

    def _take_back(self, seat: Seat) -> None:
        """A device that was out stands again by R's newest word, which another admission carries here."""
        out = [device for device in seat.person.devices if any(w.device == device.id for w in self._outside(seat))]
        if out and len(seat.person.devices) < 6:
            back = self.rng.choice(out)
            seat.person.take_back(back)
            other = Seat(self, seat.person, seat.person.certify(back), seat.honest)
            seat.act(seat.admit_op(other))
            self.give(seat, other)
            other.enter()

    def _outside(self, seat: Seat) -> list[Writer]:
        return [writer for writer in seat.state.writers.values() if writer.out]

    def _stay(self, person: Person, lost: bytes) -> list[bytes]:
        issued = [one.id for one in person.statements if isinstance(one, Certificate) and one.issuer == lost]
        return [one for one in issued if self.rng.random() < 0.5]

    def _close_own(self, seat: Seat) -> None:
        state = seat.state
        me = state.writers[seat.core].member
        mine = [w.core for w in state.writers.values() if w.member == me and w.open and w.core != seat.core]
        if mine:
            seat.act(*close_own(seat.graph, [self.rng.choice(mine)], {}))

    def _leave(self, seat: Seat) -> None:
        seat.write(*leave(seat.graph, seat.core, {}))

    def _succeed(self, seat: Seat) -> None:
        """A device that was restored, or made from the phrase, takes the place of a feed of its person."""
        rng, person = self.rng, seat.person
        olds = [s for s in self.seats if s.person is person and s.line.blocks]
        if not olds:
            return
        old = rng.choice(olds)
        device = old.device if rng.random() < 0.4 else person.restored({old.device.id} if rng.random() < 0.7 else ())
        other = Seat(self, person, device, seat.honest)
        self.give(seat, other, rng.choice((1.0, 0.8)))
        ops = other.succeed_ops(old)
        if rng.random() < 0.5:
            ops = tuple(op for op in ops if not isinstance(op, Close))
        other.act(*ops)
        if rng.random() < 0.7:
            self.give(other, seat)

    def _set(self, seat: Seat) -> None:
        seat.write(Set(self.rng.choice(("title", "colour")), bytes((65 + self.rng.randrange(26),))))

    def _oblige(self, seat: Seat) -> None:
        lost = {p.identity: encoded(p.statements) for p in self.people.values() if self.rng.random() < 0.7}
        opened = [FeedEnd(line.writer.public, *line.end_at(len(line.blocks))) for line in self._closed(seat)]
        owed = obligations(seat.graph, seat.core, opened=opened, lost=lost)
        if owed:
            seat.act(*owed)
        elif usable(seat.state, seat.core) is None or self.rng.random() < 0.1:
            seat.act()

    def _closed(self, seat: Seat) -> list[Line]:
        return [lines[0] for core, lines in sorted(self.lines.items()) if core in seat.state.ends and lines[0].blocks]

    def _unknown(self, seat: Seat) -> None:
        seat.write(Unknown(self.rng.choice((11, 12, 13, 14, 300)), b"later"))

    def _talk(self, seat: Seat) -> None:
        for _ in range(self.rng.randint(1, 2)):
            seat.say()

    # -- lies

    def _lie(self, seat: Seat) -> None:
        rng = self.rng
        entries = list(seat.held.values())
        own = [e for e in entries if e.core == seat.core]
        if rng.random() < 0.25 and own:
            seat.line = seat.line.cut(rng.choice(own).seq + rng.randint(0, 1))
            self.lines[seat.core].append(seat.line)
        chosen = rng.sample(entries, min(len(entries), rng.randint(1, 3)))
        if rng.random() < 0.8:
            chosen += own[-1:]
        complete = {e.parent for e in chosen if seat.graph.entry(e.id)}
        parents = tuple(sorted(complete)) if rng.random() < 0.7 else seat.graph.tips(seat.core)
        ops = [op for op in (self._lied(seat) for _ in range(rng.randint(1, 2))) if op is not None]
        if sum(isinstance(op, Add) for op in ops) > 1:
            ops = ops[:1]
        if not ops or rng.random() < 0.4:
            state = seat.state
            roster = tuple(place for place in state.roster if rng.random() < 0.8)
            named = tuple(sorted(e for e in state.epochs if rng.random() < 0.7))
            ops.append(Epoch(roster, named, bytes(32)))
        seat.write(*ops, parents=parents)

    def _lied(self, seat: Seat) -> Op | None:
        rng, state = self.rng, seat.state
        writers = sorted(state.writers.values(), key=lambda w: w.core)
        members = sorted(state.members) or [bytes(32)]
        x = rng.random()
        if x < 0.35 and writers:
            some = {w.writer: self._some_end(w.core) for w in rng.sample(writers, rng.randint(1, len(writers)))}
            feeds = tuple(sorted(FeedEnd(w, *end) for w, end in some.items()))
            return Close(rng.choice([None, *members]), feeds)
        if x < 0.45:
            return Admin(rng.choice(members))
        if x < 0.6 and len(seat.person.devices) < 6:
            other = Seat(self, seat.person, seat.person.certify(seat.device), False)
            return seat.admit_op(other)
        if x < 0.7:
            # A feed that somebody else may bring in too.
            other = rng.choice(self.seats)
            return seat.admit_op(other) if other.person is seat.person else seat.add_op(other)
        if x < 0.8 and writers:
            person = rng.choice(list(self.people.values()))
            return seat.revoke_op(person, rng.choice(writers).device)
        if x < 0.88 and writers:
            chosen = rng.choice(writers)
            end = self._some_end(chosen.core)
            return Witness(FeedEnd(chosen.writer, *end)) if end.length else None
        if x < 0.92:
            return Slots(rng.choice(sorted(seat.held)), 0)
        if x < 0.96:
            return Unknown(rng.choice((11, 12, 13)), b"later")
        return Succeed(rng.choice(self.seats).w.public, seat.device.id, seat.shown(seat), seat.prekey, bytes(64))

    def _some_end(self, core: bytes) -> End:
        line = self.rng.choice(self.lines[core])
        if self.rng.random() < 0.02:
            return End(3, drawn("nowhere", core))
        return line.end_at(self.rng.randint(0, len(line.blocks)))

    # -- the bytes

    def branches(self) -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
        """Each branch that was signed: its head, and its blocks with message keys."""
        return [(line.head(), line.blocks) for lines in self.lines.values() for line in lines if line.blocks]
