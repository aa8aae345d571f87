"""A random group: people with devices, honest ones and liars, without cryptography and without the reference model.

Honest devices write what `crdt.space.moves` gives them.  Liars name any parents, fork, and write any operation.
"""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import NamedTuple

from crdt.log.manifest import core_key
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
    Set,
    SpaceKind,
    Witness,
)
from crdt.space.epoch import epoch_op, usable
from crdt.space.graph import ControlGraph
from crdt.space.lineage import START, End, FeedLineage
from crdt.space.membership import SpaceState
from crdt.space.moves import close_own, obligations, remove
from crdt.space.rendezvous import space_id


def name32(*parts: object) -> bytes:
    return blake2b(repr(parts).encode(), digest_size=32).digest()


class Branch:
    """Tree hashes of one history of a feed."""

    def __init__(self, roots: list[bytes]) -> None:
        self.roots = roots

    def root_at(self, length: int) -> bytes | None:
        return self.roots[length - 1] if 0 < length <= len(self.roots) else None

    @property
    def end(self) -> End:
        return End(len(self.roots), self.roots[-1]) if self.roots else START


class Said(NamedTuple):
    """Devices stand until a statement names them; here a statement is no more than that."""

    statements: frozenset[bytes]

    def stands(self, device: bytes) -> bool:
        return device not in self.statements

    def out(self, device: bytes) -> bool:
        return device in self.statements


class Device:
    """One device of one person, with what it holds."""

    def __init__(self, group: RandomGroup, person: str, number: int, honest: bool) -> None:
        self.group, self.person, self.honest = group, person, honest
        self.w, self.device = name32("w", person, number), name32("d", person, number)
        self.core = core_key(self.w)
        self.line = Branch([])
        group.branches.setdefault(self.core, []).append(self.line)
        self.graph = group.graph()
        self.held: dict[bytes, ControlEntry] = {}

    @property
    def state(self) -> SpaceState:
        return self.graph.state()

    @property
    def speaks(self) -> bool:
        writer = self.state.writers.get(self.core)
        return writer is not None and writer.open and not writer.out

    def take(self, entry: ControlEntry) -> None:
        if entry.id not in self.held:
            self.held[entry.id] = entry
            self.graph.add(entry)

    def write(self, *ops: Op, parents: tuple[Parent, ...] | None = None) -> ControlEntry:
        named = self.graph.tips(self.core) if parents is None else parents
        return self.sign(named, ops)

    def sign(self, parents: tuple[Parent, ...], ops: tuple[Op, ...]) -> ControlEntry:
        self.group.written += 1
        seq = len(self.line.roots)
        id_ = name32("entry", self.core, seq, self.group.written, self.group.seed)
        self.line.roots.append(name32("root", id_))
        entry = ControlEntry(id_, self.w, seq, self.line.end.root, self.group.written << 16, parents, ops)
        self.take(entry)
        return entry

    def act(self, *ops: Op) -> ControlEntry:
        """Operations and the epoch they call for."""
        after = self.graph.preview(self.w, ops, seq=len(self.line.roots))
        return self.write(*ops, epoch_op(after, bytes(32)))

    def add_op(self, other: Device) -> Add:
        return Add(name32(other.person), other.w, other.device, (), bytes(32), self.w + b"\1" + bytes(31))

    def admit_op(self, other: Device) -> Admit:
        return Admit(other.w, other.device, (), bytes(32), self.w + b"\2" + bytes(31))


def checked(space: bytes, entry: ControlEntry, op: Op) -> bool:
    match op:
        case Add():
            return op.consent[:33] == entry.writer + b"\1"
        case Admit():
            return op.consent[:33] == entry.writer + b"\2"
        case _:
            return True


