"""The table of document kinds: which roots a kind has, and under which version of that list.

`docs/protocol.md`, "Documents and the guard".  A kind is a number in the first byte of an update body; the second is
the version of its root list.  `guard.GUARDS` and `schema.SCHEMAS` hold, for each kind, its guard and its schema: a
kind for collaborative documents is a further line in these three tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MAX_UPDATE = 192 * 1024  # bytes of the Yjs update alone
MAX_STRUCTS = 64


class DocKind(IntEnum):
    """What an update is an update of."""

    CHAT = 1  # one page of a chat: an epoch
    PERSONAL = 2  # one page of my own space


@dataclass(frozen=True, slots=True)
class KindSpec:
    """`version` of the root list, and the list: the order is part of stored keys, so it only grows at its end."""

    version: int
    roots: tuple[str, ...]


KINDS: dict[DocKind, KindSpec] = {
    DocKind.CHAT: KindSpec(1, ("messages", "edits", "reactions", "receipts", "offers", "meta")),
    DocKind.PERSONAL: KindSpec(
        1,
        (
            "profile",
            "contacts",
            "chats",
            "settings",
            "marks",
            "drafts",
            "invites",
            "writers",
            "devices",
            "hidden",
        ),
    ),
}


def body_head(kind: DocKind) -> bytes:
    """The two bytes before the Yjs update in an update body."""
    return bytes((kind, KINDS[kind].version))
