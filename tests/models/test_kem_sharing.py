"""The sharing of ML-KEM secrets: which theft opens what, week by week, and what a missing entry costs."""

from __future__ import annotations

from itertools import product

import pytest

from tests.models.kem_sharing import (
    KEPT,
    SLOTS,
    WEEKS,
    Design,
    Entry,
    Kept,
    Scope,
    Sealed,
    Theft,
    arrivals,
    lost,
    opens,
    stolen,
    waiting,
)

DESIGNS = [
    Design(Scope.SLOT, Kept.NOWHERE),
    *[Design(scope, kept) for scope in (Scope.FEED, Scope.DEVICE) for kept in (Kept.MEMORY, Kept.DISK)],
]
BUILT = Design(Scope.FEED, Kept.MEMORY)


def what(
    design: Design, theft: Theft, week: int = 5, *, quantum: bool, hybrid: bool = True, whom: str = "bob"
) -> set[Sealed]:
    return opens(design, hybrid, quantum, stolen(design, theft, week, whom))


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_a_recorder_with_a_quantum_computer_opens_nothing(design: Design) -> None:
    assert what(design, Theft.NOTHING, quantum=True) == set()
    assert what(design, Theft.NOTHING, quantum=True, hybrid=False) == set(SLOTS), "what X25519 alone would lose"


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_sharing_changes_nothing_for_who_steals_a_recipient(design: Design) -> None:
    """Its keys open what was sealed to it in the nine weeks that it keeps them, with a quantum computer or without."""
    for week, quantum in product(WEEKS, (False, True)):
        found = what(design, Theft.RECIPIENT, week, quantum=quantum)
        assert found == {slot for slot in SLOTS if slot.to == "bob" and week - KEPT < slot.week <= week}


def test_nine_weeks_later_nothing_opens_whatever_is_stolen() -> None:
    for theft, quantum in product(Theft, (False, True)):
        found = what(BUILT, theft, WEEKS[-1], quantum=quantum)
        assert not {slot for slot in found if slot.week <= WEEKS[-1] - KEPT}


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_a_thief_of_the_sender_opens_no_slot_without_a_quantum_computer(design: Design) -> None:
    for theft, week in product((Theft.SENDER_DISK, Theft.SENDER_MEMORY, Theft.ONE_SS), WEEKS):
        assert what(design, theft, week, quantum=False) == set()


def test_a_secret_kept_in_the_store_is_a_week_of_slots_for_its_thief() -> None:
    """Not new harm for most: the store holds the epoch keys themselves.  But those of an erased entry are dropped at
    once, and a kept ss would bring them back."""
    for scope in (Scope.FEED, Scope.DEVICE):
        found = what(Design(scope, Kept.DISK), Theft.SENDER_DISK, quantum=True)
        assert found == {slot for slot in SLOTS if slot.week == 5}
    assert what(BUILT, Theft.SENDER_DISK, quantum=True) == set()


def test_memory_at_the_moment_of_the_theft_gives_that_week_and_no_other() -> None:
    found = what(BUILT, Theft.SENDER_MEMORY, quantum=True)
    assert found == {slot for slot in SLOTS if slot.week == 5}


def test_one_lost_secret_reaches_as_far_as_it_serves() -> None:
    reach = {design.scope: len(what(design, Theft.ONE_SS, quantum=True)) for design in DESIGNS}
    assert reach == {Scope.SLOT: 1, Scope.FEED: 2, Scope.DEVICE: 4}
    found = what(BUILT, Theft.ONE_SS, quantum=True)
    assert {(slot.chat, slot.week, slot.to) for slot in found} == {("walks", 5, "bob")}


# -- what is lost, erased, or on another branch ---------------------------------------------------------------------

IN_FEED = (
    tuple(Entry("walks", seq, "trunk", None if seq == 0 else ("walks", 0)) for seq in range(3)),
    tuple(Entry("work", seq, "trunk", None if seq == 0 else ("work", 0)) for seq in range(3)),
)
ACROSS = (
    tuple(Entry("walks", seq, "trunk", None if seq == 0 else ("walks", 0)) for seq in range(3)),
    tuple(Entry("work", seq, "trunk", ("walks", 0)) for seq in range(3)),
)


def test_within_a_feed_no_order_of_arrival_leaves_a_grant_waiting() -> None:
    assert all(not waiting(order) for order in arrivals(IN_FEED))


def test_across_chats_a_grant_waits_for_a_chat_that_may_never_come() -> None:
    """And a recipient who is in one of the two chats alone could never have it."""
    stuck = [order for order in arrivals(ACROSS) if waiting(order)]
    assert len(stuck) > 20
    assert any(all(entry.feed == "work" for entry in order) for order in stuck)


def test_one_lost_entry_closes_what_names_it_and_no_other_chat() -> None:
    for order in arrivals(IN_FEED):
        for rest in lost(order):
            (gone,) = set(order) - set(rest)
            closed = waiting(rest)
            assert all(entry.feed == gone.feed and gone.seq == 0 for entry in closed)


def test_on_each_branch_of_a_fork_a_grant_names_its_own_past() -> None:
    """A clone that goes on from a backup knows no ss, so it carries its own; what both name lies before the fork."""
    trunk = Entry("walks", 0, "trunk", None)
    for branch in ("left", "right"):
        mine = (trunk, Entry("walks", 1, branch, None), Entry("walks", 2, branch, ("walks", 1)))
        assert waiting(mine) == []
        assert waiting((*mine, Entry("walks", 3, branch, ("walks", 0)))) == []
    other = (trunk, Entry("walks", 1, "left", None), Entry("walks", 2, "right", ("walks", 1)))
    assert waiting(other), "a name is a place of the same branch, and the ciphertext there is another"


def test_a_name_out_of_the_ciphertext_would_tie_chats_together() -> None:
    """Who stores feeds of two chats sees the same eight bytes in both.  A place in the feed says nothing there."""

    def names(across: bool) -> dict[str, set[tuple[object, ...]]]:
        return {
            chat: {(slot.week, slot.to) if across else (chat, slot.week) for slot in SLOTS if slot.chat == chat}
            for chat in ("walks", "work")
        }

    assert names(True)["walks"] == names(True)["work"]
    assert not names(False)["walks"] & names(False)["work"]
