"""What control entries cost whoever takes them in: counted in comparisons and operations looked at, not in seconds."""

from __future__ import annotations

import random

import pytest

from crdt.space import answers
from crdt.space.control import Admin, ControlEntry, Epoch, FeedEnd, Op, Parent, Set, Witness
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End
from crdt.space.membership import SpaceState
from tests.unit.space.circle import Circle, Seat, name32

ENTRIES = 2000


class Counting:
    """One branch of each feed, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def proved(self, core: bytes, end: End) -> bool:
        return True

    def agree(self, core: bytes, a: End, b: End) -> bool:
        self.asked += 1
        return True


def filled(circle: Circle) -> tuple[ControlGraph, Counting]:
    """A graph of all that was written in a circle."""
    lineage = Counting()
    graph = ControlGraph(circle.space, lineage, verify=circle._verify, judge=circle._judge)
    for entry in circle["c1"].held.values():
        if entry.control is not None:
            graph.add(entry.control)
    graph.state()
    return graph, lineage


def entry(seat: Seat, seq: int, parents: tuple[Parent, ...], *ops: Op) -> ControlEntry:
    id_ = name32("entry", seat.name, seq)
    return ControlEntry(id_, seat.writer, seq, id_, (seq + 1000) << 16, parents, ops)


def first_free(graph: ControlGraph, seat: Seat) -> int:
    return graph.reach(seat.core).length


def looks(graph: ControlGraph) -> int:
    return graph._folder.looks


def whole_fold(graph: ControlGraph) -> SpaceState:
    again = ControlGraph(graph.space, Counting(), verify=graph._verify, judge=graph._context.judge)
    for one in graph.entries():
        again.add(one)
    return again.state()


@pytest.mark.parametrize("members", [3, 12])
def test_each_of_two_thousand_honest_entries_costs_as_much_as_the_first(members: int) -> None:
    """Epochs, settings and witnesses by everybody in turn, with the state asked after each."""
    circle = Circle(dict.fromkeys("cabdefghijkl"[:members], 2), admins="a")
    graph, lineage = filled(circle)
    rng, seats = random.Random(1), list(circle.seats.values())
    seqs = {seat.name: first_free(graph, seat) for seat in seats}
    before = looks(graph), lineage.asked
    for number in range(ENTRIES):
        seat, state = rng.choice(seats), graph.state()
        over = tuple(sorted(epoch.id for epoch in state.epochs.values() if not epoch.superseded))
        ops: tuple[Op, ...] = (
            Epoch(state.roster, over, bytes(32)),
            Set("title", b"%d" % number),
            Witness(FeedEnd(seat.writer, 1, bytes(32))),
        )
        op = rng.choice(ops)
        graph.add(entry(seat, seqs[seat.name], graph.tips(seat.core), op))
        seqs[seat.name] += 1
    assert looks(graph) - before[0] <= 2 * ENTRIES and lineage.asked - before[1] <= 4 * ENTRIES
    assert graph.state() == whole_fold(graph)


def test_two_thousand_void_entries_of_a_member_cost_in_proportion_and_wait_beyond_a_bound() -> None:
    """Each leaves out those before it, so none counts and all are tips (attack: a control flood)."""
    circle = Circle({"c": 1, "m": 1, "b": 1})
    graph, lineage = filled(circle)
    seat, before = circle["m1"], (looks(graph), lineage.asked, len(graph), graph.state())
    start = first_free(graph, seat)
    for number in range(ENTRIES):
        graph.add(entry(seat, start + number, (), Witness(FeedEnd(seat.writer, 1, bytes(32)))))
        graph.state()
    assert looks(graph) - before[0] <= 2 * ENTRIES and lineage.asked - before[1] <= 4 * ENTRIES
    assert len(graph) - before[2] <= answers.MAX_UNANSWERED
    assert graph.state() == before[3]


def flood(graph: ControlGraph, seat: Seat, count: int) -> list[ControlEntry]:
    """Entries of one feed, each naming the one before: an honest shape."""
    made, parents = [], graph.tips(seat.core)
    for number in range(count):
        made.append(entry(seat, first_free(graph, seat) + number, parents, Witness(FeedEnd(seat.writer, 1, bytes(32)))))
        parents = (made[-1].parent,)
    return made


def test_entries_beyond_the_bound_are_taken_once_an_admin_has_answered() -> None:
    circle = Circle({"c": 1, "a": 1, "m": 1, "b": 1}, admins="a")
    graph, _ = filled(circle)
    m, a, b = circle.seated("m1", "a1", "b1")
    size, room = len(graph), answers.MAX_UNANSWERED
    made = flood(graph, m, room + 700)
    for one in made:
        graph.add(one)
    assert len(graph) == size + room and not graph.missing()
    graph.add(entry(b, first_free(graph, b), graph.tips(), Set("k", b"no answer")))
    assert len(graph) == size + room + 1
    graph.add(entry(a, first_free(graph, a), graph.tips(), Set("k", b"seen")))
    assert len(graph) == size + room + 2 + 700


def test_entry_that_somebody_else_names_is_taken_on_the_account_of_whoever_names_it() -> None:
    """Two who work together bring in what both may add, and no more; everybody can take what an honest one names."""
    circle = Circle({"c": 1, "m": 1, "b": 1})
    graph, _ = filled(circle)
    m, b = circle.seated("m1", "b1")
    size = len(graph)
    made = []
    for number in range(3 * answers.MAX_UNANSWERED):
        made.append(entry(m, first_free(graph, m) + number, (), Witness(FeedEnd(m.writer, 1, bytes(32)))))
    for one in made[:1900]:
        graph.add(one)
    taken = len(graph) - size
    assert taken <= answers.MAX_UNANSWERED
    named = [one.parent for one in made[:1900] if graph.entry(one.id) is None]
    at, parents = first_free(graph, b), graph.tips(b.core)
    for number in range(8):
        some = named[150 * number : 150 * (number + 1)]
        parents = tuple(sorted({*(p for p in parents if p.core == b.core), *some}))
        graph.add(entry(b, at + number, parents, Set("k", b"more")))
        if graph.entry(name32("entry", b.name, at + number)) is not None:
            parents = (entry(b, at + number, parents, Set("k", b"more")).parent,)
    assert taken < len(graph) - size <= 2 * answers.MAX_UNANSWERED


def test_creator_and_admins_are_not_bounded() -> None:
    circle = Circle({"c": 1, "a": 1, "m": 1}, admins="a")
    graph, _ = filled(circle)
    for name in ("c1", "a1"):
        size = len(graph)
        for one in flood(graph, circle[name], answers.MAX_UNANSWERED + 100):
            graph.add(one)
        assert len(graph) == size + answers.MAX_UNANSWERED + 100


def test_appointment_changes_nothing_of_what_it_costs() -> None:
    """Structural operations that come last follow from the state before as well."""
    circle = Circle({"c": 1, "m": 1, "b": 1})
    graph, _ = filled(circle)
    c = circle["c1"]
    for number in range(300):
        before = looks(graph)
        member = graph.state().writers[circle["m1" if number % 2 else "b1"].core].member
        graph.add(entry(c, first_free(graph, c), graph.tips(), Admin(member)))
        graph.state()
        assert looks(graph) - before <= 2
    assert graph.state() == whole_fold(graph)
