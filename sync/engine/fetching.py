"""Single blocks and proofs: which are lacking in each space, and whom to ask for them next.

A block is lacking where a control entry that is here names it as a parent, where a peer told of it as a control tip,
and where a peer kept it back and no deletion that counts says why.  A proof is lacking where a close names an end, or
an entry stands on a branch, that cannot be placed yet.  One peer is asked at a time; what it does not have, or does not
answer, is asked of the next, and of the same one again after a wait that doubles.  Of a control tip those alone are
asked who told of it: a liar's costs nobody else a question.  `docs/protocol.md`, "Single blocks".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf

from sync.engine.peer import Peer, SpaceLink
from sync.engine.profile import Profile
from sync.replicate.effects import Effect
from sync.replicate.messages import Point, Question, Stretch
from sync.space.space import Space

GRACE = 1.0  # seconds until what is lacking is asked for: most of it is on its way
PATIENCE = 8.0  # seconds that an answer is waited for before another peer is asked
AGAIN = 10.0  # seconds after which a peer that had nothing is asked again; doubles each time
MAX_AGAIN = 3600.0
MAX_LACKS = 16_384  # points that are remembered of one peer; all others share one wait
MAX_WITHHELD = 4096  # of one feed that are asked for at a time
MAX_TOLD = 4096  # control tips that are remembered of one peer

Lack = Point | Question | Stretch
Links = Mapping[bytes, Mapping[int, tuple[Peer, SpaceLink]]]
Perform = Callable[[Peer, SpaceLink, Iterable[Effect], float], None]


class Fetching:
    """links: space -> conn -> link; perform: carries effects of a link's replicator out."""

    def __init__(self, profile: Profile, links: Links, perform: Perform) -> None:
        self._profile, self._links, self._perform = profile, links, perform
        self._due: dict[bytes, float] = {}  # space -> Unix seconds when to look at it
        self._under_way: dict[bytes, dict[Lack, tuple[int, float]]] = {}  # space -> what -> conn, asked at
        self._here: dict[bytes, set[Lack]] = {}  # space -> points whose block is here, and does not open or help
        self.asked = 0  # points and questions, ever

    def look_at(self, space: bytes, now: float) -> None:
        """Something may be lacking there, or somebody else may have it."""
        self._due[space] = min(self._due.get(space, inf), now + GRACE)

    def next_wake(self) -> float:
        """Unix seconds at which `run` has something to do; infinity if nothing waits."""
        return min(self._due.values(), default=inf)

    def run(self, now: float) -> None:
        """Asks for what is lacking wherever it is time to."""
        for id_ in [id_ for id_, at in self._due.items() if at <= now]:
            del self._due[id_]
            space = self._profile.spaces.get(id_)
            if space is not None:
                self._ask(space, now)

    def told(self, link: SpaceLink, tips: Iterable[Point], now: float) -> None:
        """A peer told of control entries that nothing there builds upon yet."""
        fresh = [point for point in tips if point not in link.tips]
        link.tips.update(dict.fromkeys(fresh[: MAX_TOLD - len(link.tips)]))
        if fresh:
            self.look_at(link.space, now)

    def answered(self, link: SpaceLink, point: Lack, now: float) -> bool:
        """A peer answered, with what was asked for or without.  Returns whether it was asked for."""
        asked = self._under_way.get(link.space, {}).pop(point, None)
        again, wait = link.lacks.get(place := _place(link, point), (0.0, AGAIN / 2))
        if place or again <= now:  # those that share a wait were asked for together
            wait = min(2 * wait, MAX_AGAIN)
            link.lacks[place] = now + wait, wait
        self._due[link.space] = min(self._due.get(link.space, inf), now)
        return asked is not None

    def lost(self, link: SpaceLink, conn: int) -> None:
        """A link is gone: what it was asked for may be asked of others."""
        under_way = self._under_way.get(link.space, {})
        for point in [point for point, (asked, _) in under_way.items() if asked == conn]:
            del under_way[point]

    def _ask(self, space: Space, now: float) -> None:
        """One look at everything that is lacking in a space."""
        links = [
            (conn, peer, link)
            for conn, (peer, link) in self._links.get(space.id, {}).items()
            if link.replicator is not None and link.replicator.caught_up and not peer.closing
        ]
        before, under_way = self._under_way.pop(space.id, {}), dict[Lack, tuple[int, float]]()
        known, here = self._here.pop(space.id, set()), set[Lack]()
        asks: dict[int, list[Lack]] = {}
        due = inf
        for point, tellers in lacking(space, [link for _, _, link in links]):
            if point in known:
                here.add(point)
                continue
            asked, at = before.get(point, (-1, -inf))
            if now - at < PATIENCE:
                under_way[point] = asked, at
                due = min(due, at + PATIENCE)
                continue
            whom = links if tellers is None else [one for one in links if any(one[2] is teller for teller in tellers)]
            for conn, _, link in whom:
                again = link.lacks.get(_place(link, point), (0.0, 0.0))[0]
                if again > now or (conn == asked and len(whom) > 1):
                    due = min(due, max(again, now + PATIENCE))
                elif link.replicator is None or len(asks.get(conn, ())) >= link.replicator.room:
                    due = min(due, now + GRACE)
                elif len(point) == 3 and space.feed_store.block_of(point) is not None:
                    here.add(point)  # looked up when it would be asked for, and not at every look
                    break
                else:
                    asks.setdefault(conn, []).append(point)
                    under_way[point] = conn, now
                    due = min(due, now + PATIENCE)
                    break
        if here:
            self._here[space.id] = here
        if under_way:
            self._under_way[space.id] = under_way
        if due < inf:
            self._due[space.id] = max(due, now + GRACE)
        for conn, peer, link in links:
            points = asks.get(conn)
            if points and link.replicator is not None:
                self.asked += len(points)
                stretches = [
                    effect for s in points if isinstance(s, Stretch) for effect in link.replicator.want_stretch(s)
                ]
                blocks = link.replicator.fetch(point for point in points if len(point) == 3)
                proofs = link.replicator.want_proofs(
                    point for point in points if len(point) == 4 and not isinstance(point, Stretch)
                )
                self._perform(peer, link, [*blocks, *proofs, *stretches], now)


def _place(link: SpaceLink, point: Lack) -> Lack | tuple[()]:
    """Where it stands when a peer is asked again for a point."""
    return point if point in link.lacks or len(link.lacks) < MAX_LACKS else ()


def lacking(space: Space, links: Iterable[SpaceLink]) -> Iterator[tuple[Lack, Sequence[SpaceLink] | None]]:
    """What a peer may have: blocks by place and hash, and proofs of ends; with whom to ask for it, None for anybody."""
    for parent in space.members.missing():
        yield (parent.core, parent.seq, parent.hash), None
    told: dict[Point, list[SpaceLink]] = {}
    for link in links:
        for point in link.tips:
            told.setdefault(point, []).append(link)
    for point, tellers in told.items():
        if not space.members.names(point[2]):
            yield point, tellers
    for core, withheld in space.inbound.withheld.items():
        for seq, leaf in islice(withheld.items(), MAX_WITHHELD):
            yield (core, seq, leaf), None
    for question in space.members.questions():
        yield question, None
    for lack in space.feed_store.offshoots.lacking():
        yield lack, None
