"""Corners that random histories seldom reach, written by hand and folded by both sides."""

from __future__ import annotations

from crdt.space.control import Admin, Close, Set, SpaceKind
from crdt.space.moves import close_own
from tests.second.comparison import compare_world
from tests.second.random_space import Person, RandomSpace, Seat


def group() -> tuple[RandomSpace, Seat]:
    """A group with its creator alone."""
    world = RandomSpace(1, SpaceKind.GROUP)
    return world, world.first


def joined(world: RandomSpace, by: Seat, name: str) -> Seat:
    """Another person, let in by a seat."""
    person = world.people.setdefault(name, Person(world, name))
    seat = Seat(world, person, person.devices[0], True)
    world.bring(by, seat)
    return seat


def test_six_places_of_a_member_go_to_those_that_came_first() -> None:
    world, first = group()
    second = world.let_in(first)
    world.give(second, first)
    for elder in (first, second):
        for _ in range(4):
            world.let_in(elder)
    world.settle()
    assert len(first.state.writers) == 10 and len(first.state.roster) == 6
    assert compare_world(world) == []


def test_a_feed_that_two_bring_in_belongs_to_the_lowest_hash() -> None:
    for turn in range(6):
        world, first = group()
        other = joined(world, first, "a")
        first.write(Admin(first.state.writers[other.core].member))
        world.settle()
        for _ in range(turn):
            other.write(Set("colour", b"x"))
        person = world.people.setdefault("b", Person(world, "b"))
        twice = Seat(world, person, person.devices[0], True)
        first.write(first.add_op(twice))
        other.write(other.add_op(twice))
        world.give(first, twice)
        twice.enter()
        third = world.let_in(twice)
        world.give(other, third)
        third.write(*close_own(third.graph, [twice.core], {}))
        world.settle()
        assert compare_world(world) == [], turn


def test_two_feeds_that_bring_each_other_in_are_folded_alike() -> None:
    """Each has two consents, and each uses the other's: their members hang on each other."""
    for turn in range(8):
        world, first = group()
        for _ in range(turn):
            first.write(Set("colour", bytes([turn])))
        person = world.people.setdefault("b", Person(world, "b"))
        one, two = (Seat(world, person, person.devices[0], False) for _ in range(2))
        second = world.let_in(first)
        first.write(first.add_op(one))
        second.write(second.add_op(two))
        world.give(first, one)
        world.give(second, two)
        one.write(one.admit_op(two))
        two.write(two.admit_op(one))
        world.settle()
        assert compare_world(world) == [], turn


def test_a_title_is_that_of_create_until_it_is_set() -> None:
    world, first = group()
    assert compare_world(world) == [] and first.state.title == "walks"
    first.write(Set("title", b"rides"))
    assert compare_world(world) == [] and first.state.title == "rides"
    first.write(Set("title", b"\xff"))
    assert compare_world(world) == []


def test_a_removal_that_names_nothing_ends_all_feeds_at_zero() -> None:
    world, first = group()
    other = joined(world, first, "a")
    member = first.state.writers[other.core].member
    succeeding = Seat(world, other.person, other.device, True)
    world.give(first, succeeding)
    first.write(Close(member, ()))
    succeeding.act(*(op for op in succeeding.succeed_ops(other) if not isinstance(op, Close)))
    world.settle()
    assert compare_world(world) == []


def test_fifty_places_of_a_group_go_to_the_creator_and_those_that_came_first() -> None:
    """Two who add apart do not see each other's newcomers: 56 are in, 50 have places."""
    world, first = group()
    other = joined(world, first, "a")
    first.write(Admin(first.state.writers[other.core].member))
    world.settle()
    for number in range(54):
        by = first if number % 2 else other
        person = Person(world, f"p{number}")
        by.write(by.add_op(Seat(world, person, person.devices[0], True)))
    world.settle()
    assert len(first.state.writers) == 56 and len(first.state.roster) == 50
    assert compare_world(world) == []
