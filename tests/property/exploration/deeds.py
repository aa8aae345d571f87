"""Deeds: what a device may do next in an exploration, honest or not, as the production moves write it.

A deed is done once.  What it writes follows from what its author knows then; a deed that the author's app would not
offer writes nothing, unless it is a lie, which is written whatever the rules say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from crdt.space import moves
from crdt.space.control import Admin, Close, FeedEnd, Op, Revoke, SpaceKind, Succeed
from crdt.space.graph import ControlGraph
from crdt.space.lineage import START
from identity.statement import Statement
from tests.property.exploration.past import Past
from tests.unit.space.circle import Seat, name32


class Wish(NamedTuple):
    """Operations, and whether an epoch belongs into the same entry."""

    ops: tuple[Op, ...]
    epoch: bool


class Knows(NamedTuple):
    """What the author of a deed knows: its graph, and the statements that it heard since the common past."""

    past: Past
    graph: ControlGraph
    seat: Seat
    told: tuple[Statement, ...]


Make = Callable[[Knows], Wish | None]


@dataclass(frozen=True)
class Deed:
    """author: name of the device that writes; tells: statements that are known with it; late: it is written even by
    somebody who knows that it is closed."""

    name: str
    author: str
    make: Make
    tells: tuple[Statement, ...] = ()
    late: bool = False


def wish(ops: Iterable[Op], epoch: bool = True) -> Wish | None:
    made = tuple(ops)
    return Wish(made, epoch) if made else None


# -- membership -----------------------------------------------------------------------------------------------------


def adds(past: Past, author: str, newcomer: str, *tells: Statement, lie: bool = False) -> Deed:
    """The newcomer answered with a writer that nobody has seen."""
    other = past.newcomer(newcomer)

    def make(knows: Knows) -> Wish | None:
        said = past.shows(newcomer, knows.told)
        op = knows.seat.add_op(other, said)
        return wish([op]) if said and (lie or knows.graph.can(knows.seat.core, op)) else None

    return Deed(f"{author} adds {newcomer}", author, make, tells)


def removes(past: Past, author: str, person: str, *, lie: bool = False) -> Deed:
    """lie: the member of the common past, though the author has no right to."""

    def make(knows: Knows) -> Wish | None:
        if lie:
            return wish(moves.remove(knows.graph, past.first[person], {}))
        return wish(moves.remove_person(knows.graph, knows.seat.core, name32(person), {}))

    return Deed(f"{author} removes {person}", author, make)


def removes_in_part(past: Past, author: str, device: str) -> Deed:
    """A removal that names one feed of the member and leaves out the others."""
    seat, member = past[device], past.first[device[0]]

    def make(knows: Knows) -> Wish | None:
        end = FeedEnd(seat.writer, *knows.graph.reach(seat.core))
        return wish([Close(member, (end,))])

    return Deed(f"{author} removes {device[0]} and names {device} alone", author, make)


def promotes(past: Past, author: str, person: str, *, lie: bool = False) -> Deed:
    op = Admin(past.first[person])

    def make(knows: Knows) -> Wish | None:
        return wish([op], epoch=False) if lie or knows.graph.can(knows.seat.core, op) else None

    return Deed(f"{author} promotes {person}", author, make)


def leaves(past: Past, author: str) -> Deed:
    def make(knows: Knows) -> Wish | None:
        return wish(moves.leave(knows.graph, knows.seat.core, {}), epoch=False)

    return Deed(f"{author} leaves", author, make)


def opens(past: Past, author: str) -> Deed:
    """An epoch, as after a week."""
    return Deed(f"{author} opens an epoch", author, lambda knows: Wish((), epoch=True))


# -- devices --------------------------------------------------------------------------------------------------------


def admits(past: Past, author: str, newcomer: str, *tells: Statement, lie: bool = False) -> Deed:
    """lie: with what was said of the newcomer before anybody heard that its certifier is out."""
    other = past.newcomer(newcomer)

    def make(knows: Knows) -> Wish | None:
        said = past.shows(newcomer, tells if lie else knows.told)
        op = replace(knows.seat.admit_op(other), statements=said)
        return wish([op]) if said and (lie or knows.graph.can(knows.seat.core, op)) else None

    return Deed(f"{author} admits {newcomer}{' on its own word' if lie else ''}", author, make, tells)


def closes(past: Past, author: str, device: str, *, late: bool = False) -> Deed:
    """A device of the author's own, without a word of any key.  late: even when the author's is closed."""

    def make(knows: Knows) -> Wish | None:
        core = past[device].core
        return wish(moves.close_own(knows.graph, [core], {})) if knows.graph.state().open(core) else None

    return Deed(f"{author} closes {device}", author, make, late=late)


def cuts(past: Past, author: str, device: str) -> Deed:
    """A thief names the end of a feed too short."""
    op = Close(None, (FeedEnd(past[device].writer, *START),))
    return Deed(
        f"{author} cuts {device} off at its beginning", author, lambda knows: Wish((op,), epoch=True), late=True
    )


def accuses(past: Past, author: str, device: str, said: tuple[bytes, ...]) -> Deed:
    """A `revoke` with statements that say nothing of that device."""
    op = Revoke(past[device].device, said)
    return Deed(f"{author} accuses {device}", author, lambda knows: Wish((op,), epoch=True), late=True)


def tells(past: Past, author: str, *lost: str, by: str, word: tuple[Statement, ...]) -> Deed:
    """Says in the space that devices are out, and closes those that are the author's own."""

    def make(knows: Knows) -> Wish | None:
        known = {past[name].device: said for name in lost if (said := past.shows_out(name, knows.told))}
        if past.shows_out(author, knows.told) or not known:
            return None
        owed = moves.obligations(knows.graph, knows.seat.core, lost=known)
        return wish(owed) if any(isinstance(op, Revoke) for op in owed) else None

    return Deed(f"{author} tells that {by} put {' and '.join(lost)} out", author, make, word)


