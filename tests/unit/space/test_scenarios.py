"""What thieves, liars and simultaneous deeds do to a space: nothing, scenario by scenario, in the production fold.

Each one broke an earlier wording of the rules in `docs/protocol.md` 11.  Names: c creates, a and b are admins where the
test says so, m is a member; a1 and a2 are two devices of a.
"""

from __future__ import annotations

import pytest

from crdt.space.control import Admin, Close, FeedEnd, Revoke, Set, SpaceKind, Unknown
from crdt.space.epoch import usable
from crdt.space.lineage import START
from crdt.space.moves import leave, remove_person
from tests.unit.space.circle import Circle, Seat, name32, opens_no_epoch_without_itself

# -- what is done from before, or beyond an end ---------------------------------------------------------------


def test_removed_admin_brings_in_no_puppet_from_the_past() -> None:
    circle = Circle({"c": 1, "a": 1, "b": 1}, admins="a")
    c, a, b = circle.seated("c1", "a1", "b1")
    old = a.tips()
    c.removes("a")
    x = Seat(circle, "x1")
    a.do(a.add_op(x), parents=(*old,))
    x.hear(a)
    x.do(x.admit_op(Seat(circle, "x2")))
    a.do(*a.removal("b"))
    circle.settle()
    assert not b.open("x1") and not b.open("x2") and b.open("b1")


def test_admin_appointed_first_removes_no_other_admin_from_before_its_appointment() -> None:
    circle = Circle({"c": 1, "a": 1, "b": 1})
    c, a, b = circle.seated("c1", "a1", "b1")
    c.do(Admin(c.member("a")))
    circle.settle()
    early = a.removal("b")
    old = a.tips()
    c.do(Admin(c.member("b")))
    circle.settle()
    a.do(*early, parents=old)
    circle.settle()
    assert b.open("b1") and c.open("b1")


def test_admins_appointed_apart_who_remove_each_other_both_stay() -> None:
    circle = Circle({"c": 2, "a": 1, "b": 1})
    c1, c2, a, b = circle.seated("c1", "c2", "a1", "b1")
    c1.do(Admin(c1.member("a")))
    c2.do(Admin(c2.member("b")))
    a.hear(c1)
    b.hear(c2)
    a.removes("b")
    b.removes("a")
    circle.settle()
    assert c1.open("a1") and c1.open("b1")


def test_stolen_device_of_the_creator_does_nothing_once_it_is_closed() -> None:
    circle = Circle({"c": 2, "b": 1, "x": 1})
    c1, c2, b = circle.seated("c1", "c2", "b1")
    old, early = c2.tips(), c2.removal("b")
    c1.act(c1.close_op("c2"))
    c2.do(*early, parents=old)
    c2.do(Admin(c2.member("x")))
    circle.settle()
    assert b.open("b1") and not b.state.admins and b.open("c1")


def test_stolen_device_of_an_admin_removes_nobody_from_the_past() -> None:
    circle = Circle({"c": 1, "a": 2, "b": 1}, admins="a")
    a1, a2, b = circle.seated("a1", "a2", "b1")
    old, early = a2.tips(), a2.removal("b")
    a1.act(a1.close_op("a2"))
    a2.do(*early, parents=old)
    circle.settle()
    assert b.open("b1")


def test_admin_who_left_removes_nobody_beyond_its_own_end() -> None:
    circle = Circle({"c": 1, "a": 1, "b": 1}, admins="a")
    c, a = circle.seated("c1", "a1")
    early = a.removal("b")
    a.do(*leave(a.graph, a.core, a.frontiers()))
    circle.settle()
    a.do(*early, parents=())
    circle.settle()
    assert c.open("b1") and not c.open("a1")


def test_removed_admin_undoes_no_removal_by_closing_its_own_other_device_short() -> None:
    circle = Circle({"c": 1, "a": 2, "b": 1}, admins="a")
    c, a1, a2 = circle.seated("c1", "a1", "a2")
    old, short = a1.tips(), a1.end_of("a2")
    a2.removes("b")
    circle.settle()
    c.removes("a")
    circle.settle()
    a1.do(Close(None, (short,)), parents=old)
    circle.settle()
    assert not c.open("b1")


def test_puppet_appointed_beyond_the_end_of_a_stolen_device_removes_nobody() -> None:
    circle = Circle({"c": 2, "b": 1, "y": 1})
    c1, c2, y = circle.seated("c1", "c2", "y1")
    old = c2.tips()
    c1.act(c1.close_op("c2"))
    c2.do(Admin(c2.member("y")), parents=old)
    y.hear(c2)
    y.do(*y.removal("b"))
    circle.settle()
    assert c1.open("b1")


