"""A deleted message says on how many devices it is gone, in the words of the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apps.viewmodels.bubbles import DELETED, bubbles_of
from sync.service import models

AT = datetime(2026, 3, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("erased", "note"),
    [(None, ""), ((0, 1), "on 0 of 1 device"), ((2, 3), "on 2 of 3 devices"), ((3, 3), "on 3 of 3 devices")],
)
def test_a_deleted_bubble_says_on_how_many_devices_it_is_gone(erased: tuple[int, int] | None, note: str) -> None:
    message = models.Message(
        id="msg_1",
        author="id_ada",
        author_name="Ada",
        device="dev_1",
        text="",
        at=AT,
        state="delivered",
        mine=True,
        deleted=True,
        erased=None if erased is None else models.Erasure(devices=erased[0], of_devices=erased[1]),
    )
    (bubble,) = bubbles_of([message], named=False, me="id_ada", find=lambda id_: None, now=AT)
    assert (bubble.text, bubble.note) == (DELETED, note)
