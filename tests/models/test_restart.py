"""The restart of a group, attacked: in the model every order is tried, and each rule is taken away once.

The same cases are then asked of the production decision (`crdt.space.restart`).
"""

from __future__ import annotations

from itertools import combinations, permutations, product

import pytest

from crdt.space.membership import Member, SpaceState, Writer
from crdt.space.restart import judge as decide
from tests.models.restart import OLD, Group, Restart, Rules, Verdict, World, judge

HONEST = ("Bob", "Cleo", "Dan")
RULES = Rules()


def club(lost: bool = True, *, eve: int = 1, bob: int = 1, eve_first: bool = False) -> Group:
    """Ada made it; Eve, who means ill, came in last, or before all others."""
    ranks = {"Ada": 0, "Bob": bob, "Cleo": 2, "Dan": 2, "Eve": eve}
    if eve_first:
        ranks = {"Ada": 0, "Eve": eve, "Bob": bob, "Cleo": 2, "Dan": 2}
    return Group(ranks, frozenset({"Ada"}) if lost else frozenset())


def world(rules: Rules = RULES, group: Group | None = None) -> World:
    return World(rules, {OLD: group or club()}, hostile=frozenset({"Ada", "Eve"}))


def reached(made: World) -> bool:
    """Whether whatever an honest member writes is read by every honest member."""
    return all(other in made.inside[made.writes_in(who)] for who in HONEST for other in HONEST)


def test_everybody_goes_along_with_an_honest_restart_in_any_order() -> None:
    for order in permutations(HONEST):
        made = world()
        made.restart(Restart("new", "Bob"))
        made.settle(order)
        assert made.inside["new"] == set(HONEST) and reached(made)
        assert {made.writes_in(who) for who in HONEST} == {"new"}


def test_two_restarters_apart_come_together() -> None:
    for ids, order in product((("a", "b"), ("b", "a")), permutations(HONEST)):
        made = world(group=club(eve=2, bob=2))  # nobody of rank 0 or 1 stands: any member may
        made.restart(Restart(ids[0], "Bob"))
        made.restart(Restart(ids[1], "Cleo"))
        made.settle(order)
        assert reached(made) and len({made.writes_in(who) for who in HONEST}) == 1


def test_somebody_asleep_writes_in_the_old_group_and_then_in_the_new() -> None:
    made = world()
    made.restart(Restart("new", "Bob"))
    made.settle(["Bob", "Dan"])
    assert made.writes_in("Cleo") == OLD and made.writes_in("Dan") == "new"
    made.settle(["Cleo"])
    assert made.writes_in("Cleo") == "new" and reached(made)


def test_a_restart_is_restarted() -> None:
    for order in permutations(HONEST):
        made = world()
        made.restart(Restart("new", "Bob"))
        made.settle(["Dan"])
        made.lose("Bob")  # before Cleo heard of it: nobody lets her in there any more, but those who are in go on
        made.groups["new"] = Group({"Bob": 0, "Dan": 1, "Cleo": 2, "Eve": 2}, frozenset({"Ada", "Bob"}))
        made.restart(Restart("newer", "Dan", said_in="new", of="new"))
        made.settle(order)
        assert made.writes_in("Dan") == "newer"


def test_a_recovered_creator_comes_along_like_anybody() -> None:
    made = world()
    made.restart(Restart("new", "Bob"))
    made.settle(HONEST)
    made.recover("Ada")
    made.settle(["Ada again", *HONEST])
    assert "Ada again" in made.inside["new"] and "Ada" not in made.inside["new"]
    assert made.groups["new"].ranks["Ada again"] == 2


def test_a_thief_who_restarts_first_is_asked_about_and_his_late_restart_is_nothing() -> None:
    for leaves_out in (frozenset[str](), frozenset({"Cleo"})):
        early = world(group=club(lost=False))
        early.restart(Restart("thief's", "Ada", without=leaves_out))
        early.settle(HONEST)
        assert all(early.writes_in(who) == OLD for who in HONEST), "the creator's device stands: people are asked"
        early.lose("Ada")
        early.asked.clear()
        early.settle(HONEST)
        assert not any(early.asked.get(who) for who in HONEST) and early.writes_in("Bob") == OLD
        early.restart(Restart("new", "Bob"))
        early.settle(HONEST)
        assert reached(early) and early.writes_in("Cleo") == "new"


def test_an_insider_who_leaves_somebody_out_is_asked_about() -> None:
    made = world()
    made.restart(Restart("eve's", "Eve", without=frozenset({"Cleo"})))
    made.settle(HONEST)
    assert all(made.asked[who] == {"eve's"} and made.writes_in(who) == OLD for who in HONEST)


