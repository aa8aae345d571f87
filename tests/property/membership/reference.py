"""The reference model's worlds as production entries.

The model names things by short texts; here every name becomes 32 bytes in the same order, so that "the lowest hash"
means the same on both sides.  A tree hash is the id of the last entry within the length.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from hashlib import blake2b
from types import ModuleType
from typing import Any

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
    Rostered,
    Set,
    SpaceKind,
    Succeed,
    Unknown,
    Witness,
)
from crdt.space.epoch import fitting_epochs
from crdt.space.graph import ControlGraph
from crdt.space.history import History
from crdt.space.lineage import End
from crdt.space.membership import SpaceState, state_of
from crdt.space.rendezvous import space_id
from crdt.space.rules import Limits
from identity.device_set import standing_devices
from identity.statement import Certificate, Revocation, Statement
from tests.support.shared import shared

UNBOUND = Limits(members=10**6, devices=10**6)


def load_model() -> ModuleType:
    """`model/next/membership.py`; skips the test where it is absent."""
    path = shared("model/next/membership.py")
    name = "kithkin_reference_membership"
    if name not in sys.modules:
        sys.modules["devices"] = load_devices()  # as the model names its neighbour
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        amend(module)
    return sys.modules[name]


def amend(model: ModuleType) -> None:
    """What was found after the model was written: a close counts if its own past shows its author as an open writer.

    Closes of one step are not held against each other, so without this a device that was closed goes on to close
    others of its person (`docs/decisions/0218-closed-devices-close-nothing.md`).
    """
    right = model.Folder.right

    def amended(folder: Any, node: Any, state: Any) -> bool:
        if model.AUTHOR_OPEN and folder.w.op(node)[0] == "close":
            past = folder.fold(folder.w.npast(node))
            if not past.open(folder.w.feed(node)):
                return False
        return bool(right(folder, node, state))

    model.AUTHOR_OPEN = True  # type: ignore[attr-defined]
    model.Folder.right = amended


def load_devices() -> ModuleType:
    """`model/next/devices.py`, on which the other stands."""
    spec = importlib.util.spec_from_file_location("kithkin_reference_devices", shared("model/next/devices.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def name32(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=32).digest()


def id32(model_id: str | None) -> bytes:
    return bytes(32) if model_id is None else bytes.fromhex(model_id).ljust(32, b"\0")


def node_id(node: tuple[str, int]) -> bytes:
    """A member: the model counts places in an entry, production has one create or add an entry."""
    return id32(node[0])[:31] + bytes((node[1],))


class ManyAdds(History):
    """The model's liars may add two members in one entry, which no production entry can."""

    def member_id(self, entry: ControlEntry, place: int) -> bytes:
        return entry.id[:31] + bytes((place,))


class Said:
    """What a set of the model's statements says, by the production fold over each identity's own.

    Whose a device is, the model takes from the truth, whatever identity an operation claims.
    """

    def __init__(self, world: Any, statements: Iterable[Statement]) -> None:
        self._people = {name32(device): name32(person) for device, person in world.person.items()}
        self._given = list(statements)
        self._known: dict[bytes, frozenset[bytes] | None] = {}

    def stands(self, device: bytes) -> bool:
        """The model asks admissions for no word of the root key where none is known."""
        return not self.out(device)

    def out(self, device: bytes) -> bool:
        person = self._people.get(device)
        if person is None:
            return False
        if person not in self._known:
            self._known[person] = standing_devices(self._given, person)
        standing = self._known[person]
        return standing is not None and device not in standing