def revokes(past: Past, author: str, device: str) -> Deed:
    word = past.revocation(device, author)
    return tells(past, author, device, by=author, word=(word,))


def succeeds(past: Past, new: str, old: str, *, lie: bool = False) -> Deed:
    """A clone or a restored store: the old device certifies the new one and revokes itself.  lie: as in `admits`."""
    seat, before = past.newcomer(new), past[old]
    certificate = past.certificate(new, old)
    word = (certificate, past.revocation(old, old, [certificate.id]))

    def make(knows: Knows) -> Wish | None:
        said, state = past.shows(new, word if lie else knows.told), knows.graph.state()
        if not said or not (lie or state.open(before.core)):
            return None
        succession = Succeed(before.writer, seat.device, said, bytes(32), bytes(64))
        end = FeedEnd(before.writer, *knows.graph.reach(before.core))
        return wish([succession, Close(None, (end,))])

    return Deed(f"{new} succeeds {old}{' on its own word' if lie else ''}", new, make, word)


# -- bounds ---------------------------------------------------------------------------------------------------------


class Bounds(NamedTuple):
    """One exploration: a common past, and all deeds that may follow it."""

    past: Past
    deeds: tuple[Deed, ...]


def people(most: bool = False) -> Bounds:
    """c creates; a and b are admins; m is a member; a device each.  most: lies and rarer deeds too."""
    past = Past({"c": 1, "a": 1, "b": 1, "m": 1}, admins="ab")
    x1, x2 = past.certificate("x1", None), past.certificate("x2", None)
    a9 = past.certificate("a9", None, generation=2)
    deeds = [
        removes(past, "c1", "a"),
        removes(past, "c1", "m"),
        promotes(past, "c1", "m"),
        tells(past, "c1", "a1", by="R", word=(a9,)),
        adds(past, "a1", "x1", x1),
        removes(past, "a1", "m"),
        removes(past, "a1", "b", lie=True),
        leaves(past, "a1"),
        succeeds(past, "a8", "a1"),
        removes(past, "b1", "m"),
        removes(past, "b1", "a", lie=True),
        adds(past, "b1", "a9", a9),
        opens(past, "b1"),
        leaves(past, "m1"),
        removes(past, "m1", "b", lie=True),
    ]
    if most:
        deeds += [
            adds(past, "b1", "x2", x2),
            removes(past, "c1", "b"),
            removes(past, "c1", "x"),
            removes(past, "m1", "a", lie=True),
            promotes(past, "a1", "m", lie=True),
            adds(past, "m1", "x3", past.certificate("x3", None), lie=True),
            admits(past, "a1", "a2", past.certificate("a2", "a1")),
            admits(past, "x1", "x4", x1, past.certificate("x4", "x1")),
            removes(past, "a8", "m"),
            succeeds(past, "m8", "m1"),
            tells(past, "m1", "a1", by="R", word=(a9,)),
            opens(past, "m1"),
        ]
    return Bounds(past, tuple(deeds))