def test_device_admitted_unseen_is_out_with_its_removed_member() -> None:
    for cover in (False, True):
        circle = Circle({"c": 1, "a": 1})
        c, a = circle.seated("c1", "a1")
        a.act(a.admit_op(Seat(circle, "a2")))
        end = a.end_of("a1") if cover else c.end_of("a1")
        c.do(Close(c.member("a"), (end,)))
        circle.settle()
        assert not c.open("a2") and not circle["a2"].open("a2")


def test_entry_that_leaves_out_its_authors_own_later_ones_never_counts() -> None:
    circle = Circle({"c": 1, "a": 1, "b": 1}, admins="a")
    a, b = circle.seated("a1", "b1")
    old = a.tips()
    a.do(Set("k", b"late"))
    a.do(a.add_op(Seat(circle, "x1")), parents=tuple(p for p in old if p.core != a.core))
    circle.settle()
    assert not b.open("x1")


# -- closes ---------------------------------------------------------------------------------------------------


def test_second_removal_ends_what_a_first_partial_one_left_open() -> None:
    circle = Circle({"c": 2, "a": 1, "m": 2}, admins="a")
    c1, c2, a = circle.seated("c1", "c2", "a1")
    stale, member = c2.end_of("a1"), c1.member("m")
    a.do(Close(member, (a.end_of("m1"),)))
    c1.hear(a)
    c1.act(Close(member, (c1.end_of("m2"),)))
    c2.do(Close(c2.member("a"), (stale,)))
    circle.settle()
    assert not c1.open("m1") and not c1.open("m2")


def test_stolen_device_cuts_off_no_creation_of_the_group() -> None:
    circle = Circle({"c": 2, "b": 1})
    c1, c2, b = circle.seated("c1", "c2", "b1")
    c2.do(Close(None, (FeedEnd(c1.writer, *START),)))
    b.hear(c2)
    assert b.open("b1") and b.state.creator is not None


@pytest.mark.parametrize("people", ({"c": 2, "b": 1}, {"c": 1, "b": 2}))
@pytest.mark.parametrize("word", (False, True))
def test_device_that_knows_of_its_own_close_closes_no_other_of_its_person(people: dict[str, int], word: bool) -> None:
    """A close is judged with those of its rank, each as if the others were not there: a thief comes after them."""
    circle = Circle(people)
    lost = "c2" if people["c"] == 2 else "b2"
    keeper, phone = circle.seated(lost[0] + "1", lost)
    if word:
        keeper.duty(**{lost: circle.disown(lost, keeper.name)})
    else:
        keeper.act(keeper.close_op(lost))
    phone.hear(keeper)
    phone.do(phone.close_op(keeper.name))
    circle.settle()
    assert keeper.open(keeper.name) and not keeper.open(lost)
    phone.do(Close(None, (FeedEnd(keeper.writer, *START), phone.end_of(lost))))
    circle.settle()
    assert keeper.open(keeper.name) and not keeper.open(lost)
    assert keeper.rostered() == {name for name in circle.seats if name != lost}


def test_puppet_that_knows_that_its_admission_fell_ends_no_device_of_the_creator() -> None:
    """Neither its own close nor a removal in its own name, though the one who let it in goes on beyond its end."""
    circle = Circle({"c": 3, "b": 1})
    c1, c2, c3, b = circle.seated("c1", "c2", "c3", "b1")
    old = c3.tips()
    c1.act(c1.close_op("c3"))
    puppet = Seat(circle, "c7")
    c3.do(c3.admit_op(puppet), parents=old)
    puppet.hear(c3)
    puppet.hear(c1)
    puppet.do(Close(c1.member("c"), (puppet.end_of("c1"), FeedEnd(c2.writer, *START))), parents=puppet.tips())
    c3.hear(puppet)
    c3.do(c3.close_op("c3"))
    circle.settle()
    assert b.open("c1") and b.open("c2") and not b.open("c7") and not b.open("c3")


def test_removal_never_lengthens_what_the_owner_cut_off() -> None:
    circle = Circle({"c": 1, "a": 2, "b": 1}, admins="a")
    c, a1, a2 = circle.seated("c1", "a1", "a2")
    a2.removes("b")
    a1.act(a1.close_op("a2"))
    c.hear(a2)
    c.hear(a1)
    c.removes("a")
    circle.settle()
    assert c.open("b1") and not c.open("a1")


