"""A name that nobody proved is never cut down to the name alone, and has neither the person's picture nor her place."""

from __future__ import annotations

from datetime import UTC, datetime

from apps.viewmodels.bubbles import bubbles_of, quote_of
from apps.viewmodels.chats import listed_chat, with_message
from apps.viewmodels.members import member_of
from apps.viewmodels.words import MAX_TITLE
from sync.service import models

AT = datetime(2026, 3, 3, 12, tzinfo=UTC)
# The longest that the service says.
VOUCHED = f"{'B' * 23}\N{HORIZONTAL ELLIPSIS}, vouched by {'M' * 23}\N{HORIZONTAL ELLIPSIS}"


def message(number: int, proved: bool) -> models.Message:
    return models.Message(
        id=f"msg_{number}",
        author="id_bob",
        author_name="Bob" if proved else VOUCHED,
        device="d",
        text="t",
        at=AT,
        state="received",
        order=f"{number:06}",
        proved=proved,
    )


def test_a_bubble_says_who_vouches_in_direct_chats_too() -> None:
    for named in (True, False):
        (bubble,) = bubbles_of([message(1, False)], named=named, me="id_me", find=lambda id_: None, now=AT)
        assert bubble.author == VOUCHED
    assert quote_of(message(1, False)).author == VOUCHED


def test_a_bubble_of_somebody_unproved_is_not_joined_to_the_real_ones() -> None:
    drawn = bubbles_of([message(1, True), message(2, False)], named=True, me="id_me", find=lambda id_: None, now=AT)
    assert [(bubble.author, bubble.joined) for bubble in drawn] == [("Bob", False), (VOUCHED, False)]


def test_the_list_says_who_vouches_for_the_last_message() -> None:
    chat = models.Chat(id="chat_a", title="Bob", kind="direct", state="active", members=2, unread=0, last=AT)
    after = with_message(chat, message(3, False), True)
    assert after is not None and listed_chat(after, AT).preview == f"{VOUCHED}: t"
    later = with_message(after, message(4, True), True)
    assert later is not None and listed_chat(later, AT).preview == "t"


def test_a_member_who_is_not_proved_has_no_picture() -> None:
    known = models.Member(id="id_bob", name="Bob", role="member", state="active")
    assert member_of(known).initials == "B"
    other = member_of(known.model_copy(update={"name": VOUCHED, "proved": False}))
    assert (other.name, other.initials) == (VOUCHED, "?") and len(VOUCHED) <= MAX_TITLE
