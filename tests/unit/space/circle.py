"""A circle: devices in one space over the production fold, without cryptography and without a node.

Names are texts, hashes are made of them, a tree hash is the id of the last entry within the length, and statements are
unsigned.  Honest devices write what `crdt.space.moves` gives them; liars name any parents, fork, and write anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from crdt.log.manifest import core_key
from crdt.space import moves
from crdt.space.control import (
    Add,
    Admin,
    Admit,
    Close,
    ControlEntry,
    Create,
    Epoch,
    FeedEnd,
    Op,
    Parent,
    Revoke,
    Rostered,
    SpaceKind,
    Succeed,
)
from crdt.space.epoch import epoch_op, usable
from crdt.space.graph import ControlGraph
from crdt.space.lineage import START, End
from crdt.space.membership import SpaceState
from crdt.space.rendezvous import space_id
from crdt.space.standing import Judged
from identity.device_set import list_of, out_devices, standing_devices
from identity.evidence import chain, evidence
from identity.statement import Certificate, Revocation, Statement

Parents = tuple[Parent, ...]


def name32(*parts: object) -> bytes:
    return blake2b(repr(parts).encode(), digest_size=32).digest()


@dataclass(frozen=True)
class Entry:
    """A block of a feed: a control entry, or a message under an epoch."""

    id: bytes
    core: bytes
    seq: int
    prev: bytes | None
    control: ControlEntry | None

    @property
    def end(self) -> End:
        return End(self.seq + 1, self.id)


class Circle:
    """All that was ever written and signed.  people: first letter of a name -> number of devices; the first creates."""

    def __init__(self, people: dict[str, int], kind: SpaceKind = SpaceKind.GROUP, admins: str = "") -> None:
        self.entries: dict[bytes, Entry] = {}
        self.seats: dict[str, Seat] = {}
        self.signed: dict[str, list[Statement]] = {}
        self.statements: dict[bytes, Statement] = {}
        self.generation: dict[str, int] = {}
        self.order = 0
        names = list(people)
        self.space = space_id(core_key(name32("writer", names[0] + "1")))
        first = Seat(self, names[0] + "1")
        first.act(Create(kind, "walks", name32(names[0]), first.device, first.shown(), bytes(32)))
        for name in names[1:]:
            first.lets_in(Seat(self, name + "1"))
        for name in names:
            for number in range(2, people[name] + 1):
                self.settle()
                self[name + "1"].admits(Seat(self, f"{name}{number}"))
        for name in admins:
            first.do(Admin(first.member(name)))
        self.settle()

    def __getitem__(self, name: str) -> Seat:
        return self.seats[name]

    def seated(self, *names: str) -> tuple[Seat, ...]:
        return tuple(self.seats[name] for name in names)

    def settle(self, *seats: Seat) -> None:
        """Everybody, or these, tell one another everything."""
        here = seats or tuple(self.seats.values())
        for _ in range(2):
            for source in here:
                for target in here:
                    target.take(source.held)

    # -- what the fold asks ------------------------------------------------------------------------------------

    def graph(self) -> ControlGraph:
        return ControlGraph(self.space, self, verify=self._verify, judge=self._judge)

    def proved(self, core: bytes, end: End) -> bool:
        return not end.length or end.root in self.entries

    def agree(self, core: bytes, a: End, b: End) -> bool:
        short, long = sorted((a, b))
        return self.line(long)[: short.length] == self.line(short)

    def line(self, end: End) -> list[bytes]:
        found: list[bytes] = []
        at: bytes | None = end.root if end.length else None
        while at is not None:
            found.append(at)
            at = self.entries[at].prev
        return found[::-1][: end.length]

    @staticmethod
    def _verify(space: bytes, entry: ControlEntry, op: Op) -> bool:
        match op:
            case Add():
                return op.consent[:33] == entry.writer + b"\1"
            case Admit():
                return op.consent[:33] == entry.writer + b"\2"
            case _:
                return True

    def _judge(self, statements: frozenset[bytes], identity: bytes) -> Judged:
        given = [self.statements[token] for token in statements]
        return Judged(standing_devices(given, identity) or frozenset(), out_devices(given, identity))

    # -- device statements -------------------------------------------------------------------------------------

    def sign(self, person: str, statement: Statement) -> bytes:
        self.signed.setdefault(person, []).append(statement)
        self.statements[encoded(statement)] = statement
        return statement.id

    def certify(self, device: str, by: str | None = None, stay: Iterable[bytes] = ()) -> bytes:
        """by: a device that certifies it; None: the root key."""
        self.order += 1
        person = device[0]
        root, at = name32(person), self.order
        id_, who = name32("statement", at), name32("device", device)
        generation = self.generation.setdefault(person, 1)
        issuer = None if by is None else name32("device", by)
        return self.sign(person, Certificate(id_, root, who, who, who, at, generation, issuer, tuple(sorted(stay))))

    def disown(self, device: str, by: str | None, stay: Iterable[bytes] = ()) -> tuple[bytes, ...]:
        """A revocation; gives what shows it."""
        self.order += 1
        person, issuer = device[0], None if by is None else name32("device", by)
        root, id_, who = name32(device[0]), name32("statement", self.order), name32("device", device)
        kept = tuple(sorted(stay)) or (list_of(self.signed[person], root) if by is None else ())
        self.sign(person, Revocation(id_, root, who, self.order, self.generation[person], issuer, kept))
        return self.tells(device)

    def tells(self, device: str) -> tuple[bytes, ...]:
        """What shows that a device is out."""
        person = device[0]
        return said_by(evidence(self.signed[person], name32(person), name32("device", device)))

    def certificates(self, device: str) -> list[bytes]:
        who = name32("device", device)
        return [s.id for s in self.signed[device[0]] if isinstance(s, Certificate) and s.device == who]

    def recover(self, device: str, *kept: str) -> tuple[bytes, ...]:
        """By phrase: a new generation certifies a device and lists those that are kept.  Gives what shows it."""
        self.generation[device[0]] += 1
        self.certify(device, stay=[self.certificates(other)[0] for other in kept])
        return tuple({said for name in (device, *kept) for said in self.shown(name)})

    def shown_without_revocations(self, device: str, by: str) -> tuple[bytes, ...]:
        """What a thief tells of a device that the stolen one certifies."""
        self.certify(device, by)
        mine = self.signed[device[0]]
        return said_by(
            chain([s for s in mine if isinstance(s, Certificate)], name32(device[0]), name32("device", device))
        )

    def shown(self, device: str) -> tuple[bytes, ...]:
        """What shows that a device stands."""
        return said_by(chain(self.signed[device[0]], name32(device[0]), name32("device", device)))


class Seat:
    """One device; its name is the person's letter and a number."""

    def __init__(self, circle: Circle, name: str, by: str | None = None) -> None:
        self.circle, self.name, self.person = circle, name, name[0]
        self.writer, self.device = name32("writer", name), name32("device", name)
        self.core = core_key(self.writer)
        self.held: dict[bytes, Entry] = {}
        self.tip: Entry | None = None
        self.opened: set[bytes] = set()
        if not circle.signed.get(self.person) or self.device not in {
            s.device for s in circle.signed[self.person] if isinstance(s, Certificate)
        }:
            circle.certify(name, by)
        circle.seats[name] = self
        self.graph = circle.graph()

    @property
    def state(self) -> SpaceState:
        return self.graph.state()

    def tips(self) -> Parents:
        return self.graph.tips(self.core)

    def member(self, person: str) -> bytes:
        """The member of a person with an open writer, as this device has it."""
        return self.state.people()[name32(person)][0].id

    def open(self, name: str) -> bool:
        return self.state.open(self.circle[name].core)

    def rostered(self) -> set[str]:
        return {
            seat.name for seat in self.circle.seats.values() if Rostered(seat.writer, seat.device) in self.state.roster
        }

    def shows(self, entry: Entry) -> bool:
        return self.state.shows(entry.core, entry.seq, entry.id)

    def end_of(self, name: str) -> FeedEnd:
        """How far a feed goes, as far as it is here."""
        core = self.circle[name].core
        return FeedEnd(
            self.circle[name].writer, *max((e.end for e in self.held.values() if e.core == core), default=START)
        )

    def frontiers(self) -> dict[bytes, End]:
        return {seat.core: self.end_of(seat.name).end for seat in self.circle.seats.values()}

    # -- reading -----------------------------------------------------------------------------------------------

    def take(self, entries: dict[bytes, Entry]) -> None:
        for entry in list(entries.values()):
            if entry.id in self.held:
                continue
            self.held[entry.id] = entry
            if entry.control is not None:
                self.graph.add(entry.control)
        self.opened |= {e.id for e in self.held.values() if e.control is None and self.shows(e)}

    def hear(self, other: Seat) -> None:
        self.take(other.held)

    # -- writing -----------------------------------------------------------------------------------------------

    def write(self, ops: Sequence[Op] | None, parents: Parents | None = None, prev: Entry | None = None) -> Entry:
        """A control entry, or a message where there are no operations."""
        circle, before = self.circle, prev or self.tip
        circle.order += 1
        id_, seq = name32("entry", circle.order, self.name), before.seq + 1 if before is not None else 0
        control = None
        if ops is not None:
            named = self.tips() if parents is None else parents
            control = ControlEntry(id_, self.writer, seq, id_, circle.order << 16, named, tuple(ops))
        entry = Entry(id_, self.core, seq, before.id if before is not None else None, control)
        circle.entries[id_] = self.held[id_] = self.tip = entry
        if control is not None:
            self.graph.add(control)
        return entry

    def do(self, *ops: Op, parents: Parents | None = None, prev: Entry | None = None) -> Entry:
        return self.write(ops, parents, prev)

    def act(self, *ops: Op) -> Entry:
        """Operations and the epoch they call for."""
        seq = self.tip.seq + 1 if self.tip is not None else 0
        after = self.graph.preview(self.writer, ops, seq=seq)
        return self.write((*ops, epoch_op(after, bytes(32))))

    def message(self) -> Entry:
        """Seals a message to nobody who is out; opens an epoch first where none fits."""
        self.duty()
        if usable(self.state, self.core) is None:
            self.act()
        epoch = usable(self.state, self.core)
        assert epoch is not None, f"{self.name} is stuck"
        roster = self.state.epochs[epoch].roster
        assert roster == self.state.roster and not {place.device for place in roster} & self.state.out
        entry = self.write(None)
        self.opened.add(entry.id)
        return entry

    def duty(self, **lost: tuple[bytes, ...]) -> tuple[Op, ...]:
        """What is owed unasked.  lost: devices known as out -> what shows it.  Gives what was written."""
        opened: dict[bytes, FeedEnd] = {}
        for entry in sorted((self.circle.entries[i] for i in self.opened), key=lambda e: e.seq):
            writer = next(s.writer for s in self.circle.seats.values() if s.core == entry.core)
            opened[entry.core] = FeedEnd(writer, *entry.end)
        known = {name32("device", name): said for name, said in lost.items()}
        owed = moves.obligations(self.graph, self.core, opened=opened.values(), frontiers=self.frontiers(), lost=known)
        if any(isinstance(op, Revoke | Close) for op in owed):
            self.act(*owed)
        elif owed:
            self.do(*owed)
        return owed

    def add_op(self, other: Seat, said: tuple[bytes, ...] | None = None, *, honest: bool = True) -> Add:
        consent = (self.writer + b"\1").ljust(64, b"\0") if honest else bytes(64)
        return Add(name32(other.person), other.writer, other.device, said or other.shown(), bytes(32), consent)

    def admit_op(self, other: Seat, kind: int = 2) -> Admit:
        consent = (self.writer + bytes((kind,))).ljust(64, b"\0")
        return Admit(other.writer, other.device, other.shown(), bytes(32), consent)

    def shown(self) -> tuple[bytes, ...]:
        return self.circle.shown(self.name)

    def lets_in(self, other: Seat, said: tuple[bytes, ...] | None = None) -> Entry:
        entry = self.act(self.add_op(other, said))
        other.hear(self)
        other.act()
        self.hear(other)
        return entry

    def admits(self, other: Seat) -> Entry:
        entry = self.act(self.admit_op(other))
        other.hear(self)
        other.act()
        self.hear(other)
        return entry

    def removal(self, person: str) -> tuple[Close, ...]:
        return moves.remove(self.graph, self.member(person), self.frontiers())

    def removes(self, person: str) -> Entry:
        return self.act(*self.removal(person))

    def close_op(self, *names: str) -> Close:
        return Close(None, tuple(sorted(self.end_of(name) for name in names)))

    def backup(self) -> dict[bytes, Entry]:
        return dict(self.held)

    def restored(self, name: str, backup: dict[bytes, Entry], said: tuple[bytes, ...] | None = None) -> Seat:
        """A new device goes on from a backup of this one; the old device certifies it and revokes itself."""
        if said is None:
            said = self.replaced_by(name)
        new = Seat(self.circle, name)
        new.take(backup)
        succession = Succeed(self.writer, new.device, said, bytes(32), bytes(64))
        new.act(succession, Close(None, (new.end_of(self.name),)))
        return new

    def replaced_by(self, name: str) -> tuple[bytes, ...]:
        """The statements by which a device gives its place to a new one."""
        word = self.circle.certify(name, self.name)
        self.circle.disown(self.name, self.name, [word])
        return self.circle.shown(name)


def encoded(statement: Statement) -> bytes:
    """A name for a statement, with the identity where the bytes of one have it."""
    return bytes(3) + statement.identity + statement.id


def said_by(statements: Iterable[Statement]) -> tuple[bytes, ...]:
    return tuple(sorted(map(encoded, statements)))


def opens_no_epoch_without_itself(seat: Seat) -> Epoch:
    """An epoch whose roster lacks its author."""
    roster = tuple(place for place in seat.state.roster if place.writer != seat.writer)
    return Epoch(roster, tuple(sorted(seat.state.epochs)), bytes(32))
