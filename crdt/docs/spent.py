"""Which entries of the personal space say nothing any more: they can be erased, and every fold stays as it is.

An entry is spent when none of its values takes part in what counts.  A value that is replaced hides those of its own
feed before it, so it goes only together with them: of each register the values that are not replaced must be the same
ones before and after.  `docs/protocol.md`, "Spent values".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from crdt.docs.over import newest_of_feeds
from crdt.docs.own import Hidden, ReadMark
from crdt.docs.personal import OwnFact, registers_of, subject_of

Place = tuple[bytes, int]  # core, seq
Register = tuple[tuple[type[Any], tuple[Any, ...]], str]  # subject, name


def spent(facts: Iterable[OwnFact]) -> set[Place]:
    """(core, seq) of entries all of whose values are spent.  facts: all those that count."""
    registers: dict[Register, list[OwnFact]] = {}
    furthest: dict[tuple[type[Any], bytes, str], tuple[int, bytes, Place]] = {}
    live, every = set[Place](), set[Place]()
    for fact in facts:
        at, value = (fact.core, fact.seq), fact.value
        every.add(at)
        if isinstance(value, ReadMark | Hidden) and value.upto:
            for writer, seq in value.upto:  # the greatest counts, and of equals the first that said so
                held = furthest.get((type(value), value.space, writer))
                if held is None or (-seq, fact.order()) < (-held[0], held[1]):
                    furthest[type(value), value.space, writer] = seq, fact.order(), at
            continue
        for name in registers_of(value):
            registers.setdefault((subject_of(value), name), []).append(fact)
        if not registers_of(value):
            live.add(at)  # it names its subject, which is something
    live.update(at for _, _, at in furthest.values())
    counting = {register: _not_replaced(said) for register, said in registers.items()}
    live.update((core, seq) for left in counting.values() for core, seq, _ in left)
    gone = every - live
    while True:
        stays = set[Place]()
        for register, said in registers.items():
            rest = [fact for fact in said if (fact.core, fact.seq) not in gone]
            if len(rest) < len(said) and _not_replaced(rest) != counting[register]:
                stays.update((fact.core, fact.seq) for fact in said)
        if not stays & gone:
            return gone
        gone -= stays


def _not_replaced(said: Collection[OwnFact]) -> set[tuple[bytes, int, int]]:
    """(core, seq, place) of the values among which the sort key decides, as `over.counting` has them."""
    newest = newest_of_feeds(said).values()
    named = {id_ for fact in newest for id_ in getattr(fact.value, "over", ())}
    left = [fact for fact in newest if fact.id() not in named] if named else newest
    return {(fact.core, fact.seq, fact.place) for fact in left or newest}
