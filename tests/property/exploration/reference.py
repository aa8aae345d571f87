"""States of an exploration held against the executable model of the text (`tests/property/membership/reference.py`)."""

from __future__ import annotations

from typing import Any

from crdt.space.control import (
    Add,
    Admin,
    Admit,
    Close,
    ControlEntry,
    Create,
    Epoch,
    Op,
    Revoke,
    Rostered,
    SpaceKind,
    Succeed,
)
from crdt.space.lineage import End
from crdt.space.membership import SpaceState
from identity.statement import Certificate, Statement
from tests.property.exploration.explore import Done
from tests.property.exploration.past import Past
from tests.property.membership.reference import load_model

REMEMBERED = 20_000  # states of the model


class Model:
    """The model's world with what was written; names stay what they are in the past, ids are hexadecimal."""

    def __init__(self, past: Past) -> None:
        self.past, self.model = past, load_model()
        self.world: Any = self.model.World()
        self.folder: Any = self.model.Folder(self.world, self.model.FIXED)
        self.device: dict[bytes, str] = {}
        self.feed: dict[bytes, str] = {}
        self._name()
        self.base = [control for id_ in past.base if (control := past.entries[id_].control) is not None]
        for entry in self.base:
            self._put(entry)

    def _name(self) -> None:
        for name, seat in self.past.seats.items():
            self.device[seat.device], self.feed[seat.writer] = name, name
            self.world.person[name], self.world.owner[name], self.world.device[name] = name[0], name[0], name

    def check(self, past: Past, history: tuple[Done, ...], state: SpaceState) -> list[str]:
        """In what the model and production differ."""
        assert past is self.past
        for done in history:
            self._put(done.entry)
        ids = [entry.id.hex() for entry in [*self.base, *(done.entry for done in history)]]
        if len(self.folder.memo) + len(self.folder.smemo) > REMEMBERED:
            self.folder = self.model.Folder(self.world, self.model.FIXED)
        found = self.folder.fold(self.world.nodes(ids))
        want, got = self._expected(found), shown(state)
        return [f"{key}: model {want[key]!r}, here {got[key]!r}" for key in want if want[key] != got[key]]

    def _put(self, entry: ControlEntry) -> None:
        id_ = entry.id.hex()
        if id_ in self.world.e:
            return
        before = self.past.entries[entry.id].prev
        self.world.e[id_] = self.model.Entry(
            id_,
            self.feed[entry.writer],
            entry.seq,
            None if before is None else before.hex(),
            "control",
            frozenset(parent.hash.hex() for parent in entry.parents),
            tuple(self._op(entry, op) for op in entry.ops),
        )

    def _op(self, entry: ControlEntry, op: Op) -> tuple[Any, ...]:
        author = self.feed[entry.writer]
        match op:
            case Create():
                kind = "direct" if op.kind is SpaceKind.DIRECT else "group"
                return "create", kind, author[0], self.device[op.device], self._said(op.statements)
            case Add():
                said, name = self._said(op.statements), self.feed[op.writer]
                return "add", name[0], name, self.device[op.device], (author, "add"), said
            case Admit():
                said, name = self._said(op.statements), self.feed[op.writer]
                return "admit", name, self.device[op.device], (author, "admit"), said
            case Succeed():
                said, name = self._said(op.statements), self.past.name_of[op.core]
                return "succeed", name, self.device[op.device], frozenset(), said
            case Close():
                items = tuple((self.feed[f.writer], f.length, f.root.hex() if f.length else None) for f in op.feeds)
                return "close", None if op.member is None else (op.member.hex(), 0), items, False
            case Admin():
                return "admin", (op.member.hex(), 0)
            case Revoke():
                return "revoke", self.device[op.device], self._said(op.statements)
            case Epoch():
                roster = frozenset((self.feed[place.writer], self.device[place.device]) for place in op.roster)
                return "epoch", roster, tuple(self._epoch(id_) for id_ in op.superseded)
        raise AssertionError(op)

    def _epoch(self, id_: bytes) -> tuple[str, int]:
        control = self.past.entries[id_].control
        assert control is not None
        return id_.hex(), next(place for place, op in enumerate(control.ops) if isinstance(op, Epoch))

    def _said(self, tokens: tuple[bytes, ...]) -> frozenset[Any]:
        return frozenset(self._statement(self.past.statements[token]) for token in tokens)

    def _statement(self, given: Statement) -> Any:
        by = "R" if given.issuer is None else self.device[given.issuer]
        stay = frozenset(kept.hex() for kept in given.stay)
        name, id_ = self.device[given.device], given.id.hex()
        if isinstance(given, Certificate):
            return self.model.Cert(id_, name, by, given.created, given.generation, stay)
        return self.model.Rev(id_, name, by, stay, given.created, given.generation)

    def _expected(self, state: Any) -> dict[str, Any]:
        seats = self.past.seats
        core = {name: seat.core for name, seat in seats.items()}
        return {
            "kind": state.kind,
            "creator": node(state.creator),
            "members": {node(member): self.past.root(person) for member, person in state.members.items()},
            "writers": {core[f]: (node(m), seats[d].device, node(a)) for f, (m, d, a) in state.writers.items()},
            "ends": {core[f]: end(n, tip) for f, (n, tip) in state.ends.items() if f in state.writers},
            "admins": {node(member) for member in state.admins},
            "counted": {(bytes.fromhex(i), place) for i, place in state.counted},
            "closes": {(bytes.fromhex(i), place) for i, place in state.closes},
            "out": {seats[d].device for d in state.revoked} & {seats[z[1]].device for z in state.writers.values()},
            "roster": {Rostered(seats[f].writer, seats[d].device) for f, d in state.devices()},
            "successors": {core[new]: core[old] for new, old in state.successor.items()},
            "people": {self.past.root(person) for person in state.listed()},
        }


def shown(state: SpaceState) -> dict[str, Any]:
    """Production's, in the same words."""
    person = {member.id: member.identity for member in state.members.values()}
    return {
        "kind": "direct" if state.kind is SpaceKind.DIRECT else "group",
        "creator": state.creator,
        "members": person,
        "writers": {core: (w.member, w.device, w.admitted) for core, w in state.writers.items()},
        "ends": dict(state.ends),
        "admins": set(state.admins),
        "counted": set(state.counted),
        "closes": set(state.closes),
        "out": set(state.out),
        "roster": set(state.roster),
        "successors": dict(state.successors),
        "people": set(state.people()),
    }


def node(member: tuple[str, int] | None) -> bytes | None:
    return None if member is None else bytes.fromhex(member[0])


def end(length: int, tip: str | None) -> End:
    return End(length, bytes(32) if tip is None else bytes.fromhex(tip))
