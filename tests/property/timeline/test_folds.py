"""Folds: the result does not depend on the order of facts, and no writer changes rows of another."""

from __future__ import annotations

import contextlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from crdt.docs import own
from crdt.docs.chat import Answer, Decline, MemberProfile, Offer
from crdt.docs.facts import Fact, decode_fact
from crdt.docs.ids import SORT_KEY_BYTES, sort_key, split_sort_key
from crdt.docs.kinds import DocKind
from crdt.docs.personal import OwnFact, Personal, decode_own_fact, fold_personal
from crdt.docs.rows import decode_row
from crdt.docs.schema import dump_value
from crdt.docs.timeline import Row, TimelinePolicy, fold_message, fold_offers, fold_profiles, fold_receipts
from identity.errors import DecodeError
from tests.property.timeline.worlds import (
    ADMIN,
    AUTHOR_CORE,
    BEN,
    IDS,
    MEMBERS,
    PHONE,
    STRANGER,
    Entry,
    Store,
    may_delete,
    read,
    without_reactions,
    worlds,
)
from tests.unit.docs import values

ALL = TimelinePolicy(MEMBERS.get, lambda core, seq: True, may_delete)


@given(worlds(), st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=6))
def test_rows_are_equal_for_any_order_repetition_and_split(world: list[Entry], random, cuts: list[int]) -> None:  # type: ignore[no-untyped-def]
    facts = [fact for entry in world for fact in entry.facts()]
    mixed = facts + [fact for fact in facts if random.random() < 0.3]
    random.shuffle(mixed)
    store = Store()
    bounds = [0, *sorted(cuts), len(mixed)]
    for start, end in itertools.pairwise(bounds):
        store.add(mixed[start:end])
    expected = read(world)
    assert store.read() == expected
    assert fold_receipts(mixed, ALL) == fold_receipts(facts, ALL)
    folded = [fold_message(one, [fact for fact in mixed if fact.message == one], store.policy()) for one in IDS]
    assert sorted((row for row in folded if row is not None), key=Row.key) == expected
    assert {row.id for row in expected} == {
        fact.message for fact in facts if fact.kind == 0 and MEMBERS.get(fact.core) is not None
    }
    assert [row.key() for row in expected] == sorted(row.key() for row in expected)


@given(worlds(), st.sets(st.tuples(st.sampled_from(list(AUTHOR_CORE)), st.integers(0, 6)), max_size=8))
def test_entry_beyond_a_closed_end_counts_as_never_written(world: list[Entry], beyond: set[tuple[bytes, int]]) -> None:
    def shows(core: bytes, seq: int) -> bool:
        return (core, seq) not in beyond

    store = Store()
    store.add([fact for entry in world for fact in entry.facts()])
    store.shows = shows  # a close arrives after everything
    store.fold_all()
    assert store.read() == read([entry for entry in world if shows(entry.core, entry.seq)])


@given(worlds())
def test_plain_member_changes_only_reactions_of_other_members_rows(world: list[Entry]) -> None:
    def others(rows: list) -> list:  # type: ignore[type-arg]
        return without_reactions(row for row in rows if row.member != MEMBERS[BEN])

    assert others(read(world)) == others(read([entry for entry in world if entry.core != BEN]))


@given(worlds())
def test_entries_of_a_non_member_change_no_row(world: list[Entry]) -> None:
    assert read(world) == read([entry for entry in world if entry.core != STRANGER])


@given(worlds())
def test_deleted_row_is_empty_and_erasing_its_bytes_changes_no_row(world: list[Entry]) -> None:
    """Clearing the bytes of what is deleted changes no row."""
    rows = read(world)
    gone = {row.id for row in rows if row.deleted}
    assert all(not row.text and not row.marked and row.source is None for row in rows if row.deleted)
    facts = [fact for entry in world for fact in entry.facts()]
    store = Store()
    store.add([fact.erased() if fact.kind < 3 and fact.message in gone else fact for fact in facts])
    assert store.read() == rows


@given(worlds())
def test_entries_of_a_writer_move_no_row_of_others(world: list[Entry]) -> None:
    """Row keys of the others stay, whatever the admin does but with the same messages there."""
    keys = {row.key() for row in read([entry for entry in world if entry.core != ADMIN])}
    assert keys <= {row.key() for row in read(world)}


@given(worlds())
def test_stored_facts_and_rows_decode_to_what_was_encoded(world: list[Entry]) -> None:
    facts = [fact for entry in world for fact in entry.facts()]
    assert [decode_fact(fact.key(), fact.encode()) for fact in facts] == facts
    erased = [fact.erased() for fact in facts if fact.kind < 3]
    assert [decode_fact(fact.key(), fact.encode()) for fact in erased] == erased
    rows = read(world)
    assert [decode_row(row.key(), row.encode()) for row in rows] == rows


stamps = st.integers(0, 2**64 - 1)