def devices(most: bool = False) -> Bounds:
    """c creates and a is an admin, two devices each."""
    past = Past({"c": 2, "a": 2}, admins="a")
    kept = past.certificate("a9", None, generation=2, keeps="a2")
    deeds = [
        revokes(past, "c1", "c2"),
        revokes(past, "c2", "c1"),
        removes(past, "c2", "a"),
        succeeds(past, "c8", "c1"),
        revokes(past, "a1", "a2"),
        revokes(past, "a2", "a1"),
        closes(past, "a1", "a2"),
        closes(past, "a2", "a1", late=True),
        succeeds(past, "a8", "a1"),
        admits(past, "a1", "a3", past.certificate("a3", "a1")),
        tells(past, "a2", "a1", by="R", word=(kept,)),
        tells(past, "c1", "a1", by="R", word=(kept,)),
        admits(past, "a2", "a9", kept),
        admits(past, "a1", "a5", past.certificate("a5", "a1"), lie=True),
        leaves(past, "a1"),
    ]
    if most:
        deeds += [
            adds(past, "a1", "x1", past.certificate("x1", None)),
            removes(past, "c1", "a"),
            closes(past, "c2", "c1"),
            admits(past, "c2", "c3", past.certificate("c3", "c2")),
            succeeds(past, "a7", "a2"),
            opens(past, "a2"),
            opens(past, "c1"),
            opens(past, "a8"),
            admits(past, "a8", "a4", past.certificate("a4", "a8")),
            cuts(past, "c2", "c1"),
            removes_in_part(past, "c2", "a1"),
            succeeds(past, "a6", "a1", lie=True),
            accuses(past, "a2", "c2", past.shows("a1", ())),
        ]
    return Bounds(past, tuple(deeds))


def pair(most: bool = False) -> Bounds:
    """A direct chat of a and b, two devices each: nobody moderates, who is locked out is let in by the other side."""
    past = Past({"a": 2, "b": 2}, SpaceKind.DIRECT)
    fresh = past.certificate("b9", None, generation=2)
    deeds = [
        revokes(past, "a1", "a2"),
        revokes(past, "a2", "a1"),
        removes(past, "a1", "b", lie=True),
        leaves(past, "b1"),
        succeeds(past, "b8", "b1"),
        revokes(past, "b2", "b1"),
        tells(past, "a1", "b1", "b2", by="R", word=(fresh,)),
        adds(past, "a1", "b9", fresh),
        adds(past, "a2", "b7", past.certificate("b7", "b1")),
        closes(past, "b1", "b2"),
        admits(past, "b2", "b3", past.certificate("b3", "b2")),
    ]
    if most:
        deeds += [
            opens(past, "a1"),
            tells(past, "a2", "b1", "b2", by="R", word=(fresh,)),
            adds(past, "b1", "x1", past.certificate("x1", None), lie=True),
            closes(past, "b2", "b1"),
            admits(past, "b9", "b4", past.certificate("b4", "b9", generation=2)),
            opens(past, "b9"),
        ]
    return Bounds(past, tuple(deeds))


BOUNDS: Mapping[str, Callable[[bool], Bounds]] = {"people": people, "devices": devices, "pair": pair}
