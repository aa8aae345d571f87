"""Restart: whether members go along by themselves when somebody moves a group into a new one (`docs/protocol.md`,
"Restart").

A group whose creator lost every device keeps an open writer of rank 0 that nobody may close.  Decided from the old
group's state alone, and from which devices are out by all statements that are known here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from crdt.log.head import valid_writer
from crdt.log.manifest import core_key
from crdt.space.graph import ControlGraph
from crdt.space.membership import Member, SpaceState
from crdt.space.rendezvous import space_id
from crdt.space.view import ADMIN
from identity.keys import SigningKey, verify
from identity.labels import Label

IsOut = Callable[[bytes, bytes], bool]  # (identity, device id) -> whether that device is out


class Doubt(Enum):
    """Why people are asked before their devices go along."""

    NO_LOSS = "the creator's devices are not known to be lost"
    RANK = "a creator or an admin is there, and it is neither who restarts"
    LEFT_OUT = "somebody who is there is left out"


@dataclass(frozen=True, slots=True)
class Judgement:
    """counts: whether there is anything to answer at all; left_out: identities that stand and are left out."""

    counts: bool
    doubts: frozenset[Doubt] = frozenset()
    left_out: tuple[bytes, ...] = ()

    @property
    def joins(self) -> bool:
        """Whether a member's devices go along without asking."""
        return self.counts and not self.doubts


NOTHING = Judgement(False)


def judge(state: SpaceState, core: bytes, without: Iterable[bytes], is_out: IsOut) -> Judgement:
    """What a member makes of a restart that the feed `core` said in the old group.  without: identities left out."""
    author, creator = state.member(core), state.creator
    if author is None or creator is None or not _stands(state, core, is_out):
        return NOTHING
    doubts: set[Doubt] = set()
    seats = [w.core for w in state.writers.values() if w.member == creator and w.open]
    if not seats or any(_stands(state, seat, is_out) for seat in seats):
        doubts.add(Doubt.NO_LOSS)
    standing = people_there(state, is_out)
    if author.rank > ADMIN and any(member.rank <= ADMIN for member in standing.values()):
        doubts.add(Doubt.RANK)
    left_out = tuple(sorted(set(without) & standing.keys()))
    if left_out:
        doubts.add(Doubt.LEFT_OUT)
    return Judgement(True, frozenset(doubts), left_out)


def may_restart(state: SpaceState, core: bytes, is_out: IsOut) -> bool:
    """Whether others would go along with whoever writes `core`, as far as ranks say: the creator or an admin, anybody
    where none of them is there."""
    judged = judge(state, core, (), is_out)
    return judged.counts and Doubt.RANK not in judged.doubts


def people_there(state: SpaceState, is_out: IsOut) -> dict[bytes, Member]:
    """Identity -> the member with the highest rank of those that have an open writer whose device is not out."""
    there = {w.member for w in state.writers.values() if _stands(state, w.core, is_out)}
    found: dict[bytes, Member] = {}
    for member in sorted((state.members[id_] for id_ in there), key=lambda m: (m.rank, m.id)):
        found.setdefault(member.identity, member)
    return found


def meant(graph: ControlGraph, past: Collection[bytes], is_out: IsOut) -> Mapping[bytes, Member]:
    """Those of the people there whom a restart means: who came in, perhaps with a device that is lost now, before the
    tips that it names.  Nobody while some of the tips are not here."""
    if any(graph.entry(tip) is None for tip in past):
        return {}
    state = graph.state()
    open_ = state.people()

    def known(member: Member) -> bool:
        return any(member.id == tip or graph.precedes(member.id, tip) for tip in past)

    return {
        identity: member
        for identity, member in people_there(state, is_out).items()
        if any(known(one) for one in open_[identity])
    }


def _stands(state: SpaceState, core: bytes, is_out: IsOut) -> bool:
    writer = state.writers.get(core)
    if writer is None or not writer.open or writer.out:
        return False
    return not is_out(state.members[writer.member].identity, writer.device)


def restart_body(old: bytes, core: bytes, offer: bytes) -> bytes:
    """old space id | core key of the feed in the old group that says it | offer id."""
    return old + core + offer


def sign_restart(key: SigningKey, old: bytes, core: bytes, offer: bytes) -> bytes:
    """64 bytes by the W of the new group's creator: nobody else says that his group goes on from this one."""
    return key.sign(Label.RESTART, restart_body(old, core, offer))


def verify_restart(creator: bytes, space: bytes, old: bytes, core: bytes, offer: bytes, signature: bytes) -> bool:
    """Whether `creator` (W) founded `space`, and said that it goes on from `old` by the feed `core`."""
    if not valid_writer(creator) or space_id(core_key(creator)) != space:
        return False
    return verify(creator, Label.RESTART, restart_body(old, core, offer), signature)