class RandomGroup:
    """Everything that was written in one group, and what each device holds of it; one seed gives one history."""

    def __init__(self, seed: int) -> None:
        self.seed, self.written = seed, 0
        self.rng = random.Random(seed)
        self.branches: dict[bytes, list[Branch]] = {}
        self.space = bytes(32)
        self.devices: list[Device] = []
        self._found()

    def graph(self) -> ControlGraph:
        lineage = FeedLineage(lambda core: self.branches.get(core, ()))
        return ControlGraph(self.space, lineage, verify=checked, judge=lambda statements, identity: Said(statements))

    def new(self, person: str, honest: bool) -> Device:
        made = Device(self, person, len(self.devices), honest)
        self.devices.append(made)
        return made

    def _found(self) -> None:
        rng = self.rng
        people = "cabd"[: rng.randint(2, 4)]
        liars = set(rng.sample(people[1:], rng.randint(0, len(people) - 1)))
        first = self.new("c", True)
        self.space = space_id(first.core)
        first.graph = self.graph()
        first.act(Create(SpaceKind.GROUP, "walks", name32("c"), first.device, (), bytes(32)))
        for person in people[1:]:
            other = self.new(person, True)
            first.act(first.add_op(other))
            self.give(first, other)
            other.act()
            if rng.random() < 0.5:
                first.write(Admin(first.state.writers[other.core].member))
            self.give(other, first)
        for person in people:
            if rng.random() < 0.6:
                elder = next(d for d in self.devices if d.person == person)
                self.give(first, elder)
                second = self.new(person, True)
                elder.act(elder.admit_op(second))
                self.give(elder, second)
                second.act()
                self.give(second, first)
        for device in self.devices:
            device.honest = device.person not in liars
        self.settle()

    # -- what happens -----------------------------------------------------------------------------------------

    def give(self, source: Device, target: Device, share: float = 1.0) -> None:
        for entry in list(source.held.values()):
            if self.rng.random() < share:
                target.take(entry)

    def settle(self) -> None:
        for _ in range(2):
            for source in self.devices:
                for target in self.devices:
                    self.give(source, target)

    def live(self, moves: int) -> None:
        for _ in range(moves):
            device = self.rng.choice(self.devices)
            if self.rng.random() < 0.4:
                self.give(device, self.rng.choice(self.devices), self.rng.choice([1.0, 0.7]))
            elif device.honest:
                self._honest(device)
            elif device.held:
                self._lie(device)

    def _honest(self, device: Device) -> None:
        rng, state = self.rng, device.state
        if not device.speaks:
            return
        rank, me = state.rank(device.core), state.writers[device.core].member
        others = sorted(m for m in state.members if m != me and state.active(m))
        below = [m for m in others if rank is not None and state.members[m].rank > rank]
        x = rng.random()
        if x < 0.2 and below:
            device.act(*remove(device.graph, rng.choice(below), {}))
        elif x < 0.35:
            other = self.new(device.person, True)
            device.act(device.admit_op(other))
            self._enter(device, other)
        elif x < 0.5 and rank in (0, 1):
            other = self.new(rng.choice("cabd"), True)
            device.act(device.add_op(other))
            self._enter(device, other)
        elif x < 0.6 and rank == 0 and others:
            device.write(Admin(rng.choice(others)))
        elif x < 0.7:
            mine = [w for w in state.writers.values() if w.member == me and w.open and w.core != device.core]
            if mine:
                gone = mine[0]
                device.act(Revoke(gone.device, (gone.device,)), *close_own(device.graph, [gone.core], {}))
        elif x < 0.75:
            device.write(Set("colour", bytes((rng.randrange(256),))))
        else:
            owed = obligations(device.graph, device.core)
            if owed or usable(state, device.core) is None:
                device.act(*owed)

    def _enter(self, device: Device, other: Device) -> None:
        self.give(device, other)
        if other.speaks:
            other.act()

    def _lie(self, device: Device) -> None:
        rng, state = self.rng, device.state
        entries = list(device.held.values())
        own = [e for e in entries if e.core == device.core]
        if rng.random() < 0.25 and own:
            self._fork(device, rng.choice(own))
        chosen = rng.sample(entries, min(len(entries), rng.randint(1, 3)))
        if rng.random() < 0.8:
            chosen += own[-1:]  # without it the entry is void as soon as the other is seen
        parents = tuple(sorted({e.parent for e in chosen if device.graph.entry(e.id)}))
        ops: list[Op] = []
        writers = sorted(state.writers.values(), key=lambda w: w.core)
        members = sorted(state.members) or [bytes(32)]
        for _ in range(rng.randint(1, 2)):
            x = rng.random()
            if x < 0.4 and writers:
                some = {w.writer: self._some_end(w.core) for w in rng.sample(writers, rng.randint(1, len(writers)))}
                feeds = tuple(sorted(FeedEnd(w, *end) for w, end in some.items()))
                ops.append(Close(rng.choice([None, *members]), feeds))
            elif x < 0.5:
                ops.append(Admin(rng.choice(members)))
            elif x < 0.7:
                other = self.new(device.person, False)
                ops.append(device.admit_op(other))
            elif x < 0.8 and not any(isinstance(op, Add) for op in ops):
                other = self.new(rng.choice("cabd"), False)
                ops.append(device.add_op(other))
            elif x < 0.9 and writers:
                named = rng.choice(writers).device
                ops.append(Revoke(named, (named,) if rng.random() < 0.8 else ()))
            elif writers:
                chosen_writer = rng.choice(writers)
                end = self._some_end(chosen_writer.core)
                if end.length:
                    ops.append(Witness(FeedEnd(chosen_writer.writer, *end)))
        roster = tuple(place for place in state.roster if rng.random() < 0.8)
        if not ops or rng.random() < 0.4:
            ops.append(Epoch(roster, tuple(sorted(e for e in state.epochs if rng.random() < 0.7)), bytes(32)))
        device.sign(parents, tuple(ops))

    def _fork(self, device: Device, at: ControlEntry) -> None:
        device.line = Branch(device.line.roots[: at.seq])
        self.branches[device.core].append(device.line)

    def _some_end(self, core: bytes) -> End:
        branch = self.rng.choice(self.branches[core])
        length = self.rng.randint(0, len(branch.roots))
        root = branch.root_at(length)
        return START if root is None else End(length, root)