@given(stamps, stamps, values.ids, values.ids, values.seqs, values.seqs)
def test_sort_keys_order_by_stamp_then_writer_then_seq(a: int, b: int, one: bytes, two: bytes, m: int, n: int) -> None:
    first, second = sort_key(a, one, m), sort_key(b, two, n)
    assert len(first) == SORT_KEY_BYTES
    assert (first < second) == (split_sort_key(first) < split_sort_key(second))


spaces = st.sampled_from([bytes([n]) * 32 for n in range(2)])
offers = st.sampled_from([bytes([n]) * 16 for n in range(2)])
few_offers = st.one_of(
    st.builds(Offer, spaces, spaces, st.sampled_from(["a", "b"]), offers),
    st.builds(Decline, spaces, offers),
    st.builds(Answer, spaces, values.statements, st.lists(values.feeds, min_size=1, max_size=1).map(tuple), offers),
    st.builds(MemberProfile, st.sampled_from(["a", "b"])),
)
chat_facts = st.lists(
    st.tuples(few_offers | values.chat_values, st.sampled_from([PHONE, BEN]), st.integers(0, 3)), max_size=12
)


@given(chat_facts, st.randoms(use_true_random=False))
def test_receipts_profiles_and_offers_fold_in_any_order(said: list, random) -> None:  # type: ignore[type-arg, no-untyped-def]
    facts = [
        fact for seq, (value, core, step) in enumerate(said) for fact in Entry(core, seq, step << 16, (value,)).facts()
    ]
    mixed = facts + facts[:3]
    random.shuffle(mixed)
    assert fold_receipts(mixed, ALL) == fold_receipts(facts, ALL)
    assert fold_profiles(mixed, ALL) == fold_profiles(facts, ALL)
    assert fold_offers(mixed, ALL) == fold_offers(facts, ALL)
    assert [decode_fact(fact.key(), fact.encode()) for fact in facts] == facts


few = st.sampled_from([bytes([n]) * 32 for n in range(2)])
names = st.sampled_from(["", "a", "b"])


@st.composite
def own_facts(draw: st.DrawFn) -> list[OwnFact]:
    """Patches of a few subjects by three devices."""
    subjects = st.one_of(
        st.builds(own.OwnContact, few, values.flags, st.none() | names, blocked=values.flags),
        st.builds(own.OwnChat, few, values.flags, title=st.none() | names),
        st.builds(own.OwnProfile, st.none() | st.just("a") | st.just("b"), st.none() | names),
        st.builds(own.Setting, st.just("theme"), names),
        st.builds(own.ReadMark, few, values.frontiers),
        st.builds(own.OwnDraft, few, names),
        st.builds(own.OwnWriter, few, few, values.flags),
        st.builds(own.DeviceName, few, st.just("a") | st.just("b")),
        st.builds(own.Hidden, few, few, values.flags),
        st.builds(own.Hidden, few, upto=values.frontiers),
        values.personal_values,
    )
    facts = []
    for core in (bytes([n]) * 32 for n in range(3)):
        for seq, value in enumerate(draw(st.lists(subjects, max_size=6))):
            root, text = dump_value(value)
            facts.append(OwnFact(root, core, seq, 0, (seq + 1) << 16, value, text.encode()))
    return facts


@given(own_facts(), st.randoms(use_true_random=False), st.sets(st.integers(0, 5)))
def test_personal_space_is_equal_for_any_order_of_facts(facts: list[OwnFact], random, beyond: set[int]) -> None:  # type: ignore[no-untyped-def]
    def shows(core: bytes, seq: int) -> bool:
        return seq not in beyond

    mixed = facts + facts[:4]
    random.shuffle(mixed)
    expected = fold_personal(facts, shows)
    assert fold_personal(mixed, shows) == expected
    assert fold_personal([fact for fact in facts if fact.seq not in beyond], lambda core, seq: True) == expected
    stored = [decode_own_fact(fact.key(), fact.encode()) for fact in mixed]
    assert stored == mixed
    personal = Personal(shows)
    for fact in facts:
        personal.add(fact)
    assert not any(personal.add(fact) for fact in facts), "a second time nothing is new"


@given(st.binary(max_size=120), st.binary(max_size=120))
def test_any_stored_bytes_decode_or_raise_decode_error(key: bytes, stored: bytes) -> None:
    for decode in (decode_fact, decode_row, decode_own_fact):
        with contextlib.suppress(DecodeError):
            decode(key, stored)


@given(st.binary(max_size=60), st.integers(0, 8), values.ids)
def test_damaged_facts_and_rows_decode_or_raise_decode_error(junk: bytes, kind: int, one: bytes) -> None:
    tail = bytes((kind,)) + one + bytes(10)
    for key in (b"\x01" + one + tail, b"\x02" + one + bytes(8) + tail, b"\x03" + tail):
        try:
            found: Fact = decode_fact(key, bytes(16) + junk)
            assert found.encode() == bytes(16) + junk
        except DecodeError:
            pass
    with contextlib.suppress(DecodeError):
        decode_row(bytes(35) + one, bytes(88) + bytes((kind * 8,)) + junk)


def test_document_kind_numbers_are_fixed() -> None:
    assert [kind.value for kind in DocKind] == [1, 2]
