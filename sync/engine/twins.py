"""Twins: several direct spaces of one pair of people, shown and used as one chat, under the id of the lowest.

Two people who invited each other apart, or one who comes back with a device that the other's old space cannot let in,
have several.  A message has one id in all of them, so copies are one row: that with the lowest key.
`docs/protocol.md`, "Twins".
"""

from __future__ import annotations

from collections.abc import Sequence

from crdt.docs.rows import Row
from sync.engine.profile import Profile
from sync.space import timeline
from sync.space.space import Space
from sync.store.port import Table

LOOKED_BACK = 200  # messages of one feed
Placed = tuple[Space, Row]


def twin_ids(profile: Profile, id_: bytes) -> list[bytes]:
    """Ids of all direct chats with the same person, ascending; of any other chat its own."""
    return profile.view.twins(id_)


def listed_id(profile: Profile, id_: bytes) -> bytes:
    """The chat in the list that a space is shown in."""
    return twin_ids(profile, id_)[0]


def twins_of(profile: Profile, space: Space) -> list[Space]:
    """The spaces that are shown as one chat with this one, by id."""
    ids = twin_ids(profile, space.id)
    return [profile.spaces[id_] for id_ in ids if id_ in profile.spaces] if len(ids) > 1 else [space]


def stands_first(profile: Profile, twins: Sequence[Space], space: Space, row: Row) -> bool:
    """Whether this copy of a message is the one that is shown."""
    others = [twin.id + row.id for twin in twins if twin is not space]
    mine = (row.key(), space.id)
    keys = profile.store.get_many(Table.MESSAGE, others) if others else []
    held = [(key, name[:32]) for key, name in zip(keys, others, strict=True) if key]
    return all(mine < other for other in held)


def copies_of(profile: Profile, twins: Sequence[Space], message: bytes) -> list[Placed]:
    """Every copy of a message, that which is shown first."""
    found = [(twin, row) for twin in twins if (row := timeline.find_row(profile.store, twin.id, message)) is not None]
    return sorted(found, key=lambda one: (one[1].key(), one[0].id))


def rows(
    profile: Profile,
    twins: Sequence[Space],
    limit: int,
    *,
    before: bytes | None = None,
    after: bytes | None = None,
) -> list[Placed]:
    """As `timeline.page`, over all twins: at most `limit` rows, copies that are not shown among them."""
    found = [
        (twin, row)
        for twin in twins
        for row in timeline.page(profile.store, twin.id, limit, before=before, after=after)
    ]
    if len(twins) > 1:
        found.sort(key=lambda one: (one[1].key(), one[0].id))
        found = found[:limit] if after is not None else found[-limit:]
    return found


def homes(profile: Profile, space: Space) -> list[Space]:
    """Where a message of this device is published: for each device of the chat that is not out the lowest twin in which
    it writes, of those in which this device does; never none where there is one."""
    mine = [twin for twin in twins_of(profile, space) if twin.may_write]
    if len(mine) < 2:
        return mine
    lowest: dict[bytes, Space] = {}
    for twin in mine:
        for device in sorted(twin.devices() - {profile.account.device}):
            lowest.setdefault(device, twin)
    chosen = {twin.id for twin in lowest.values()}
    return [twin for twin in mine if twin.id in chosen] or mine[:1]


def owed(profile: Profile, space: Space) -> list[tuple[Space, bytes, Space]]:
    """(where it stands, message id, where it is to be published) of messages of this device that some device of the
    chat cannot reach: they stand in no twin in which it writes.  Looks back over the last messages of each feed."""
    twins = [twin for twin in twins_of(profile, space) if twin.may_write]
    found: list[tuple[Space, bytes, Space]] = []
    for device in sorted({one for twin in twins for one in twin.devices()} - {profile.account.device}):
        reaches = [twin for twin in twins if device in twin.devices()]
        for twin in twins:
            if twin in reaches or twin.mine is None:
                continue
            for row in timeline.rows_of_feed(profile.store, twin.mine.number, newest=True, limit=LOOKED_BACK)[::-1]:
                there = profile.store.get_many(Table.MESSAGE, [one.id + row.message for one in reaches])
                wanted = (twin, row.message, reaches[0])
                if not row.deleted and not any(there) and wanted not in found:
                    found.append(wanted)
    return found
