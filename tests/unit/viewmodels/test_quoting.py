"""Who wrote a message: the author stands first, and the quoted author of an imported message after it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apps.viewmodels.bubbles import bubbles_of, quote_of
from apps.viewmodels.words import shown_author
from sync.service import models

AT = datetime(2024, 3, 3, 12, tzinfo=UTC)


def message(source: str | None, mine: bool = False) -> models.Message:
    return models.Message(
        id="msg",
        author="id_ben",
        author_name="Ben",
        device="d",
        text="t",
        at=AT,
        state="queued",
        source=source,
        mine=mine,
    )


@pytest.mark.parametrize(
    ("source", "mine", "named", "shown"),
    [
        (None, False, True, "Ben"),
        (None, False, False, ""),
        (None, True, True, ""),
        ("Ada", False, True, "Ben (quoting Ada)"),
        ("Ada", False, False, "Ben (quoting Ada)"),
        ("Ada", True, True, "Ada (imported)"),
    ],
)
def test_bubble_names_author_and_quoted_author_of_imported_message(
    source: str | None, mine: bool, named: bool, shown: str
) -> None:
    (bubble,) = bubbles_of([message(source, mine)], named=named, me="id_me", find=lambda id_: None, now=AT)
    assert bubble.author == shown
    assert bubble.shade == bubbles_of([message(None)], named=named, me="", find=lambda id_: None, now=AT)[0].shade


def test_reply_names_author_and_quoted_author_of_the_message_it_quotes() -> None:
    assert quote_of(message("Ada")).author == "Ben (quoting Ada)"
    assert shown_author("Ben", None) == "Ben"
