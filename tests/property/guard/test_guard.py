"""The guard: admits what our documents make, refuses everything else, and its two paths agree."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crdt.docs.guard import Admit, Refuse, _one_put, examine, scan_puts
from crdt.docs.ids import client_id, document_key
from crdt.docs.kinds import KINDS, MAX_UPDATE, DocKind
from crdt.docs.rules import Rule
from crdt.docs.schema import dump_value, parse_value
from crdt.docs.update import make_update
from crdt.docs.yjs import encode_update, scan_update
from identity.errors import DecodeError
from tests.property.guard.hostile import HOSTILE, longest, nested_any
from tests.unit.docs.values import (
    CORE,
    OTHER,
    RawStruct,
    RawUpdate,
    chat_values,
    compact,
    ids,
    key,
    personal_values,
    string,
)

seqs = st.integers(0, 2**53 - 1)
kinds = st.sampled_from(list(DocKind))


@given(st.lists(chat_values, min_size=1, max_size=64), ids, seqs)
def test_every_update_of_a_chat_is_admitted(values: list[object], core: bytes, seq: int) -> None:
    admits(DocKind.CHAT, values, core, seq)


@given(st.lists(personal_values, min_size=1, max_size=64), ids, seqs)
def test_every_update_of_a_personal_space_is_admitted(values: list[object], core: bytes, seq: int) -> None:
    admits(DocKind.PERSONAL, values, core, seq)


def admits(kind: DocKind, values: list[object], core: bytes, seq: int) -> None:
    body = make_update(core, seq, kind, [dump_value(value) for value in values])  # type: ignore[arg-type]
    verdict = examine(body, core, seq, kind)
    assert isinstance(verdict, Admit)
    assert verdict.kind is kind
    assert [parse_value(kind, put.root, put.json) for put in verdict.puts] == values
    assert [put.key for put in verdict.puts] == [document_key(core, seq, place) for place in range(len(values))]
    assert encode_update(client_id(core, seq), verdict.puts) == body[2:], "our encoder gives pycrdt's bytes"


@given(st.lists(st.tuples(st.sampled_from(KINDS[DocKind.CHAT].roots), st.text()), min_size=1, max_size=8), ids, seqs)
@example([("messages", "x" * 127)], CORE, 7)
@example([("messages", "x" * 128)], CORE, 7)
@example([("messages", "x" * 16383)], CORE, 7)
@example([("messages", "x" * 16384)], CORE, 7)
@example([("messages", "x" * (MAX_UPDATE - 60))], CORE, 7)
@example([("messages", "")], CORE, 7)
def test_any_text_is_admitted_and_read_back_unchanged(values: list[tuple[str, str]], core: bytes, seq: int) -> None:
    body = make_update(core, seq, DocKind.CHAT, values)
    verdict = examine(body, core, seq)
    assert isinstance(verdict, Admit)
    assert [(put.root, put.json) for put in verdict.puts] == values
    assert scan_puts(body, DocKind.CHAT, core, seq) == verdict


@pytest.mark.parametrize("name", HOSTILE)
def test_each_hostile_update_is_refused_by_its_rule(name: str) -> None:
    body, rule = HOSTILE[name]
    assert examine(body, CORE, 7) == Refuse(rule)


def test_every_guard_rule_refuses_some_hostile_update() -> None:
    elsewhere = {Rule.PAGE}  # asked for with `expected`, below
    assert {rule for _, rule in HOSTILE.values()} | elsewhere == set(Rule)


def test_update_is_refused_at_another_position_or_for_another_document_kind() -> None:
    body = RawUpdate().encode()
    assert isinstance(examine(body, CORE, 7, DocKind.CHAT), Admit)
    assert examine(body, CORE, 8) == Refuse(Rule.CLIENT)
    assert examine(body, OTHER, 7) == Refuse(Rule.CLIENT)
    assert examine(body, CORE, 7, DocKind.PERSONAL) == Refuse(Rule.PAGE)


def test_the_longest_update_is_admitted() -> None:
    body = longest(MAX_UPDATE)
    assert len(body) == MAX_UPDATE + 2
    assert isinstance(examine(body, CORE, 7), Admit)
    assert len(longest(MAX_UPDATE + 1)) == len(body) + 1


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 200, 16_383, 16_384])
def test_every_truncated_update_is_refused(size: int) -> None:
    body = RawUpdate(structs=[RawStruct(key=key(7, 0), content=string("x" * size))]).encode()
    cuts = [*range(min(len(body), 80)), *range(max(len(body) - 80, 0), len(body))]
    assert {type(examine(body[:cut], CORE, 7)) for cut in cuts} == {Refuse}
    assert isinstance(examine(body, CORE, 7), Admit)


pieces = st.sampled_from(
    [
        b"\x00",
        b"\x01",
        b"\x02",
        b"\x28",
        b"\x77",
        b"\x80",
        b"\x81\x00",
        b"\xff",
        b"messages",
        b"/",
        key(7, 0),
        key(7, 1),
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An honest update with a few bytes changed, cut out or put in."""
    count = draw(st.integers(1, 3))
    size = draw(st.sampled_from([0, 1, 5, 126, 127, 128, 129, 300, 16382, 16383, 16384, 16385]))
    structs = [RawStruct(key=key(7, place), content=string("x" * size)) for place in range(count)]
    body = bytearray(RawUpdate(structs=structs).encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(body), 80)) | st.integers(0, len(body)))
        match draw(st.integers(0, 3)):
            case 0:
                body[at : at + 1] = bytes((draw(st.integers(0, 255)),))
            case 1:
                body[at:at] = draw(pieces)
            case 2:
                del body[at : at + draw(st.integers(1, 4))]
            case _:
                body[at : at + 1] = bytes(((body[at] if at < len(body) else 0) ^ 1 << draw(st.integers(0, 7)),))
    return bytes(body)


