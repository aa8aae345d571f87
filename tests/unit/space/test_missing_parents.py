"""Missing parents of control entries are known without a scan of all waiting entries, and are bounded."""

from __future__ import annotations

from crdt.space import graph as graphs
from crdt.space.control import ControlEntry, Parent, Set
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End
from identity.keys import SigningKey
from tests.support.streams import stream

RNG = stream("lacking")


class Every:
    """A lineage in which everything is proved and agrees."""

    def proved(self, core: bytes, end: End) -> bool:
        return True

    def agree(self, core: bytes, a: End, b: End) -> bool:
        return True


def waiting(writer: bytes, seq: int, parents: int) -> ControlEntry:
    named = tuple(sorted(Parent(RNG(32), 0, RNG(32)) for _ in range(parents)))
    return ControlEntry(RNG(32), writer, seq, RNG(32), seq + 1, named, (Set("title", b"x"),))


def test_entries_with_a_million_missing_parents_are_mostly_refused() -> None:
    graph = ControlGraph(bytes(32), Every())
    writer = SigningKey.generate(RNG).public
    some = waiting(writer, 0, 1024)
    for seq in range(1000):
        graph.add(ControlEntry(RNG(32), writer, seq, RNG(32), seq + 1, some.parents, some.ops))
    assert len(graph._waiting) == graphs.MAX_ABSENT // 1024
    assert len(graph.missing_cores()) == 1024 and graph.missing() == some.parents
    other = waiting(SigningKey.generate(RNG).public, 0, 3)
    graph.add(other)  # another feed still has its room
    assert {parent.core for parent in other.parents} <= set(graph.missing_cores())


def test_missing_cores_is_a_live_view_without_a_scan_of_waiting_entries() -> None:
    graph = ControlGraph(bytes(32), Every())
    view = graph.missing_cores()
    assert len(view) == 0
    entry = waiting(SigningKey.generate(RNG).public, 5, 100)
    graph.add(entry)
    assert len(view) == 100  # the same view follows: nothing is gathered again
    parent = entry.parents[0]
    graph.add(ControlEntry(parent.hash, RNG(32), 0, RNG(32), 1, (entry.parents[1],), (Set("title", b"x"),)))
    assert parent.core not in view and len(view) == 99


def test_parents_that_one_feed_made_up_keep_nobody_elses_from_being_asked_for() -> None:
    graph = ControlGraph(bytes(32), Every())
    liar, other = SigningKey.generate(RNG).public, SigningKey.generate(RNG).public
    for seq in range(5):
        graph.add(waiting(liar, seq, 700))
    true = waiting(other, 0, 3)
    graph.add(true)
    assert len(graph.missing()) == 3503 and set(true.parents) <= set(graph.sought())
    assert len(graph.sought()) <= 1024 + 3
    for parent in graph.sought()[:900]:  # what is answered makes room for the next
        graph.add(ControlEntry(parent.hash, RNG(32), parent.seq, RNG(32), 1, (), (Set("title", b"x"),)))
    assert len(graph.sought()) == 1024 + len(set(true.parents) & set(graph.missing()))
