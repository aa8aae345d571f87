"""Proofs of ends: whatever lengths they join, they show true tree hashes, and nothing else passes for one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.log.head import sign_head
from crdt.log.merkle import leaf_of
from crdt.space.lineage import End, FeedLineage, Prefixes
from sync.replicate.messages import Proof
from sync.replicate.proof import ends_of
from tests.unit.replicate.nodes import Feed, writer_key

KEY = writer_key("Ada")


def feed(*blocks: bytes) -> Feed:
    made = Feed()
    made.extend(blocks, [leaf_of(block) for block in blocks])
    made.head = sign_head(KEY, made.tree)
    return made


LONG = feed(*(b"%d" % n for n in range(100)))


def cut(length: int) -> Feed:
    return feed(*(b"%d" % n for n in range(length)))


@st.composite
def lengths(draw: st.DrawFn) -> tuple[int, int, int]:
    """(at, length, head), ascending."""
    end = draw(st.integers(1, 100))
    length = draw(st.integers(1, end))
    return draw(st.integers(0, length)), length, end


@given(lengths())
def test_proof_shows_the_tree_hashes_of_its_branch(places: tuple[int, int, int]) -> None:
    at, length, end = places
    held = cut(end)
    assert held.head is not None
    found = ends_of(held.head.core, length, held.root(length), held.proof(length, at))
    assert found is not None
    assert all(root == LONG.root(reached) for reached, root in found)
    assert {at, length, end} - {0} <= {reached for reached, _ in found}


@settings(max_examples=300)
@given(lengths(), st.integers(0, 200), st.binary(min_size=32, max_size=32))
def test_altered_proof_shows_nothing(places: tuple[int, int, int], which: int, hash_: bytes) -> None:
    at, length, end = places
    held = cut(end)
    assert held.head is not None
    proof = held.proof(length, at)
    parts = [list(proof.roots), list(proof.middle), list(proof.tail)]
    part = parts[which % 3]
    if not part:
        return
    place = which // 3 % len(part)
    part[place] = (part[place][0], hash_) if which % 2 else (part[place][0] + 1, part[place][1])
    altered = Proof(proof.head, proof.at, *map(tuple, parts))
    assert ends_of(held.head.core, length, held.root(length), altered) is None
    assert ends_of(held.head.core, length, None, altered) is None
    assert ends_of(held.head.core, length, held.root(length), replace(proof, at=at + 1)) is None


class Held:
    """One branch, held as far as its head."""

    def __init__(self, held: Feed) -> None:
        self.held = held

    def root_at(self, length: int) -> bytes | None:
        return self.held.root(length) if length <= self.held.tree.length else None


@settings(max_examples=300)
@given(
    st.integers(0, 20),
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 20)), min_size=1, max_size=4),
    st.integers(1, 20),
)
def test_lineage_out_of_proofs_never_errs_and_is_settled_by_asking(
    fork: int, ends: list[tuple[int, int]], kept: int
) -> None:
    """Two branches part at `fork`; one is held as far as `kept`, of the other there are proofs alone."""
    branches = [feed(*(b"%d" % n if n < fork else b"%d of %d" % (n, side) for n in range(24))) for side in range(2)]
    core = branches[0].head.core if branches[0].head is not None else b""
    held = feed(*(b"%d" % n if n < fork else b"%d of 0" % n for n in range(kept)))
    prefixes = Prefixes()
    lineage = FeedLineage(lambda core: [Held(held)], prefixes)

    def learn(side: int, length: int, at: int) -> None:
        branch = branches[side]
        found = ends_of(core, length, branch.root(length), branch.proof(length, at))
        assert found is not None
        chain = [End(*end) for end in found]
        prefixes.learn(core, chain, [end for end in chain if end.length == length])

    for side, length in ends:
        learn(side, length, min(kept, length))
    places = [(side, length, End(length, branches[side].root(length))) for side, length in ends]
    for side, length, end in places:
        for other, place, against in places:
            truth = side == other or min(length, place) <= fork
            found = lineage.agree(core, end, against)
            assert found in (None, truth)
            if found is None:
                longer, branch = max((length, side), (place, other))
                learn(branch, longer, min(length, place))
                assert lineage.agree(core, end, against) is truth
