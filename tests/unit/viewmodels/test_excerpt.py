"""The loaded part of a timeline never has a hole, whatever pages and single messages come in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.viewmodels.excerpt import Excerpt
from sync.service import models
from tests.unit.viewmodels.scripted import message


def loaded(numbers: range, *, older: bool = True, newer: bool = True, limit: int = 300) -> Excerpt:
    excerpt = Excerpt(limit)
    excerpt.replace(map(message, numbers), older=older, newer=newer)
    return excerpt


def orders(excerpt: Excerpt) -> list[int]:
    return [int(held.order) for held in excerpt]


def test_message_between_loaded_ones_is_inserted_at_its_order() -> None:
    excerpt = loaded(range(10, 20, 2))
    assert excerpt.put(message(13))
    assert orders(excerpt) == [10, 12, 13, 14, 16, 18]


def test_message_beyond_a_complete_end_is_inserted_and_beyond_a_partial_end_is_left_out() -> None:
    whole, part = loaded(range(10, 12), older=False, newer=False), loaded(range(10, 12))
    assert [excerpt.put(message(number)) for excerpt in (whole, part) for number in (5, 15)] == [
        True,
        True,
        False,
        False,
    ]
    assert (orders(whole), orders(part)) == ([5, 10, 11, 15], [10, 11])


def test_message_before_pages_were_read_is_left_out() -> None:
    assert not Excerpt().put(message(1))


def test_changed_message_is_updated_in_place_and_equal_one_changes_nothing() -> None:
    excerpt = loaded(range(3))
    assert not excerpt.put(message(1))
    assert excerpt.put(message(1, "edited"))
    assert [held.text for held in excerpt] == ["line 0", "edited", "line 2"]


def test_message_with_another_order_moves_and_leaves_where_its_place_is_not_loaded() -> None:
    excerpt = loaded(range(10, 15))
    assert excerpt.put(message(10, order="000013b"))
    assert [held.id for held in excerpt] == ["msg_11", "msg_12", "msg_13", "msg_10", "msg_14"]
    assert excerpt.put(message(12, order="000001"))
    assert [held.id for held in excerpt] == ["msg_11", "msg_13", "msg_10", "msg_14"]


def test_full_excerpt_drops_its_oldest_at_the_end_and_its_newest_elsewhere() -> None:
    end, middle = loaded(range(0, 10, 2), older=False, newer=False, limit=5), loaded(range(0, 10, 2), limit=5)
    assert end.put(message(9)) and middle.put(message(3))
    assert (orders(end), end.older, end.newer) == ([2, 4, 6, 8, 9], True, False)
    assert (orders(middle), middle.older, middle.newer) == ([0, 2, 3, 4, 6], True, True)


def test_full_excerpt_leaves_out_an_older_message_and_says_that_there_are_older_ones() -> None:
    excerpt = loaded(range(10, 15), older=False, newer=False, limit=5)
    assert not excerpt.put(message(1))
    assert (orders(excerpt), excerpt.older) == ([10, 11, 12, 13, 14], True)


def test_excerpt_whose_messages_have_all_gone_is_emptied_where_others_exist() -> None:
    excerpt = loaded(range(2), newer=False)
    assert [excerpt.remove(f"msg_{number}") for number in (0, 1, 1)] == [True, True, False]
    assert excerpt.is_emptied and not loaded(range(0), older=False, newer=False).is_emptied


def test_delivery_state_changes_one_held_message() -> None:
    excerpt = loaded(range(2))
    assert [excerpt.set_state(id_, "delivered") for id_ in ("msg_1", "msg_1", "msg_7")] == [True, False, False]
    assert [held.state for held in excerpt] == ["received", "delivered"]


MOVES = st.lists(st.tuples(st.sampled_from("put remove older newer newest".split()), st.integers(0, 40)), max_size=60)


@given(st.sets(st.integers(0, 40)), MOVES)
def test_excerpt_is_always_the_timeline_between_its_ends(start: set[int], moves: list[tuple[str, int]]) -> None:
    """Every move is done to a whole timeline and told to the excerpt, as a service tells it."""
    timeline = set(start)
    excerpt = Excerpt(limit=6)

    def page(numbers: list[int]) -> list[models.Message]:
        return [message(number) for number in numbers]

    def newest() -> None:
        found = sorted(timeline)
        excerpt.replace(page(found[-4:]), older=len(found) > 4, newer=False)

    newest()
    for move, number in moves:
        if move == "put":
            timeline.add(number)
            excerpt.put(message(number))
        elif move == "remove":
            timeline.discard(number)
            excerpt.remove(f"msg_{number}")
        elif move == "newest" or not len(excerpt):
            newest()
        elif move == "older" and excerpt.older:
            below = [n for n in sorted(timeline) if n < int(excerpt.first.order)]
            excerpt.extend_older(page(below[-2:]), more=len(below) > 2)
        elif move == "newer" and excerpt.newer:
            above = [n for n in sorted(timeline) if n > int(excerpt.last.order)]
            excerpt.extend_newer(page(above[:2]), more=len(above) > 2)
        held = orders(excerpt)
        assert len(held) <= 6
        if not held:
            assert not timeline or excerpt.is_emptied
            continue
        assert held == [n for n in sorted(timeline) if held[0] <= n <= held[-1]]
        assert excerpt.older or min(timeline) == held[0]
        assert excerpt.newer or max(timeline) == held[-1]