def test_colluding_admin_lengthens_no_removal_by_the_creator() -> None:
    circle = Circle({"c": 1, "a": 1, "m": 1}, admins="a")
    c, a, m = circle.seated("c1", "a1", "m1")
    member = c.member("m")
    c.removes("m")
    late = m.write(None)
    a.hear(m)
    a.do(Close(member, (a.end_of("m1"),)))
    circle.settle()
    assert not c.shows(late) and not a.shows(late)


def test_forked_member_can_be_removed() -> None:
    circle = Circle({"c": 1, "b": 1, "m": 1})
    c, b, m = circle.seated("c1", "b1", "m1")
    base, parents = m.tip, m.tips()
    m.do(opens_no_epoch_without_itself(m))
    m.do(opens_no_epoch_without_itself(m), prev=base, parents=parents)
    circle.settle()
    c.removes("m")
    circle.settle()
    assert not b.open("m1") and b.state == c.state


def test_removal_by_one_who_knows_one_branch_ends_the_other_too() -> None:
    circle = Circle({"c": 1, "b": 1, "d": 1, "m": 1})
    c, b, d, m = circle.seated("c1", "b1", "d1", "m1")
    base, parents = m.tip, m.tips()
    m.do(Set("k", b"x"), parents=parents)
    seen = m.write(None)
    b.hear(m)
    c.hear(m)
    m.do(opens_no_epoch_without_itself(m), parents=parents, prev=base)
    d.hear(m)
    c.act(Close(c.member("m"), (FeedEnd(m.writer, *seen.end),)))
    circle.settle(b, c, d)
    assert b.state == c.state == d.state and not b.open("m1") and b.shows(seen)
    for seat in (b, c, d):
        seat.message()


def test_creator_who_forks_shows_the_same_group_to_all_who_met() -> None:
    circle = Circle({"c": 1, "b": 1, "d": 1})
    c, b, d = circle.seated("c1", "b1", "d1")
    base, parents = c.tip, c.tips()
    before = c.backup()
    c.do(Admin(c.member("b")))
    b.hear(c)
    c.held = before
    c.do(Admin(c.member("d")), prev=base, parents=parents)
    d.hear(c)
    circle.settle(b, d)
    assert b.state == d.state and len(b.state.admins) == 2


# -- messages that were read stay -----------------------------------------------------------------------------


def test_message_that_was_read_shows_after_a_removal_that_did_not_know_it() -> None:
    circle = Circle({"c": 1, "b": 1, "m": 1})
    c, b, m = circle.seated("c1", "b1", "m1")
    sent = m.message()
    b.hear(m)
    c.removes("m")
    b.hear(c)
    b.duty()
    circle.settle()
    assert c.shows(sent) and not c.state.within(m.core, sent.seq, sent.id)


def test_message_of_somebody_whose_admission_fell_shows_where_it_was_read() -> None:
    circle = Circle({"c": 1, "a": 1, "b": 1}, admins="a")
    c, a, b = circle.seated("c1", "a1", "b1")
    d = Seat(circle, "d1")
    a.lets_in(d)
    sent = d.message()
    b.hear(d)
    c.removes("a")
    circle.settle()
    assert not c.open("d1")
    b.duty()
    circle.settle()
    assert c.shows(sent)


def test_messages_shown_under_a_close_that_falls_stay_shown() -> None:
    circle = Circle({"c": 1, "a": 1, "e": 1, "b": 1}, admins="ae")
    c, a, e, b = circle.seated("c1", "a1", "e1", "b1")
    short = b.end_of("b1")
    sent = [b.message() for _ in range(3)]
    a.hear(b)
    a.removes("b")
    e.do(Close(e.member("b"), (short,)))
    circle.settle(a, e, b)
    c.removes("a")
    circle.settle()
    for seat in (c, e):
        seat.duty()
    circle.settle()
    assert all(e.shows(entry) for entry in sent)


# -- epochs ---------------------------------------------------------------------------------------------------


def test_revoked_device_makes_no_epoch_that_leaves_itself_out() -> None:
    circle = Circle({"c": 1, "m": 2, "b": 1})
    c, m2, b = circle.seated("c1", "m2", "b1")
    b.duty(m2=circle.disown("m2", "m1"))
    m2.hear(b)
    trick = m2.do(opens_no_epoch_without_itself(m2))
    circle.settle()
    for seat in (b, c):
        assert usable(seat.state, seat.core) != trick.id and trick.id not in seat.state.epochs