class WorldLineage:
    """Branches of the model's feeds."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def proved(self, core: bytes, end: End) -> bool:
        return True

    def agree(self, core: bytes, a: End, b: End) -> bool:
        short, long = sorted((a, b))
        return bool(self._line(long)[: short.length] == self._line(short))

    def _line(self, end: End) -> tuple[str, ...]:
        line = self._world.line(end.root[:6].hex() if end.length else None)
        return tuple(line[: end.length])


class Translation:
    """One world of the model, entry by entry."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.lineage = WorldLineage(world)
        self._made: dict[str, ControlEntry] = {}
        self._statements: dict[bytes, Statement] = {}
        self._said: dict[frozenset[bytes], Said] = {}
        creator = next(e for e in world.e.values() if e.ops and e.ops[0][0] == "create")
        self.space = space_id(core_key(name32(creator.feed)))

    def core(self, feed: str) -> bytes:
        return core_key(name32(feed))

    def graph(self, limits: Limits = UNBOUND) -> ControlGraph:
        return ControlGraph(
            self.space,
            self.lineage,
            limits=limits,
            verify=self._verify,
            judge=self._judge,
            history=ManyAdds(),
        )

    def entry(self, i: str) -> ControlEntry:
        if i not in self._made:
            self._made[i] = self._translate(i)
        return self._made[i]

    def in_order(self, ids: Iterable[str]) -> list[str]:
        """As they were written: parents first."""
        return sorted(ids, key=lambda i: self.world.e[i].t)

    def _translate(self, i: str) -> ControlEntry:
        e = self.world.e[i]
        parents = set(e.parents)
        own = [p for p in self.world.line(e.prev) if self.world.e[p].kind == "control"]
        if not e.skip:
            parents.update(own[-1:])  # implied in the model, named in production
        named = sorted(Parent(self.core(self.world.e[p].feed), self.world.e[p].seq, id32(p)) for p in parents)
        ops = tuple(self._op(op, self._tokens(self.world.said((i, k)))) for k, op in enumerate(e.ops))
        return ControlEntry(id32(i), name32(e.feed), e.seq, id32(i), 0, tuple(named), ops)

    def _end(self, feed: str, n: int, tip: str | None) -> FeedEnd:
        return FeedEnd(name32(feed), n, id32(tip))

    def _tokens(self, said: Iterable[Any]) -> tuple[bytes, ...]:
        """Names for the model's statements, which production's fold then reads as statements."""
        found = []
        for x in said:
            token = name32(x.id)
            if token not in self._statements:
                self._statements[token] = statement(x, name32(self.world.person[x.dev]))
            found.append(token)
        return tuple(sorted(found))

    def _judge(self, statements: frozenset[bytes], identity: bytes) -> Said:
        if statements not in self._said:
            self._said[statements] = Said(self.world, (self._statements[token] for token in statements))
        return self._said[statements]

    def _op(self, op: Any, said: tuple[bytes, ...]) -> Op:
        match op:
            case ("create", kind, person, device, *_):
                of = SpaceKind.DIRECT if kind == "direct" else SpaceKind.GROUP
                return Create(of, kind, name32(person), name32(device), said, bytes(32))
            case ("add", person, feed, device, consent, *_):
                return Add(name32(person), name32(feed), name32(device), said, bytes(32), consented(consent))
            case ("admit", feed, device, consent, *_):
                return Admit(name32(feed), name32(device), said, bytes(32), consented(consent))
            case ("close", member, items, _):
                feeds = sorted(self._end(*item) for item in items)
                return Close(None if member is None else node_id(member), tuple(feeds))
            case ("admin", member):
                return Admin(bytes(32) if member is None else node_id(member))
            case ("set", key, value):
                return Set(key, value.encode())
            case ("epoch", roster, superseded):
                places = sorted(Rostered(name32(f), name32(d)) for f, d in roster)
                return Epoch(tuple(places), tuple(sorted(id32(n[0]) for n in superseded)), bytes(32))
            case ("revoke", device, *_):
                return Revoke(name32(device), said)
            case ("future", number, _):
                return Unknown(number, b"")
            case ("witness", feed, n, tip):
                return Witness(self._end(feed, n, tip))
            case ("succeed", old, device, *_):
                return Succeed(name32(old), name32(device), said, bytes(32), bytes(64))
        raise AssertionError(op)

    @staticmethod
    def _verify(space: bytes, entry: ControlEntry, op: Op) -> bool:
        match op:
            case Add():
                return op.consent[:33] == entry.writer + b"\1"
            case Admit():
                return op.consent[:33] == entry.writer + b"\2"
            case _:
                return True

    # -- both states in the same words --------------------------------------------------------------------------

    def expected(self, state: Any) -> dict[str, Any]:
        """The model's state."""
        counted = {(id32(i), k) for i, k in state.counted}
        return {
            "kind": state.kind == "direct",
            "creator": None if state.creator is None else node_id(state.creator),
            "members": {node_id(m): name32(person) for m, person in state.members.items()},
            "writers": {self.core(f): (node_id(m), name32(d), id32(a[0])) for f, (m, d, a) in state.writers.items()},
            "ends": {self.core(f): End(n, id32(tip)) for f, (n, tip) in state.ends.items() if f in state.writers},
            "admins": {node_id(m) for m in state.admins},
            "counted": counted,
            "closes": {(id32(i), k) for i, k in state.closes},
            "out": {name32(d) for d in state.revoked} & {name32(z[1]) for z in state.writers.values()},
            "roster": {Rostered(name32(f), name32(d)) for f, d in state.devices()},
            "successors": {self.core(new): self.core(old) for new, old in state.successor.items()},
        }

    def found(self, state: SpaceState) -> dict[str, Any]:
        """Production's."""
        return {
            "kind": state.kind == SpaceKind.DIRECT,
            "creator": state.creator,
            "members": {m.id: m.identity for m in state.members.values()},
            "writers": {core: (w.member, w.device, w.admitted) for core, w in state.writers.items()},
            "ends": dict(state.ends),
            "admins": set(state.admins),
            "counted": set(state.counted),
            "closes": set(state.closes),
            "out": set(state.out),
            "roster": set(state.roster),
            "successors": dict(state.successors),
        }

    def differences(self, model_state: Any, state: SpaceState) -> list[str]:
        want, got = self.expected(model_state), self.found(state)
        return [f"{key}: model {want[key]!r}, here {got[key]!r}" for key in want if want[key] != got[key]]


def statement(x: Any, person: bytes) -> Statement:
    """A statement of the model, unsigned: what production's device fold is given once signatures are checked."""
    by, stay = x.issuer if hasattr(x, "issuer") else x.by, tuple(sorted(name32(i) for i in x.stay))
    issuer, device = None if by == "R" else name32(by), name32(x.dev)
    if hasattr(x, "issuer"):
        return Certificate(name32(x.id), person, device, device, device, x.created, x.gen, issuer, stay)
    return Revocation(name32(x.id), person, device, x.created, x.gen, issuer, stay)


def consented(consent: Any) -> bytes:
    """64 bytes that say for whom and what, or nothing."""
    if not consent:
        return bytes(64)
    return (name32(consent[0]) + (b"\1" if consent[1] == "add" else b"\2")).ljust(64, b"\0")


def usable_of(state: SpaceState, core: bytes) -> list[bytes]:
    return sorted(epoch.id for epoch in fitting_epochs(state, core))


def state_at(graph: ControlGraph, ids: Iterable[bytes]) -> SpaceState:
    """The state of some complete entries, closed under parents, in a graph that holds more."""
    rows = graph._history.rows
    scope = 0
    for i in ids:
        scope |= rows[i].mask
    return state_of(graph._history, graph._folder, graph._context, scope)
