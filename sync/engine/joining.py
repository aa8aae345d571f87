"""Invites that this device answered and heard nothing of since: an offered space, and who offered it.

The answer (JOIN) names a feed of this device, so the feed is durable before it is sent; whether the inviter took it in
is not known until its DONE, or its entry that admits the feed, comes.  Until then there is no contact and no chat, and
after the invite's expiry the space goes.  `docs/protocol.md`, "Invite".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.invite import Person, encode_person, read_person
from sync.store.port import Batch, Store, Table, prefix_end

GRACE = 86_400  # seconds after the expiry of the invite: an answer given in time may arrive later
_PREFIX = b"joining/"


@dataclass(frozen=True, slots=True)
class Joining:
    """invite: I; until: Unix seconds from when nothing more is expected; person: the inviter's device that offered."""

    invite: bytes
    until: int
    person: Person


def put_joining(batch: Batch, space: bytes, joining: Joining) -> None:
    """Puts the row of an offered space: I (32) | until | person."""
    row = Writer().raw(joining.invite).uint(joining.until).raw(encode_person(joining.person)).finish()
    batch.put(Table.META, _PREFIX + space, row)


def drop_joining(batch: Batch, space: bytes) -> None:
    """It came to an end, this or that."""
    batch.delete(Table.META, _PREFIX + space)


def load_joinings(store: Store) -> Mapping[bytes, Joining]:
    """Space id -> what is waited for there."""
    found = {}
    for key, row in store.scan(Table.META, _PREFIX, prefix_end(_PREFIX)):
        data = Reader(row)
        try:
            found[key[len(_PREFIX) :]] = Joining(data.fixed(32), data.uint(), read_person(data))
        except DecodeError:
            continue
    return found
