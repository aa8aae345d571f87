"""At which topics of the DHT this node is: whose, under which Z, announced or only looked up, and from when.

Every space with somebody to be missed is at the topic of its Z and the UTC day, and at the neighbour day's within 3 h
of midnight.  Under an earlier Z under which a listed device was last seen it only looks up: one that slept through a
removal is found there and gets its grants, and whoever was removed sees no announcement of ours.
`docs/protocol.md`, "Finding peers".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from math import inf

from crdt.space.epoch import z_check
from crdt.space.rendezvous import topics
from sync.engine.effects import JoinTopic, LeaveTopic
from sync.engine.profile import Profile
from sync.space.space import Space

YEAR_MS = 365 * 86_400_000
MAX_TOPICS = 256  # at once; the personal space first, then the spaces with the newest entries
LOOK = 300.0  # seconds after which it is worked out anew though nothing changed: the day goes on
LOOK_GAP = 1.0  # and least seconds between two times, however fast records come
FIRST_JITTER = 2.0  # seconds at most until a topic of a Z that was at none is joined
DAY_JITTER = 40 * 60.0  # and of another day or week: not all the world at one moment, and less than the 3 h overlap


@dataclass(frozen=True, slots=True)
class JoinedTopic:
    """What a topic is for.  local: the transport key that is announced, public."""

    space: bytes
    z: bytes = field(repr=False)
    announce: bool
    local: bytes


class Topics:
    """Keeps the node at the topics of its spaces; `at` is where it is."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.online = False
        self.at: dict[bytes, JoinedTopic] = {}
        self._wanted: dict[bytes, JoinedTopic] = {}
        self._due: dict[bytes, float] = {}  # topics at which something is to be changed, and when
        self._seen: object = None
        self._looked = float("-inf")
        self._look_at = float("-inf")

    def start(self) -> None:
        """The node is online, perhaps on another port: it is at no topic yet."""
        self.online = True
        self.at.clear()
        self._due.clear()
        self.look_again()

    def look_again(self) -> None:
        """The clock was set back, or what was known was read anew."""
        self._seen, self._looked, self._look_at = None, float("-inf"), float("-inf")
        self._due.clear()

    def wake(self, now: float) -> list[bytes]:
        """Joins and leaves what is due; returns the topics that were left."""
        if not self.online:
            return []
        seen = (self.profile.news, self.profile.directory.version)
        if seen != self._seen:
            self._look_at = min(self._look_at, self._looked + LOOK_GAP)
        if now >= self._look_at:
            self._seen, self._looked, self._look_at = seen, now, now + LOOK
            self._look(now)
        left = []
        for topic in [topic for topic, at in self._due.items() if at <= now]:
            del self._due[topic]
            place = self._wanted.get(topic)
            if place is not None:
                self.at[topic] = place
                self.profile.effects.append(JoinTopic(topic, self.profile.account.transport(now), place.announce))
            elif self.at.pop(topic, None) is not None:
                self.profile.effects.append(LeaveTopic(topic))
                left.append(topic)
        return left

    def next_wake(self) -> float:
        """Unix seconds at which `wake` is due; infinity while this node is not online."""
        return min([self._look_at, *self._due.values()]) if self.online else inf

    def _look(self, now: float) -> None:
        wanted = self._wanted = wanted_topics(self.profile, now)
        met = {place.z for place in self.at.values()}
        held = {place.z for place in wanted.values()}
        for topic in [*self._due]:
            if wanted.get(topic) == self.at.get(topic):
                del self._due[topic]
        for topic, place in wanted.items():
            if self.at.get(topic) != place:
                self._later(topic, now, DAY_JITTER if place.z in met else FIRST_JITTER)
        for topic, place in self.at.items():
            if topic not in wanted:
                # Another day's topic may go at leisure; that of a chat left, or of a contact blocked, goes at once.
                self._later(topic, now, DAY_JITTER if place.z in held else 0.0)

    def _later(self, topic: bytes, now: float, most: float) -> None:
        at = now + most * int.from_bytes(self.profile.rng(2), "little") / 65_535
        self._due[topic] = min(at, self._due.get(topic, at))


def wanted_topics(profile: Profile, now: float) -> dict[bytes, JoinedTopic]:
    """Topic -> what it is for, as of now; at most `MAX_TOPICS`."""
    local, now_ms = profile.account.transport(now).public, int(now * 1000)
    found: dict[bytes, JoinedTopic] = {}
    if profile.out:
        return found
    for space in sorted(profile.spaces.values(), key=lambda s: (not s.personal, -s.inbound.seen_stamp, s.id)):
        if not needs_discovery(profile, space):
            continue
        for z, announce in rendezvous_secrets(space, profile.account.device, now_ms):
            for topic in topics(z, now_ms):
                if len(found) >= MAX_TOPICS:
                    return found
                found[topic] = JoinedTopic(space.id, z, announce, local)
    return found


def needs_discovery(profile: Profile, space: Space) -> bool:
    """Whether there is anybody in the space whom this device should find by its topic."""
    account = profile.account
    if space.personal:
        return any(device.id != account.device for device in profile.directory.active(account.identity))
    chat = profile.view.chats.get(space.id)
    if chat is None or chat.state != "active" or chat.kind == "self":
        return False  # the chat with myself is between the devices of my personal space
    contact = profile.view.contacts.get(chat.peer) if chat.kind == "direct" and chat.peer is not None else None
    if contact is not None and contact.blocked:
        return False
    state = space.state
    if state.creator is None:
        return True  # nothing but its Z is known yet
    if space.mine is not None and space.mine.core in state.ends and not state.open(space.mine.core):
        return False
    return any(place.device != account.device for place in state.roster)


def somebody_missing(profile: Profile, space: Space, connected: Collection[bytes]) -> bool:
    """Whether somebody is to be found there: a listed device that is not connected, or whoever it may be while the
    space is not known yet."""
    me, directory = profile.account.device, profile.directory
    listed = {place.device for place in space.state.roster}
    if space.personal:
        listed |= {device.id for device in directory.active(profile.account.identity)}
    away = listed - {me, *connected}
    return space.state.creator is None or any(directory.is_active(device) for device in away)


def rendezvous_secrets(space: Space, me: bytes, now_ms: int) -> Iterator[tuple[bytes, bool]]:
    """(Z, whether to announce under it): the one in use, and the earlier ones worth a look."""
    if space.z is not None:
        yield space.z, True
    for z in earlier_secrets(space, me, now_ms):
        yield z, False


def earlier_secrets(space: Space, me: bytes, now_ms: int) -> list[bytes]:
    """Every earlier Z, newest first, from the one on under which some listed device was last seen; a year at most.

    The Z that come after it are looked up too: the device may have learned of one and told nobody here.
    """
    known = list(space.rendezvous[1:])
    if space.z is None or not known:
        return []
    order = {z_check(z): number for number, z in enumerate(known)}
    current, epochs = z_check(space.z), space.state.epochs.values()
    farthest = -1
    for core, device in space.members.rostered():
        if device == me:
            continue
        report = space.reports.get(core)
        if report is None:
            at = space.members.arrived.get(core)
            seen = {e.rendezvous for e in epochs if any(place.device == device for place in e.roster)}
        else:
            at = report.at
            seen = {e.rendezvous for e in epochs if e.id[:8] in report.epochs}
            if current in seen:
                continue
        if at is not None and now_ms - at <= YEAR_MS:
            farthest = max(farthest, min((order[check] for check in seen if check in order), default=-1))
    return known[: farthest + 1]
