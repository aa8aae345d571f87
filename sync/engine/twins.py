"""Twins: several spaces that are shown and used as one chat.

Two people who invited each other apart, or one who comes back with a device that the other's old space cannot let in,
have several direct spaces, shown under the lowest id.  A message has one id in all of them, so copies are one row: that
with the lowest key.  A group that was restarted and those that it goes on in are one chat under the id of the first; a
message stands in one of them.  `docs/protocol.md`, "Twins" and "Restart".
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from crdt.docs.chat import Answer, OfferedFeed
from crdt.docs.own import OwnChat
from crdt.docs.personal import PersonalView
from crdt.docs.rows import Row
from crdt.log.manifest import core_key
from crdt.space.consent import verify_consent
from crdt.space.control import Add, SpaceKind
from crdt.space.restart import meant
from sync.engine.profile import Profile
from sync.engine.talks import group_talks
from sync.space import timeline
from sync.space.space import Space
from sync.store.port import Table

LOOKED_BACK = 200  # messages of one feed
_restarted: WeakKeyDictionary[Profile, tuple[PersonalView, list[OwnChat]]] = WeakKeyDictionary()
Placed = tuple[Space, Row]


def twin_ids(profile: Profile, id_: bytes) -> list[bytes]:
    """Ids of all direct chats with the same person, ascending; of a group and those that it goes on in, the first one
    before the others; of any other chat its own."""
    chat = profile.view.chats.get(id_)
    return _line(profile, id_) if chat is not None and chat.kind == "group" else profile.view.twins(id_)


def _line(profile: Profile, id_: bytes) -> list[bytes]:
    before = _before(profile)
    if not before:
        return [id_]
    first = _first(before, id_)
    return [first, *sorted(one for one in before if one != first and _first(before, one) == first)]


def _before(profile: Profile) -> dict[bytes, bytes]:
    """Groups of mine that go on from another -> that one.  Whoever restarted is the creator of the new one, else they
    are two chats."""
    view, held = profile.view, _restarted.get(profile)
    if held is None or held[0] is not view:
        chats = [chat for chat in view.chats.values() if chat.old is not None and chat.kind == "group"]
        held = _restarted[profile] = view, [chat for chat in chats if chat.state not in ("invited", "declined")]
    found = {}
    for chat in held[1]:
        if chat.old is None:
            continue
        space = profile.spaces.get(chat.space)
        creator = space.state.creator if space is not None else None
        if space is None or creator is None or space.state.members[creator].identity == chat.peer:
            found[chat.space] = chat.old
    return found


def _first(before: dict[bytes, bytes], id_: bytes) -> bytes:
    seen = {id_}
    while (old := before.get(id_)) is not None and old not in seen:
        seen.add(old)
        id_ = old
    return id_


def current(profile: Profile, space: Space) -> Space:
    """The group in which a chat goes on: that in which this device writes, or wrote until it left.  Any other space is
    its own.

    Of two that go on from one it is that in which the fewest of those who said yes wait to be let in; of equal ones the
    one whose creator came into the old group first; else that with the lowest id.  So nobody gets it by choosing an
    id, or leaves somebody out of it without a word.
    """
    if space.kind is not SpaceKind.GROUP or not (before := _before(profile)):
        return space
    found = profile.spaces.get(_first(before, space.id), space)
    for _ in before:
        ways = [
            twin
            for id_, old in sorted(before.items())
            if old == found.id and (twin := profile.spaces.get(id_)) is not None and _came_in(twin)
        ]
        if not ways:
            break
        found = _preferred(profile, found, ways)
    return found


def _came_in(space: Space) -> bool:
    return space.mine is not None and space.mine.core in space.state.writers


def _preferred(profile: Profile, old: Space, ways: list[Space]) -> Space:
    if len(ways) == 1:
        return ways[0]
    waiting = {way.id: _waiting(profile, old, way) for way in ways}
    ways = [way for way in ways if waiting[way.id] == min(waiting.values())]
    came = {way.id: _came_with(profile, old, way) for way in ways}
    graph = old.graph
    for way in ways:
        mine = came[way.id]
        others = [other for id_, other in came.items() if id_ != way.id]
        if not any(graph.precedes(one, own) for one_of in others for one in one_of for own in mine):
            return way
    return ways[0]


def _waiting(profile: Profile, old: Space, way: Space) -> int:
    """How many people whom the restart means said yes in a way that its creator can use, and never came in."""
    talk = group_talks(profile, old).get(way.id)
    if talk is None:
        return 0
    ever = {member.identity for member in way.state.members.values()}
    found: set[bytes] = set()
    for (_, id_), (restart, _) in talk.restarts.items():
        people = meant(old.graph, restart.past, profile.is_out)
        for by, answer in {id(answer): (by, answer) for by, answer in talk.answers.get(id_, {}).values()}.values():
            member = old.state.members.get(by)
            if member is None or member.identity not in people or member.identity in ever | {*restart.without}:
                continue
            if any(_usable(way, member.identity, answer, feed) for feed in answer.feeds):
                found.add(member.identity)
    return len(found)


def _usable(way: Space, identity: bytes, answer: Answer, feed: OfferedFeed) -> bool:
    for consent in feed.consents:
        admitting = core_key(consent.admitting)
        add = Add(identity, feed.writer, feed.device, answer.statements, feed.prekey, consent.signature)
        if verify_consent(way.id, admitting, add) and way.graph.can(admitting, add):
            return True
    return False


def _came_with(profile: Profile, old: Space, way: Space) -> list[bytes]:
    """Ids of the members of the old group that are the new one's creator."""
    who = profile.view.chats[way.id].peer
    return [member.id for member in old.state.members.values() if member.identity == who]


def came_along(profile: Profile, space: Space, identity: bytes | None) -> bool:
    """Whether somebody was in the group that this one goes on from, was not left out, and did not go since: what was
    written before their device heard of it is theirs to read."""
    old = profile.spaces.get(_before(profile).get(space.id, b""))
    if old is None or identity not in old.state.people():
        return False
    talk, state = group_talks(profile, old).get(space.id), space.state
    if talk is not None and any(identity in restart.without for restart, _ in talk.restarts.values()):
        return False
    return all(state.active(member.id) for member in state.members.values() if member.identity == identity)


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
    """Where a message of this device is published.  Of a group: where it goes on.  Else, for each device of the chat
    that is not out, the lowest twin in which it writes, of those in which this device does; never none where there is
    one."""
    if space.kind is SpaceKind.GROUP:
        return [current(profile, space)]
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
