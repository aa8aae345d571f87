"""Rules: whether an operation has the right to count, by the state of its own past (`docs/protocol.md` 11, "Rights").

One function an operation.  Rights follow admission, never a claimed identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from crdt.space.control import (
    MAX_DEVICES,
    MAX_MEMBERS,
    Add,
    Admin,
    Admit,
    Close,
    Create,
    Epoch,
    Op,
    Revoke,
    Set,
    Slots,
    SpaceKind,
    Succeed,
    Unknown,
    Witness,
)
from crdt.space.ends import FeedEnds
from crdt.space.history import Placed
from crdt.space.rendezvous import space_id
from crdt.space.standing import Judge, judge
from crdt.space.view import ADMIN, CREATOR, View
from identity.statement import identity_of


@dataclass(frozen=True, slots=True)
class Limits:
    """Members with an open writer, and open writers of one member that get keys."""

    members: int = MAX_MEMBERS
    devices: int = MAX_DEVICES


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What rules need besides the state of the past: the space, the ends of feeds, the limits, who stands."""

    space: bytes
    ends: FeedEnds
    limits: Limits = Limits()
    judge: Judge = judge

    def out(self, view: View, core: bytes) -> bool:
        """Whether the device of a writer is out: a `revoke` names it, and all statements together show it."""
        device = view.admitted[core].device
        return any(cast(Revoke, r.op).device == device for r in view.revokes) and self.gone(view, core)

    def gone(self, view: View, core: bytes) -> bool:
        """Whether all statements together show the device of a writer as out, told or not."""
        admission = view.admitted[core]
        identity = view.identity(admission.member)
        return identity is not None and self.judge(view.said, identity).out(admission.device)

    def live(self, view: View, member: int) -> list[bytes]:
        """The member's open writers whose devices are not out."""
        return [core for core in view.feeds_of(member) if view.open(core) and not self.out(view, core)]

    def shows(self, view: View, op: Add | Admit | Succeed, identity: bytes | None) -> bool:
        """Whether an admission shows its device as one of the identity: by itself, and beside what its past says."""
        if identity is None:
            return False
        own = frozenset(op.statements)
        return all(self.judge(said, identity).stands(op.device) for said in (own, own | view.said))

    def spares(self, close: Placed, old: bytes, op: Succeed, said: frozenset[bytes], identity: bytes | None) -> bool:
        """Whether a close of `old` leaves this succession of it in place: an own one that followed the word that the
        old device is out, while all statements show the new one as standing."""
        if identity is None or old not in self.ends.verdicts[close.index].out:
            return False
        return not self.judge(said | frozenset(op.statements), identity).out(op.device)


def may(context: RuleContext, view: View, placed: Placed) -> bool:
    """Whether `placed` has the right to count; `view`: what counts of its past."""
    entry = placed.row.entry
    match placed.op:
        case Create():
            return entry.seq == 0 and not entry.parents and space_id(entry.core) == context.space
        case Succeed() as op:
            return entry.seq == 0 and _may_succeed(context, view, placed, op)
        case op:
            return view.open(placed.core) and RIGHTS[type(op)](context, view, placed.core, op)


def _may_succeed(context: RuleContext, view: View, placed: Placed, op: Succeed) -> bool:
    """The old feed was never closed by anybody but a successor of it, as far as the successor knew, unless its owner
    closed it because that device is out, and keeps the new one."""
    member = view.member_of(op.core)
    identity = view.identity(member)
    if placed.core in view.admitted or member is None or not context.shows(view, op, identity):
        return False
    return not any(
        op.core in context.ends.verdicts[close.index].named
        and view.successor.get(close.core) != op.core
        and not context.spares(close, op.core, op, view.said, identity)
        for close in view.closes.get(member, ())
    )


def _may_add(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    op = cast(Add, op)
    me = view.member_of(core)
    if view.member_of(op.core) is not None or not context.shows(view, op, op.identity):
        return False
    if view.kind == SpaceKind.GROUP:
        return view.rank(me) <= ADMIN and not _full(context, view)
    if view.kind != SpaceKind.DIRECT:
        return False
    if view.rank(me) == CREATOR and len(view.members) < 2:
        return True
    # A direct space has two identities for ever.  One that lost its last writer is let in again by the other.
    theirs = [member for member, identity in view.members.items() if identity == op.identity]
    return bool(theirs) and me not in theirs and not any(context.live(view, member) for member in theirs)


def _full(context: RuleContext, view: View) -> bool:
    if len(view.members) < context.limits.members:
        return False
    return sum(any(map(view.open, view.feeds_of(member))) for member in view.members) >= context.limits.members


def _may_admit(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    op = cast(Admit, op)
    me = view.member_of(core)
    if view.member_of(op.core) is not None or not context.shows(view, op, view.identity(me)):
        return False
    if me is None or len(view.admitted) < context.limits.devices:
        return me is not None
    return len(context.live(view, me)) < context.limits.devices


def _may_close(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    me = view.member_of(core)
    named = cast(Close, op).member
    target = me if named is None else view.history.members.get(named)
    if target == me:
        return True
    return view.kind == SpaceKind.GROUP and target in view.members and view.rank(me) < view.rank(target)


def _may_appoint(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    target = view.history.members.get(cast(Admin, op).member)
    return view.kind == SpaceKind.GROUP and view.rank(view.member_of(core)) == CREATOR and target in view.members


def _may_set(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    return view.kind != SpaceKind.GROUP or view.rank(view.member_of(core)) <= ADMIN


def _may_open_epoch(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    """An epoch whose roster lacks the writer that opened it does not count: nobody opens one and reads on outside."""
    writer = view.admitted[core].writer
    return any(place.writer == writer for place in cast(Epoch, op).roster)


def _may_revoke(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    """Its statements and those of its past show the device as out, for an identity that certified it among them."""
    op = cast(Revoke, op)
    said = view.said | frozenset(op.statements)
    claimed = {view.identity(a.member) for a in view.admitted.values() if a.device == op.device}
    claimed |= {identity_of(data) for data in op.statements}
    return any(identity is not None and context.judge(said, identity).out(op.device) for identity in claimed)


def _always(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    return True


def _never(context: RuleContext, view: View, core: bytes, op: Op) -> bool:
    return False


RIGHTS: Mapping[type, Callable[[RuleContext, View, bytes, Op], bool]] = {
    Add: _may_add,  # creator and admins; direct spaces: the other side, locked out
    Admit: _may_admit,  # every member, its own devices
    Close: _may_close,  # every member, its own devices; a lower rank, a higher one
    Admin: _may_appoint,  # the creator
    Set: _may_set,  # creator and admins; anybody where nobody moderates
    Epoch: _may_open_epoch,  # everybody in its roster
    Revoke: _may_revoke,
    Witness: _always,
    Slots: _always,
    Unknown: _never,
}