@given(damaged() | st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: RawUpdate(tail=tail).encode()))
@example(RawUpdate(structs=[RawStruct(key=key(7, 0), content=b"\x01\x77\x80\x80" + b"x" * 16384)]).encode())
@example(RawUpdate(structs=[RawStruct(key=key(7, 0), content=b"\x01\x77\xff\x00" + b"x" * 127)]).encode())
@example(RawUpdate(deletes=b"\x01").encode())
@example(RawUpdate(deletes=b"").encode())
@example(RawUpdate(structs=[RawStruct(key=key(7, 0), content=b"\x01\x77\x80\x80\x01" + b"x" * 16383)]).encode())
def test_admitted_bytes_equal_their_own_reencoding(body: bytes) -> None:
    verdict = examine(body, CORE, 7)
    if isinstance(verdict, Admit):
        assert encode_update(client_id(CORE, 7), verdict.puts) == body[2:]
        assert all(put.key == document_key(CORE, 7, place) for place, put in enumerate(verdict.puts))
        assert all(put.root in KINDS[verdict.kind].roots for put in verdict.puts)
    for kind in DocKind:
        if body[:2] == bytes((kind, 1)) and len(body) <= MAX_UPDATE + 2:
            full = scan_puts(body, kind, CORE, 7)
            assert verdict == full
            assert _one_put(body, kind, CORE, 7) in (None, full)


@given(st.binary(max_size=300))
def test_scanner_returns_puts_or_raises_its_one_error_for_any_bytes(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        scan_update(data)


@given(kinds, st.sampled_from([root for spec in KINDS.values() for root in spec.roots]), st.text() | st.binary())
def test_schema_returns_a_value_or_none_for_any_text(kind: DocKind, root: str, text: str | bytes) -> None:
    found = parse_value(kind, root, text if isinstance(text, str) else text.decode("latin-1"))
    assert found is None or dump_value(found) == (root, text)


@given(kinds, st.data())
def test_schema_accepts_only_the_canonical_text_of_a_value(kind: DocKind, data: st.DataObject) -> None:
    import json

    value = data.draw(chat_values if kind is DocKind.CHAT else personal_values)
    root, text = dump_value(value)
    assert parse_value(kind, root, text) == value
    loaded = json.loads(text)
    assert compact(loaded) == text, "it is the text of any compact JSON writer"
    for other in (
        json.dumps(loaded),
        " " + text,
        text + " ",
        compact(dict(reversed(loaded.items()))),
        compact(loaded | {"more": 1}),
        text[:-1] + "," + text[1:] if loaded else "[]",
    ):
        assert other == text or parse_value(kind, root, other) is None


def test_update_that_the_guard_refuses_crashes_an_unguarded_yjs_document() -> None:
    """In a process of its own: what the guard stops does end one that applies it."""
    script = "import sys; from pycrdt import Doc; Doc().apply_update(bytes.fromhex(sys.stdin.read()))"
    ended = subprocess.run(
        [sys.executable, "-c", script], input=nested_any(90_000)[2:].hex(), text=True, capture_output=True, check=False
    )
    assert ended.returncode < 0