def test_epoch_made_ready_before_its_authors_removal_is_not_used() -> None:
    circle = Circle({"c": 1, "a": 1, "m": 1})
    c, a, m = circle.seated("c1", "a1", "m1")
    ready = m.do(opens_no_epoch_without_itself(m))
    circle.settle()
    c.do(*c.removal("m"))
    a.hear(c)
    a.message()
    assert usable(a.state, a.core) != ready.id


def test_member_whose_phone_is_revoked_while_its_other_device_sleeps_stops_nobody() -> None:
    circle = Circle({"c": 1, "a": 2, "b": 1})
    b = circle["b1"]
    b.duty(a2=circle.disown("a2", "a1"))
    assert "a2" not in b.rostered() and b.open("a2")
    b.message()


# -- who comes in ---------------------------------------------------------------------------------------------


def test_feed_is_admitted_neither_without_its_consent_nor_as_something_else() -> None:
    circle = Circle({"c": 1, "a": 1, "m": 1}, admins="a")
    c, a, m = circle.seated("c1", "a1", "m1")
    b = Seat(circle, "b1")
    m.do(m.admit_op(b, kind=0))
    a.do(a.admit_op(b, kind=1))
    circle.settle(c, a, m)
    assert b.core not in c.state.writers
    added = c.act(c.add_op(b))
    circle.settle(c, a, m)
    assert a.state.writers[b.core].member == added.id


def test_member_added_anew_with_a_fresh_feed_is_not_hit_by_the_old_removal() -> None:
    circle = Circle({"c": 1, "m": 1, "b": 1})
    c, b = circle.seated("c1", "b1")
    c.removes("m")
    fresh = Seat(circle, "m9")
    c.lets_in(fresh)
    circle.settle()
    sent = fresh.message()
    b.hear(fresh)
    assert b.open("m9") and not b.open("m1") and b.shows(sent)
    b.message()


def test_person_who_left_comes_in_with_a_fresh_feed_alone_and_is_listed_once() -> None:
    circle = Circle({"c": 1, "a": 1, "b": 1, "m": 1}, admins="ab")
    c, a, b, m = circle.seated("c1", "a1", "b1", "m1")
    m.do(*leave(m.graph, m.core, m.frontiers()))
    a.hear(m)
    again = a.do(a.add_op(m))
    fresh = Seat(circle, "m2")
    a.lets_in(fresh)
    first, second = Seat(circle, "d1"), Seat(circle, "d2")
    a.lets_in(first)
    b.lets_in(second)
    circle.settle()
    assert (again.id, 0) not in c.state.counted and c.open("m2") and not c.open("m1")
    people = c.state.people()
    assert len(people) == 5 and len(people[name32("d")]) == 2
    c.act(*remove_person(c.graph, c.core, name32("d"), c.frontiers()))
    circle.settle()
    assert name32("d") not in b.state.people()


# -- devices that are lost ------------------------------------------------------------------------------------


def test_two_devices_that_close_each_other_leave_room_for_a_new_one_in_a_direct_chat() -> None:
    circle = Circle({"c": 1, "a": 2}, kind=SpaceKind.DIRECT)
    c, a1, a2 = circle.seated("c1", "a1", "a2")
    a1.act(a1.close_op("a2"))
    a2.act(a2.close_op("a1"))
    circle.settle()
    assert not c.open("a1") and not c.open("a2")
    c.lets_in(Seat(circle, "a3"))
    assert c.open("a3")


def test_friend_whose_only_phone_was_revoked_comes_back_into_a_direct_chat() -> None:
    circle = Circle({"c": 1, "a": 1}, kind=SpaceKind.DIRECT)
    c = circle["c1"]
    said = circle.recover("a9")
    c.duty(a1=circle.tells("a1"))
    fresh = Seat(circle, "a9")
    c.lets_in(fresh, said)
    fresh.message()
    assert c.open("a9") and c.rostered() == {"c1", "a9"}


def test_phone_that_the_phrase_did_not_keep_gets_no_keys_until_the_phrase_keeps_it_after_all() -> None:
    circle = Circle({"c": 1, "b": 1, "m": 1})
    c, b = circle.seated("c1", "b1")
    circle.recover("m9")
    b.duty(m1=circle.tells("m1"))
    b.message()
    circle.settle()
    assert "m1" not in c.rostered()
    made_up = c.do(Revoke(b.device, circle.tells("m1")))
    assert (made_up.id, 0) not in c.state.counted
    more = circle.recover("m8", "m1")
    c.do(Revoke(name32("device", "m9"), (*more, *circle.tells("m9"))))
    circle.settle()
    assert "m1" in b.rostered()


