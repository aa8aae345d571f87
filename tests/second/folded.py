"""What a fold means to everybody else: section 11 of docs/protocol.md, "State" and "Later versions"; the usable epochs
of section 12."""

from __future__ import annotations

from dataclasses import dataclass

from tests.second.control import Close, Create, End, Epoch, Revoke, Unknown, Witness
from tests.second.fold import Fold
from tests.second.graph import Act
from tests.second.rights import DEVICES, MEMBERS
from tests.second.state import CREATOR, ORDINARY, State, settings_of


@dataclass(frozen=True, slots=True)
class Folded:
    """What a set of control entries says."""

    members: dict[bytes, tuple[bytes, int]]
    """By member: identity and rank."""
    writers: dict[bytes, tuple[bytes, bytes, End | None, bool]]
    """By W: member, device, end (None: open), and whether the device is out."""
    roster: dict[bytes, bytes]
    """Device ids by W."""
    people: dict[bytes, int]
    """The highest rank of each identity with an open writer."""
    title: str
    settings: dict[str, bytes]
    epochs: dict[bytes, tuple[dict[bytes, bytes], bool, bool]]
    """By id: roster, whether its past holds every close and revocation that counts, whether it is superseded."""
    counting: frozenset[tuple[bytes, int]]
    """(block hash, place) of every operation that counts."""
    stopped: bool
    witnessed: dict[bytes, frozenset[End]]
    """By W: ends that counting witnesses gave."""

    def usable(self) -> list[bytes]:
        """Epochs in use: nothing supersedes them, the roster is today's, every close and revocation is in the past."""
        return sorted(
            name
            for name, (roster, covers, superseded) in self.epochs.items()
            if covers and not superseded and roster == self.roster
        )


def folded(fold: Fold) -> Folded:
    """The state of the space."""
    state = fold.state(fold.counting)
    people: dict[bytes, int] = {}
    for member in state.members.values():
        if state.open_writers(member.id):
            people[member.identity] = min(member.rank, people.get(member.identity, member.rank))
    witnessed: dict[bytes, frozenset[End]] = {}
    for act in state.acts:
        if isinstance(act.op, Witness):
            witnessed[act.op.writer] = witnessed.get(act.op.writer, frozenset()) | {act.op.end}
    return Folded(
        {member.id: (member.identity, member.rank) for member in state.members.values()},
        {feed: (held.member, held.device, state.end(feed), state.out(feed)) for feed, held in state.writers.items()},
        roster_of(fold, state),
        people,
        title_of(state),
        settings_of(state.acts),
        epochs_of(state),
        frozenset(act.id for act in state.acts),
        any(stops(fold, act, state) for act in fold.acts),
        witnessed,
    )


def title_of(state: State) -> str:
    """The setting `title` where it was set, else what `create` says."""
    created = next((act.op.title for act in state.acts if isinstance(act.op, Create)), "")
    named = settings_of(state.acts).get("title")
    return created if named is None else named.decode("utf-8", "replace")


def epochs_of(state: State) -> dict[bytes, tuple[dict[bytes, bytes], bool, bool]]:
    """The epochs that count."""
    opened = [(act, act.op) for act in state.acts if isinstance(act.op, Epoch)]
    superseded = {name for _, op in opened for name in op.superseded}
    needed = sum(act.bit for act in state.acts if isinstance(act.op, Close | Revoke))
    return {
        act.entry.hash: (dict(op.roster), act.past & needed == needed, act.entry.hash in superseded)
        for act, op in opened
    }


def roster_of(fold: Fold, state: State) -> dict[bytes, bytes]:
    """Open writers of devices not out; places go to the creator and then to those that came first in order."""
    order = {act.bit: number for number, act in enumerate(fold.acts)}
    members = sorted(state.members.values(), key=lambda member: (member.rank != CREATOR, order[member.act.bit]))
    inside = [member for member in members if state.open_writers(member.id)][:MEMBERS]
    chosen: list[bytes] = []
    for member in inside:
        feeds = sorted(state.served(member.id), key=lambda feed: order[state.writers[feed].act.bit])
        chosen += feeds[:DEVICES]
    return {feed: state.writers[feed].device for feed in chosen}


def stops(fold: Fold, act: Act, state: State) -> bool:
    """Whether an operation is one of a later version that stops: odd, and of rank 0 or 1."""
    if not isinstance(act.op, Unknown) or act.op.code % 2 == 0 or not act.whole:
        return False
    past = fold.state(fold.counted(act.past))
    before, now = past.member_of(act.author), state.member_of(act.author)
    if before is None or now is None or before.rank == ORDINARY or not past.open(act.author):
        return False
    return now.rank <= before.rank and fold.lies(act, state.end(act.author))
