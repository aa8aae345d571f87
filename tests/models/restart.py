"""A model of the restart of a group: who says it, who joins by himself, where people write afterwards.

Without formats and keys: groups are sets of people, a device is lost or not, and everybody who is awake hears all that
is said in the groups that he is in.  `Rules` are the switches: each rule can be taken away to see what it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

OLD = "old"


class Verdict(Enum):
    """What a member's app makes of a restart."""

    REFUSE = "refuse"
    ASK = "ask"
    JOIN = "join"


@dataclass(frozen=True)
class Rules:
    """word: the creator's devices have to be shown as out; rank: by who may; whole: nobody who stands is left out;
    standing: the restarter's device stands; named: a restart counts in the group that it names; new: the new group is
    none that I am in; fewest: people write where the fewest of those who said yes wait to be let in, of equal ones
    where the one who was in the old group first is the creator (without: where the id is lowest)."""

    word: bool = True
    rank: bool = True
    whole: bool = True
    standing: bool = True
    named: bool = True
    new: bool = True
    fewest: bool = True


@dataclass(frozen=True)
class Group:
    """rank of each member, in the order in which they came in; lost: members whose devices are all out."""

    ranks: Mapping[str, int]
    lost: frozenset[str] = frozenset()

    @property
    def creator(self) -> str:
        return next(who for who, rank in self.ranks.items() if rank == 0)

    def stands(self, who: str) -> bool:
        return who in self.ranks and who not in self.lost


@dataclass(frozen=True)
class Restart:
    """id: of the new group; said_in: the group in which it stands; of: the group that it names; silent: people whom its
    author never lets in, without a word."""

    id: str
    author: str
    said_in: str = OLD
    of: str = OLD
    without: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()


def judge(rules: Rules, group: Group, restart: Restart, mine: Iterable[str]) -> Verdict:
    """mine: ids of the groups that its reader is in."""
    if rules.named and restart.of != restart.said_in:
        return Verdict.REFUSE
    if rules.new and restart.id in mine:
        return Verdict.REFUSE
    if restart.author not in group.ranks or (rules.standing and not group.stands(restart.author)):
        return Verdict.REFUSE
    if rules.word and group.stands(group.creator):
        return Verdict.ASK
    above = any(rank < 2 and group.stands(who) for who, rank in group.ranks.items())
    if rules.rank and group.ranks[restart.author] == 2 and above:
        return Verdict.ASK
    if rules.whole and any(group.stands(who) for who in restart.without):
        return Verdict.ASK
    return Verdict.JOIN


@dataclass
class World:
    """groups: as they stand; said: every restart; hostile: people who do not do what these rules say (and join nothing
    that they did not say themselves); inside: group -> who is in it."""

    rules: Rules
    groups: dict[str, Group]
    hostile: frozenset[str] = frozenset()
    said: list[Restart] = field(default_factory=list)
    inside: dict[str, set[str]] = field(default_factory=dict)
    asked: dict[str, set[str]] = field(default_factory=dict)  # who -> restarts that he has to answer
    yes: dict[str, set[str]] = field(default_factory=dict)  # new group -> who said yes, for all in the old one to see

    def __post_init__(self) -> None:
        for id_, group in self.groups.items():
            self.inside.setdefault(id_, set(group.ranks))

    def restart(self, restart: Restart) -> None:
        """Its author founds the new group, with the roles of the old one, and says so."""
        old = self.groups[restart.said_in]
        self.said.append(restart)
        kept = {who: max(rank, 1) for who, rank in old.ranks.items() if who != restart.author}
        self.groups[restart.id] = Group({restart.author: 0} | kept, old.lost)
        self.inside[restart.id] = {restart.author}

    def lose(self, who: str) -> None:
        """All devices of somebody are out, by the word of the phrase, and everybody hears it."""
        self.groups = {id_: Group(g.ranks, g.lost | {who}) for id_, g in self.groups.items()}

    def recover(self, who: str) -> None:
        """He is back with a new device, which is let in as that of a member, while the old one stays out."""
        self.groups = {
            id_: Group({**g.ranks, f"{who} again": 2}, g.lost) for id_, g in self.groups.items() if who in g.ranks
        }
        for people in self.inside.values():
            if who in people and f"{who} again" not in people:
                people.add(f"{who} again")

    def wake(self, who: str) -> bool:
        """He hears what was said in his groups, and joins what he joins; whether anything came of it."""
        changed = False
        for one in self.said:
            mine = self.groups_of(who)
            if one.said_in not in mine or one.id in mine or who in self.hostile:
                continue
            verdict = judge(self.rules, self.groups[one.said_in], one, mine)
            if verdict is Verdict.ASK and one.id not in self.asked.setdefault(who, set()):
                self.asked[who].add(one.id)
                changed = True
            if verdict is Verdict.JOIN:
                self.yes.setdefault(one.id, set()).add(who)
            lets_in = self.groups[one.said_in].stands(who) and who not in one.without | one.silent
            if verdict is Verdict.JOIN and lets_in:
                self.inside[one.id].add(who)
                changed = True
        return changed

    def settle(self, order: Iterable[str]) -> None:
        names = list(order)
        while sum(self.wake(who) for who in names):
            pass

    def groups_of(self, who: str) -> set[str]:
        return {id_ for id_, people in self.inside.items() if who in people}

    def writes_in(self, who: str) -> str:
        """The group in which somebody's next message stands."""
        at, seen = OLD, {OLD}
        while True:
            mine = self.groups_of(who)
            ways = [one for one in self.said if one.of == at and one.id in mine - seen]
            if not ways:
                return at
            old = self.groups[at]
            if self.rules.fewest:
                fewest = min(self._waiting(one.id, old) for one in ways)
                ways = [one for one in ways if self._waiting(one.id, old) == fewest]
                first = min(list(old.ranks).index(one.author) for one in ways)
                ways = [one for one in ways if list(old.ranks).index(one.author) == first]
            at = min(one.id for one in ways)
            seen.add(at)

    def _waiting(self, id_: str, old: Group) -> int:
        return sum(old.stands(who) for who in self.yes.get(id_, set()) - self.inside[id_])