def test_second_word_of_the_root_key_in_one_generation_puts_no_kept_device_out() -> None:
    """It carries the same list: whoever is told the second one alone must not find the kept phone out."""
    circle = Circle({"c": 1, "m": 2})
    c, m1 = circle.seated("c1", "m1")
    circle.recover("m9", "m1")
    c.duty(m2=circle.disown("m2", None))
    assert c.rostered() == {"c1", "m1"} and m1.name in c.rostered()


def test_restored_phone_stays_in_whatever_its_owners_desktop_closes_meanwhile() -> None:
    for order in ("close first", "close, then it writes", "close after", "close from the past", "restored twice"):
        circle = Circle({"c": 1, "m": 2})
        c, m1, m2 = circle.seated("c1", "m1", "m2")
        backup = m2.backup()
        said = m2.replaced_by("mx")
        close = (Revoke(m2.device, said), m1.close_op("m2"))
        if order in ("close first", "close, then it writes"):
            m1.act(*close)
        if order == "close, then it writes":
            backup |= m1.held
        new = [m2.restored("mx", backup, said)]
        if order == "close after":
            m1.hear(new[0])
        if order == "restored twice":
            new.append(m2.restored("my", m2.backup()))
        if order in ("close after", "close from the past", "restored twice"):
            m1.act(*close)
        circle.settle(c, m1, *new)
        assert all(c.open(seat.name) for seat in new) and not c.open("m2"), order
        new[0].message()


def test_both_of_two_restores_of_one_backup_live_on() -> None:
    circle = Circle({"c": 1, "m": 1})
    c, m = circle.seated("c1", "m1")
    backup = m.backup()
    x, y = m.restored("mx", backup), m.restored("my", backup)
    circle.settle(c, x, y)
    assert c.open("mx") and c.open("my") and not c.open("m1")
    x.message()
    circle.settle(c, x, y)
    y.message()


def test_thief_who_restores_a_backup_of_a_revoked_device_stays_out() -> None:
    circle = Circle({"c": 1, "m": 2})
    c, m1, m2 = circle.seated("c1", "m1", "m2")
    backup = m2.backup()
    m1.act(Revoke(m2.device, circle.disown("m2", "m1")), m1.close_op("m2"))
    thief = m2.restored("mx", backup, circle.shown_without_revocations("mx", "m2"))
    circle.settle(c, m1, thief)
    assert not c.open("mx")


def test_backup_of_a_member_who_left_brings_nobody_back() -> None:
    circle = Circle({"c": 1, "m": 2})
    c, m1, m2 = circle.seated("c1", "m1", "m2")
    backup = m2.backup()
    m1.do(*leave(m1.graph, m1.core, m1.frontiers()))
    restored = m2.restored("mx", backup)
    circle.settle(c, m1, restored)
    assert not c.open("mx")


def test_thief_signs_no_succession_from_before_the_close_of_the_stolen_device() -> None:
    circle = Circle({"c": 1, "m": 2})
    c, m1, m2 = circle.seated("c1", "m1", "m2")
    backup = m2.backup()
    m1.act(m1.close_op("m2"))
    thief = m2.restored("mx", backup)
    circle.settle(c, m1, thief)
    assert not c.open("mx")


def test_restore_of_an_older_backup_brings_nobody_back_who_was_removed_since() -> None:
    circle = Circle({"c": 1, "m": 1, "d": 1})
    c, d = circle.seated("c1", "d1")
    backup = c.backup()
    c.removes("m")
    circle.settle(c, d)
    new = c.restored("cx", backup)
    circle.settle(d, new)
    new.duty()
    circle.settle(d, new)
    assert not d.open("m1") and d.state.rank(new.core) == 0


# -- later versions -------------------------------------------------------------------------------------------


def stopped(circle: Circle) -> set[str]:
    return {seat.name for seat in circle.seats.values() if seat.state.stopped}


def test_later_versions_stop_older_ones_by_odd_operations_of_creator_and_admins_alone() -> None:
    circle = Circle({"c": 1, "b": 1, "a": 1, "m": 1}, admins="a")
    c, b, a, m = circle.seated("c1", "b1", "a1", "m1")
    m.do(Unknown(11, b""))
    circle.settle()
    assert not stopped(circle)
    old = a.tips()
    c.removes("a")
    circle.settle()
    a.do(Unknown(13, b""), parents=old)
    circle.settle()
    roster = b.state.roster
    c.do(Unknown(12, b""))
    circle.settle()
    assert not stopped(circle) and b.state.roster == roster
    c.act(Unknown(15, b""))
    circle.settle()
    assert stopped(circle) == {"c1", "b1", "a1", "m1"} and b.duty() == ()
