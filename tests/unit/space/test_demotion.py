"""What a person may read who was made a member again: all from the demotion on, and nothing from a removal on."""

from __future__ import annotations

from crdt.space.control import Set
from crdt.space.demotion import demote, epochs_missed, setting_of
from tests.unit.space.circle import Circle, Seat, name32


def made_member(seat: Seat, person: str) -> bytes:
    """Its entry is an epoch's as well."""
    return seat.act(*demote(seat.graph, name32(person), seat.frontiers())).id


def missed(seat: Seat, person: str) -> frozenset[bytes]:
    return epochs_missed(seat.graph, name32(person))


def test_epochs_from_a_demotion_on_are_theirs_and_those_from_a_removal_on_are_not() -> None:
    circle = Circle({"c": 1, "a": 1, "m": 1}, admins="a")
    c, m = circle.seated("c1", "m1")
    assert missed(c, "a") == frozenset()
    first = made_member(c, "a")
    circle.settle()
    second = m.act().id
    circle.settle()
    assert missed(c, "a") == missed(m, "a") == {first, second}
    c.lets_in(Seat(circle, "a2"))
    circle.settle()
    assert c.state.rank(circle["a2"].core) == 2 and not c.open("a1")
    removal = c.act(*c.removal("a")).id
    circle.settle()
    later = m.act().id
    circle.settle()
    assert {first, second} <= missed(m, "a") and not {removal, later} & missed(m, "a")
    assert missed(m, "m") == frozenset()


def test_removal_apart_from_a_demotion_keeps_what_follows_both_from_them() -> None:
    circle = Circle({"c": 2, "a": 1, "m": 1}, admins="a")
    c1, c2, m = circle.seated("c1", "c2", "m1")
    demotion = made_member(c1, "a")
    removal = c2.act(*c2.removal("a")).id
    circle.settle()
    after = m.act().id
    circle.settle()
    assert demotion in missed(m, "a") and not {removal, after} & missed(m, "a")


def test_a_setting_of_somebody_else_makes_no_demotion_of_a_removal() -> None:
    """An admin may set it; it stands beside no close of theirs then, or beside one that is theirs to make."""
    circle = Circle({"c": 1, "a": 1, "b": 1, "m": 1}, admins="ab")
    c, b, m = circle.seated("c1", "b1", "m1")
    gone = c.member("a")
    c.act(*c.removal("a"))
    circle.settle()
    b.do(Set(setting_of(gone), b""))
    m.do(Set(setting_of(gone), b""))
    circle.settle()
    assert missed(m, "a") == frozenset()
