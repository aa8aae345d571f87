"""npm yjs as the oracle: what the guard admits is one document in pycrdt and yjs, and an exported page opens there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Map

from crdt.docs.chat import Edit, Message, Reaction
from crdt.docs.facts import facts_of
from crdt.docs.guard import Admit, examine
from crdt.docs.ids import message_id
from crdt.docs.kinds import KINDS, DocKind
from crdt.docs.page import PageEntry, page_content
from crdt.docs.schema import Value, dump_value
from crdt.docs.timeline import Row, TimelinePolicy, fold_message
from crdt.docs.update import make_update
from tests.interop.yjs.oracle import Yjs, yjs
from tests.support.pages import build_page, export_page
from tests.unit.docs.values import CORE, OTHER, letters

CHAT_ROOTS = KINDS[DocKind.CHAT].roots
STAMP = 1_790_000_000_000 << 16


@pytest.fixture(scope="module")
def oracle() -> Iterator[Yjs]:
    with yjs() as process:
        yield process


kinds = st.sampled_from(list(DocKind))
texts = st.text(letters | st.just("\0"), max_size=40) | st.sampled_from(["", "\ufeff", "x" * 130, "漢" * 6000])


@st.composite
def pages(draw: st.DrawFn) -> tuple[DocKind, list[PageEntry]]:
    """Entries of up to three feeds, any seqs (so with holes), in any order."""
    kind = draw(kinds)
    puts = st.lists(st.tuples(st.sampled_from(KINDS[kind].roots), texts), min_size=1, max_size=5)
    cores = draw(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3, unique=True))
    places = draw(st.lists(st.tuples(st.sampled_from(cores), st.integers(0, 30)), min_size=1, max_size=25, unique=True))
    return kind, [PageEntry(core, seq, make_update(core, seq, kind, draw(puts))) for core, seq in places]


@given(page=pages())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_npm_yjs_builds_the_same_document_from_admitted_entries(
    oracle: Yjs, page: tuple[DocKind, list[PageEntry]]
) -> None:
    kind, entries = page
    roots = KINDS[kind].roots
    said: dict[str, dict[str, str]] = {}
    for entry in entries:
        verdict = examine(entry.body, entry.core, entry.seq, kind)
        assert isinstance(verdict, Admit)
        for put in verdict.puts:
            said.setdefault(put.root, {})[put.key] = put.json
    ours = build_page(entries, kind)
    one_by_one = oracle.open([entry.body[2:] for entry in entries], roots)
    exported = oracle.open([ours.get_update()], roots)
    back: Doc[Map[str]] = Doc()
    back.apply_update(one_by_one.update)
    assert page_content(ours, kind) == said
    assert one_by_one.content == said
    assert exported.content == said
    assert page_content(back, kind) == said
    assert not one_by_one.pending
    assert not exported.pending


def test_a_chat_page_opens_in_yjs_with_the_same_messages(oracle: Yjs) -> None:
    ada, ben = CORE, OTHER
    first, second, third = (message_id(ada, bytes([n]) * 16) for n in range(3))
    said: list[tuple[bytes, int, list[Value]]] = [
        (ada, 1, [Message(bytes(16), "on the train \N{STEAM LOCOMOTIVE}")]),
        (ada, 2, [Message(b"\x01" * 16, "a secret"), Message(b"\x02" * 16, "beside the secret")]),
        (ben, 4, [Message(b"\x03" * 16, "déjà vu, 漢字", reply_to=first), Reaction(first, "👍", True)]),
        (ada, 9, [Edit(first, "on the night train")]),
        (ada, 10, [Message(b"\x04" * 16, "gone as a whole")]),
    ]
    entries = [
        PageEntry(core, seq, make_update(core, seq, DocKind.CHAT, [dump_value(value) for value in values]))
        for core, seq, values in said
    ]

    def hides(core: bytes, seq: int, place: int) -> bool:
        return (core, seq, place) in ((ada, 2, 0), (ada, 10, 0))

    facts = []
    for entry in entries:
        verdict = examine(entry.body, entry.core, entry.seq)
        assert isinstance(verdict, Admit)
        found = facts_of(verdict, entry.core, entry.core, entry.seq, STAMP + entry.seq, 0)
        facts += [fact for fact in found if not hides(fact.core, fact.seq, fact.place)]
    rights = TimelinePolicy(member=lambda core: core, shows=lambda core, seq: True)
    ids = sorted({fact.message for fact in facts if fact.message is not None})
    rows = [fold_message(one, [fact for fact in facts if fact.message == one], rights) for one in ids]
    shown = {row.id: row.text for row in rows if isinstance(row, Row)}

    update, count = export_page(entries, hides=hides)
    opened = oracle.open([update], CHAT_ROOTS)
    assert not opened.pending
    messages = {key: json.loads(value) for key, value in opened.content["messages"].items()}
    edits = [json.loads(value) for value in opened.content["edits"].values()]
    assert count == len(messages) == len(shown) == 3
    texts = {value["text"] for value in messages.values()}
    assert texts == {"on the train \N{STEAM LOCOMOTIVE}", "beside the secret", "déjà vu, 漢字"}
    assert [edit["text"] for edit in edits] == ["on the night train"]
    assert shown[first] == "on the night train"
    assert set(shown.values()) == texts - {"on the train \N{STEAM LOCOMOTIVE}"} | {"on the night train"}
    assert third in shown and second not in shown
    assert b"a secret" not in update and b"gone as a whole" not in update
    assert b"a secret" not in opened.update, "nor is it in what yjs writes on"


def test_page_leaves_out_a_second_entry_of_one_client() -> None:
    """Two branches of a fork; the longer one would go on where the shorter ends."""
    values = [dump_value(Message(bytes([n]) * 16, f"message {n}")) for n in range(3)]
    twice = [PageEntry(CORE, 5, make_update(CORE, 5, DocKind.CHAT, said)) for said in (values[:1], values[1:])]
    pages = [page_content(build_page(order)) for order in (twice, twice[::-1])]
    assert pages[0] == pages[1]
    assert len(pages[0]["messages"]) == 1


def test_page_holds_nothing_of_an_entry_whose_values_are_all_deleted() -> None:
    entry = PageEntry(CORE, 5, make_update(CORE, 5, DocKind.CHAT, [dump_value(Message(bytes(16), "gone"))]))
    assert export_page([entry], hides=lambda core, seq, place: True) == export_page([])


def test_page_holds_only_entries_that_the_guard_admits() -> None:
    good = PageEntry(CORE, 1, make_update(CORE, 1, DocKind.CHAT, [dump_value(Message(bytes(16), "mine"))]))
    moved = PageEntry(CORE, 2, good.body)
    broken = PageEntry(CORE, 3, good.body + b"\0")
    personal = PageEntry(CORE, 4, make_update(CORE, 4, DocKind.PERSONAL, [("drafts", "{}")]))
    assert list(page_content(build_page([moved, broken, personal, good]))["messages"]) == list(
        page_content(build_page([good]))["messages"]
    )