def test_an_insider_who_leaves_somebody_out_without_a_word_gains_nothing_beside_an_honest_restart() -> None:
    """However he chooses his id, however early he came in, and whoever hears of which first."""
    for ids, left, order, first in product(
        (("a", "b"), ("b", "a")), ({"Cleo"}, {"Bob"}, {"Bob", "Cleo"}), permutations(HONEST), (False, True)
    ):
        made = world(group=club(eve_first=first))
        made.restart(Restart(ids[0], "Eve", silent=frozenset(left)))
        made.restart(Restart(ids[1], "Bob"))
        made.settle(order)
        assert reached(made)


def test_a_member_restarts_by_himself_only_where_no_creator_and_no_admin_stands() -> None:
    made = world(group=club(eve=2))
    made.restart(Restart("eve's", "Eve"))
    made.settle(HONEST)
    assert all(made.asked[who] == {"eve's"} for who in HONEST)


def test_a_restart_said_again_in_another_group_is_nothing() -> None:
    other = Group({"Bob": 1, "Eve": 1, "Ada": 0, "Zoe": 2}, frozenset({"Ada"}))
    made = World(RULES, {OLD: club(), "other": other}, hostile=frozenset({"Eve"}))
    made.restart(Restart("new", "Bob"))
    made.said.append(Restart("new", "Eve", said_in="other", of=OLD))  # as Bob said it
    made.settle([*HONEST, "Zoe"])
    assert "Zoe" not in made.inside["new"]


def test_a_group_that_i_am_in_already_is_no_restart_of_another() -> None:
    mine = Group({"Eve": 0, "Bob": 2, "Zoe": 2})
    made = World(RULES, {OLD: club(), "with Zoe": mine}, hostile=frozenset({"Eve"}))
    made.said.append(Restart("with Zoe", "Eve"))
    assert judge(RULES, made.groups[OLD], made.said[0], made.groups_of("Bob")) is Verdict.REFUSE


@pytest.mark.parametrize(
    ("rules", "attack"),
    [
        (Rules(word=False), lambda made: made.restart(Restart("a", "Eve", silent=frozenset({"Cleo"})))),
        (Rules(rank=False), lambda made: made.restart(Restart("a", "Dan"))),
        (Rules(whole=False), lambda made: made.restart(Restart("a", "Eve", without=frozenset({"Cleo"})))),
        (Rules(standing=False), lambda made: made.restart(Restart("a", "Ada"))),
        (Rules(named=False), lambda made: made.restart(Restart("a", "Eve", of="another"))),
    ],
)
def test_each_rule_is_needed(rules: Rules, attack: object) -> None:
    """Without it somebody goes along by himself with what he should be asked about, or not hear of."""
    group = club(lost=rules.word)

    def go_along(with_rules: Rules) -> set[str]:
        made = world(with_rules, group)
        attack(made)  # type: ignore[operator]
        made.settle(HONEST)
        return made.inside["a"] & {"Bob", "Cleo"}

    assert go_along(rules) and not go_along(RULES)


def test_the_lowest_id_alone_would_let_an_insider_take_the_chat() -> None:
    """What the rule was first: an id is a hash that anybody makes as low as he likes."""
    made = world(Rules(fewest=False))
    made.restart(Restart("a", "Eve", silent=frozenset({"Cleo"})))
    made.restart(Restart("b", "Bob"))
    made.settle(HONEST)
    assert made.writes_in("Bob") == "a" and not reached(made)


def production(group: Group) -> SpaceState:
    """The same group as a membership fold gives it: everybody with one device."""
    ids = {who: who.encode().ljust(32, b".") for who in group.ranks}
    members = {id_: Member(id_, id_, group.ranks[who], id_, id_) for who, id_ in ids.items()}
    writers = {i: Writer(i, i, i, i, i, i, i, 0, open=True, out=False) for i in ids.values()}
    return SpaceState(bytes(32), creator=ids[group.creator], members=members, writers=writers)


def test_the_production_decision_is_that_of_the_model() -> None:
    """Every group of four, whoever is lost and whoever restarts, leaving anybody out."""
    people = ("Ada", "Bob", "Cleo", "Dan")
    cases = 0
    for roles in product((1, 2), repeat=3):
        ranks = dict(zip(people, (0, *roles), strict=True))
        for lost in powerset(people):
            group, state = Group(ranks, frozenset(lost)), production(Group(ranks))
            for author, without in product(people, powerset(people)):
                found = decide(
                    state,
                    author.encode().ljust(32, b"."),
                    [who.encode().ljust(32, b".") for who in without],
                    lambda identity, device, lost=lost: device.rstrip(b".").decode() in lost,  # type: ignore[misc]
                )
                said = Restart("new", author, without=frozenset(without))
                verdict = Verdict.REFUSE if not found.counts else Verdict.JOIN if found.joins else Verdict.ASK
                assert verdict is judge(RULES, group, said, [OLD])
                cases += 1
    assert cases == 8 * 16 * 4 * 16


def powerset(people: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [part for size in range(len(people) + 1) for part in combinations(people, size)]
