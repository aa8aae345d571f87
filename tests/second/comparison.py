"""Both folds over one history, and what they say differently."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from crdt.log.manifest import core_key
from crdt.space.control import ControlEntry, decode_control
from crdt.space.epoch import usable
from crdt.space.graph import ControlGraph
from crdt.space.membership import SpaceState
from tests.second.fold import Fold
from tests.second.folded import folded
from tests.second.graph import Branches, Placed
from tests.second.random_space import RandomSpace
from tests.second.reading import read_branches
from tests.second.rules import AS_WRITTEN, Rules


def production(world: RandomSpace, entries: list[Placed], rng: random.Random) -> tuple[ControlGraph, SpaceState]:
    """Production's fold: it decodes the bodies itself, entries arrive in any order, and it is asked in between."""
    graph = world.graph()
    order = list(entries)
    rng.shuffle(order)
    for one in order:
        body = decode_control(one.body.encoded())
        if rng.random() < 0.1:
            graph.state()
        graph.add(ControlEntry(one.hash, one.writer, one.seq, one.end.tree, one.stamp, body.parents, body.ops))
    return graph, graph.state()


def differences(world: RandomSpace, entries: list[Placed], branches: Branches, rules: Rules = AS_WRITTEN) -> list[Any]:
    """Everything that the two folds of these entries say differently."""
    graph, theirs = production(world, entries, random.Random(world.seed))
    fold = Fold(world.space, entries, branches, rules)
    mine = folded(fold)
    core = {writer: core_key(writer) for writer in mine.writers}
    pairs: dict[str, tuple[Any, Any]] = {
        "complete": (set(fold.entries), {entry.id for entry in graph.entries()}),
        "counting": (mine.counting, theirs.counted),
        "members": (mine.members, {m.id: (m.identity, m.rank) for m in theirs.members.values()}),
        "writers": (
            {core[w]: (member, device, end is None, out) for w, (member, device, end, out) in mine.writers.items()},
            {w.core: (w.member, w.device, w.open, w.out) for w in theirs.writers.values()},
        ),
        "ends": (
            {core[w]: (end.length, end.tree) for w, (_, _, end, _) in mine.writers.items() if end is not None},
            {name: tuple(end) for name, end in theirs.ends.items() if name in set(core.values())},
        ),
        "roster": (mine.roster, dict(theirs.roster)),
        "people": (mine.people, {i: members[0].rank for i, members in theirs.people().items()}),
        "settings": (mine.settings, dict(theirs.settings)),
        "epochs": (
            mine.epochs,
            {e.id: (dict(e.roster), e.covers, e.superseded) for e in theirs.epochs.values()},
        ),
        "witnessed": (
            {core_key(w): {(end.length, end.tree) for end in ends} for w, ends in mine.witnessed.items()},
            {name: {tuple(end) for end in ends} for name, ends in theirs.witnessed.items()},
        ),
        "title": (mine.title, theirs.title),
        # Where no creator is known a space is of no kind.
        "kind": (fold.kind if mine.members else theirs.kind, theirs.kind),
        "stopped": (mine.stopped, theirs.stopped),
    }
    for writer in mine.roster:
        pairs["epoch of " + writer.hex()[:8]] = min(mine.usable(), default=None), usable(theirs, core_key(writer))
    return [(name, a, b) for name, (a, b) in pairs.items() if a != b]


def compare(seed: int, rules: Rules = AS_WRITTEN) -> list[Any]:
    """What the two folds of a random history say differently."""
    return compare_world(RandomSpace(seed).live(), rules)


def compare_world(world: RandomSpace, rules: Rules = AS_WRITTEN) -> list[Any]:
    """What the two folds of all that was written in a space say differently."""
    entries, branches = read_branches(world.space, world.branches())
    return differences(world, entries, branches, rules)


def compare_parts(seed: int, seats: int = 4) -> list[Any]:
    """What the two folds of what some devices hold, each for itself, say differently."""
    world = RandomSpace(seed).live()
    entries, branches = read_branches(world.space, world.branches())
    parts = [[entry for entry in entries if entry.hash in seat.held] for seat in world.seats[:seats]]
    return [one for part in parts if part for one in differences(world, part, branches)]


def tally(seed: int) -> Counter[tuple[str, bool]]:
    """How often each operation counted and did not, and what became of feeds, devices and the space."""
    world = RandomSpace(seed).live()
    entries, branches = read_branches(world.space, world.branches())
    fold = Fold(world.space, entries, branches)
    mine = folded(fold)
    seen = Counter((type(act.op).__name__, bool(act.bit & fold.counting)) for act in fold.acts)
    seen["closed", True] += sum(end is not None for _, _, end, _ in mine.writers.values())
    seen["out", True] += sum(out for _, _, _, out in mine.writers.values())
    seen["forked", True] += sum(len(lines) > 1 for lines in branches.held.values())
    seen["stopped", True] += mine.stopped
    return seen
