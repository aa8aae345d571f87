"""An admin made a member again, apart from everything else that may happen then: in the model, and in production.

Nobody's rank is ever lowered: the creator ends the membership and lets the person in as a new member.  So a demotion is
a removal with all its rules, and an addition that knows of it.
"""

from __future__ import annotations

import random
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from tests.property.membership.reference import Translation, load_model, name32
from tests.property.membership.watch import Watch, compare

APART = ("nothing", "appoints", "removes", "demotes", "appoints m")
FROM_BEFORE = ("nothing", "removes m", "adds x", "renames", "leaves", "removes b")
OTHER_ADMIN = ("nothing", "removes m", "adds y")
HEARD = ("late", "first")  # whether the creator hears of what was done apart before she lets the person in again


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_model()


def returns(world: dict[str, Any], model: ModuleType, by: Any, feed: str) -> None:
    """Lets a in with a new feed on the same device."""
    come = model.Replica(by.w, by.f, feed, "a", "Da1")
    by.act(("add", "a", feed, "Da1", (by.feed, "add")))
    come.receive(list(by.have))
    come.act()
    world[feed] = come


def played(model: ModuleType, apart: str, before: str, other: str, heard: str) -> tuple[Any, dict[str, Any]]:
    _, seats, members = model.group(model.FIXED, {"c": 2, "a": 1, "b": 1, "m": 1}, admins="ab")
    c1, c2, a, b = (seats[name] for name in ("c1", "c2", "a1", "b1"))
    old = a.tips()
    c1.remove_person("a")
    a.honest = False
    match apart:
        case "appoints":
            c2.do(("admin", members["a"]))
        case "appoints m":
            c2.do(("admin", members["m"]))
        case "removes":
            c2.remove_person("a")
        case "demotes":
            c2.remove_person("a")
            returns(seats, model, c2, "a8")
    match before:
        case "removes m":
            a.do(("close", members["m"], (a.frontier("m1"),), False), parents=old)
        case "removes b":
            a.do(("close", members["b"], (a.frontier("b1"),), False), parents=old)
        case "adds x":
            a.do(("add", "x", "x1", "Dx1", ("a1", "add")), parents=old)
        case "renames":
            a.do(("set", "title", "mine"), parents=old)
        case "leaves":
            a.do(("close", None, (a.frontier("a1"),), False), parents=old)
    match other:
        case "removes m":
            b.remove_person("m")
        case "adds y":
            b.act(("add", "y", "y1", "Dy1", ("b1", "add")))
    if heard == "first":
        model.settle([c1, c2, b, a])
    if heard == "late" or apart not in ("removes", "demotes"):  # else the offer is used up: decision 0205
        returns(seats, model, c1, "a9")
    model.settle(seats.values())
    return c1, seats


@pytest.mark.parametrize("heard", HEARD)
def test_demotion_beside_everything_else_leaves_nobody_with_more_than_they_are_given(
    model: ModuleType, monkeypatch: pytest.MonkeyPatch, heard: str
) -> None:
    watch, rng = Watch(model, monkeypatch), random.Random(1)
    for apart, before, other in product(APART, FROM_BEFORE, OTHER_ADMIN):
        if other != "nothing" and before not in ("nothing", "removes m"):
            continue
        case = f"{apart}, {before}, {other}, {heard}"
        watch.clear()
        creator, seats = played(model, apart, before, other, heard)
        state = creator.state()
        assert all(one.state().summary() == state.summary() for one in seats.values() if one.honest), case
        ranks = [
            state.rank(state.writers[feed][0]) for feed in ("a8", "a9") if feed in state.writers and state.open(feed)
        ]
        assert set(ranks) <= {2} and not state.open("a1"), case
        # An admin's removal of somebody whose appointment counts is dropped.
        assert state.open("m1") == (other != "removes m" or apart == "appoints m") and state.open("b1"), case
        assert not state.open("x1") and state.open("y1") == (other == "adds y"), case
        assert compare(watch, rng) > 0, case
        mine = Translation(creator.w)
        graph = mine.graph()
        for entry in mine.in_order(creator.control()):
            graph.add(mine.entry(entry))
        found = graph.state()
        back = {member.id for member in found.people().get(name32("a"), ())}
        # Removal wins: whoever is honest ends those again who came back without knowledge of a removal done apart.
        ends_again = apart == "demotes" or (apart == "removes" and heard == "late")
        assert back & found.unaware == (back if ends_again else set()), case
        assert bool(back) == (apart != "removes" or heard == "late"), case
        assert "title" not in found.settings or found.settings["title"] != b"mine", case


def test_promotion_that_knows_of_the_demotion_counts_again(model: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(model, monkeypatch)
    creator, seats = played(model, "nothing", "nothing", "nothing", "late")
    member = creator.state().writers["a9"][0]
    seats["c2"].do(("admin", member))
    model.settle(seats.values())
    assert creator.state().rank(member) == 1
    assert compare(watch, random.Random(1)) > 0
