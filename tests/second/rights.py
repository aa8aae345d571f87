"""Who may make which operation: the table of section 11 of docs/protocol.md, "Rights"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.second.control import (
    DIRECT,
    GROUP,
    Add,
    Admin,
    Admit,
    Close,
    Create,
    Epoch,
    Newcomer,
    Revoke,
    Set,
    Slots,
    Succeed,
    Witness,
    consents,
    succeeds,
)
from tests.second.device_set import fold_devices
from tests.second.graph import Act
from tests.second.record import space_id
from tests.second.rules import Rules
from tests.second.sparing import Sparing
from tests.second.state import ADMINISTRATOR, CREATOR, Member, State
from tests.second.statement import Statement, readable

DEVICES = 6
MEMBERS = 50


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights in one space: its kind, its `create` by (block hash, place), and what is good by itself."""

    kind: int
    creator: tuple[bytes, int] | None
    signed: frozenset[int]
    rules: Rules

    def held(self, act: Act, past: State, sparing: Sparing) -> bool:
        """Whether an operation had the right in the state of what counts of its own past."""
        if act.bit not in self.signed or (self.rules.own_past and not act.whole):
            return False
        op = act.op
        if isinstance(op, Create):
            return act.id == self.creator
        if isinstance(op, Succeed):
            return self._may_succeed(op, act, past, sparing)
        author = past.member_of(act.author)
        return author is not None and past.open(act.author) and self._may(act, author, past)

    def _may(self, act: Act, author: Member, past: State) -> bool:
        op = act.op
        match op:
            case Add():
                return op.writer not in past.writers and self._may_add(op, author, past)
            case Admit():
                fresh = op.writer not in past.writers and self._stands(op.newcomer, author.identity, past)
                return fresh and len(past.served(author.id)) < DEVICES
            case Close():
                target = past.members.get(op.member) if op.member else author
                if target is None:
                    return False
                return target.id == author.id or (self.kind == GROUP and target.rank > author.rank)
            case Admin():
                return self.kind == GROUP and author.rank == CREATOR and op.member in past.members
            case Set():
                return self.kind != GROUP or author.rank in (CREATOR, ADMINISTRATOR)
            case Epoch():
                return any(writer == act.author for writer, _ in op.roster)
            case Revoke():
                return shows_out(op, past)
            case _:
                return isinstance(op, Witness | Slots)

    def _may_add(self, op: Add, author: Member, past: State) -> bool:
        if self.kind not in (DIRECT, GROUP) or not self._stands(op.newcomer, op.identity, past):
            return False
        if self.kind == GROUP:
            inside = [name for name in past.members if past.open_writers(name)]
            return author.rank in (CREATOR, ADMINISTRATOR) and len(inside) < MEMBERS
        if len(past.members) == 1:
            return author.rank == CREATOR
        same = [member.id for member in past.members.values() if member.identity == op.identity]
        return bool(same) and op.identity != author.identity and not any(map(past.served, same))

    def _may_succeed(self, op: Succeed, act: Act, past: State, sparing: Sparing) -> bool:
        old = past.member_of(op.old)
        if act.entry.seq != 0 or act.author in past.writers or old is None:
            return False
        return self._stands(op.newcomer, old.identity, past) and not sparing.bars(op, act, past)

    def _stands(self, newcomer: Newcomer, identity: bytes, past: State) -> bool:
        """Own statements alone, and again with what is said in the past, show the device as standing."""
        own = read(newcomer.statements)
        alone = fold_devices(own, identity).stands(newcomer.device)
        beside = past.devices(identity, own).stands(newcomer.device)
        return (alone and beside) or not self.rules.standing_newcomers


def shows_out(op: Revoke, past: State) -> bool:
    """The statements, with those said in the past, show the device as out.

    For an identity of which the operation carries a statement, or whose feed the device writes.
    """
    own = read(op.statements)
    identities = {one.identity for one in own}
    identities |= {past.members[w.member].identity for w in past.writers.values() if w.device == op.device}
    return any(past.devices(identity, own).out(op.device) for identity in identities)


def good_by_itself(space: bytes, act: Act) -> bool:
    """Whether the consent of an `add` or `admit`, or the signature of a `succeed`, is good."""
    match act.op:
        case Add() | Admit():
            return consents(space, act.entry.core, act.op)
        case Succeed():
            return succeeds(space, act.entry.core, act.entry.body, act.op)
        case _:
            return True


def founds(space: bytes, act: Act) -> bool:
    """Whether an operation is a `create` of this space: seq 0, no parents, and the feed that the id names."""
    entry = act.entry
    return isinstance(act.op, Create) and entry.seq == 0 and not entry.body.parents and space_id(entry.core) == space


def read(statements: Iterable[bytes]) -> list[Statement]:
    """The statements that are any."""
    return [one for one in map(readable, statements) if one is not None]
