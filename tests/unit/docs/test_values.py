"""Bounds of values, ids and updates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crdt.docs import chat
from crdt.docs.chat import Decline, Edit, File, MemberProfile, Message, Reaction, Receipt
from crdt.docs.ids import client_id, document_key, writer_id
from crdt.docs.kinds import DocKind
from crdt.docs.own import Hidden, OwnContact, OwnDraft, ReadMark
from crdt.docs.schema import dump_value, parse_value
from crdt.docs.update import make_update
from crdt.docs.yjs import client_bytes, varuint
from tests.unit.docs.values import CORE, compact

NONCE = bytes(16)
MESSAGE = Message(NONCE, "hello")
N = '"nonce":"AAAAAAAAAAAAAAAAAAAAAA"'
ID = '"id":"' + "A" * 43 + '"'


@pytest.mark.parametrize(
    "value",
    [
        Message(NONCE, ""),
        Message(NONCE[:15], "a"),
        Message(NONCE, "a\0b"),
        Message(NONCE, "\ud800"),
        Message(NONCE, "x" * 65_537),
        Message(NONCE, "é" * 32_769),
        replace(MESSAGE, lifetime=0),
        replace(MESSAGE, at=-1),
        replace(MESSAGE, at=253_402_300_800_000),
        replace(MESSAGE, source=""),
        replace(MESSAGE, reply_to=bytes(31)),
        replace(MESSAGE, files=(File("a", 2**53, bytes(32), bytes(32)),)),
        replace(MESSAGE, files=(File("a", 1, bytes(32), bytes(32)),) * 17),
        Edit(bytes(32), ""),
        Reaction(bytes(32), "x" * 65, True),
        Receipt(()),
        Receipt((("B" * 16, 1), ("A" * 16, 1))),
        Receipt((("A" * 16, 1), ("A" * 16, 2))),
        Receipt((("a" * 16, 1),)),
        MemberProfile(""),
        Decline(b"", bytes(16)),
        Decline(bytes(32), bytes(15)),
        OwnContact(bytes(31)),
        OwnDraft(bytes(32), "x" * 65_537),
        ReadMark(bytes(32), ()),
        ReadMark(bytes(32), (("A" * 16, -1),)),
        Hidden(bytes(32), on=True),
        Hidden(bytes(32), bytes(32), upto=(("A" * 16, 1),)),
        Edit(bytes(32), "a", (bytes(15),)),
        Edit(bytes(32), "a", (bytes(16), bytes(16))),
        Edit(bytes(32), "a", tuple(number.to_bytes(16, "big") for number in range(65))),
    ],
)
def test_value_out_of_bounds_is_refused_when_written(value: Any) -> None:
    with pytest.raises(ValueError):
        dump_value(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "{" + N + "}",
        "{" + N + ',"text":""}',
        "{" + N + ',"text":null}',
        "{" + N + ',"text":5}',
        "{" + N + ',"text":"a","text":"b"}',
        "{" + N + ',"text":"a","reply":null}',
        "{" + N + ',"text":"a","at":1.0}',
        "{" + N + ',"text":"a","at":1e3}',
        "{" + N + ',"text":"a","at":-0}',
        "{" + N + ',"text":"a","at":true}',
        "{" + N + ',"text":"a","at":' + "9" * 5000 + "}",
        "{" + N + ',"text":"a","at":NaN}',
        "{" + N + ',"text":"a","files":[]}',
        "{" + N + ',"text":"\\ud83d\\ude00"}',
        "{" + N + ',"text":"\\ud800"}',
        "{" + N + ',"text":"a\\u0000b"}',
        "{" + N + ',"text":"\\u0061"}',
        "{" + N + ',"text":"\\/"}',
        "{" + N.replace("A", "B", 1) + ',"text":"a"}'[:-1],
        '{"nonce":"AAAAAAAAAAAAAAAAAAAAAB","text":"a"}',
        '{"nonce":"AAAAAAAAAAAAAAAAAAAAAA==","text":"a"}',
        '{"nonce":"AAAAAAAAAAA AAAAAAAAAAA","text":"a"}',
        '{"nonce":"AAAAAAAAAAAAAAAAAAAAAé","text":"a"}',
        "[" * 100_000,
        '{"a":' * 50_000,
    ],
)
def test_noncanonical_text_is_not_read_as_a_message(text: str) -> None:
    assert parse_value(DocKind.CHAT, "messages", text) is None


def test_message_with_one_optional_member_more_is_read_as_it_is_known() -> None:
    for more in ('[[5,"AAEC"]]', '[[0,""],[300,"AAEC"],[9007199254740991,"/w"]]'):
        text = "{" + N + ',"text":"hello","ext":' + more + "}"
        assert parse_value(DocKind.CHAT, "messages", text) == MESSAGE
    assert chat.MESSAGE.text(MESSAGE, ((5, b"\0\1\2"),)) == "{" + N + ',"text":"hello","ext":[[5,"AAEC"]]}'
    decline = '{"decline":"' + "A" * 43 + '","id":"' + "A" * 22 + '","ext":[[5,"AAEC"]]}'
    assert parse_value(DocKind.CHAT, "offers", decline) == Decline(bytes(32), NONCE)
    contact = "{" + ID + ',"blocked":true,"ext":[[5,"AAEC"]]}'
    assert parse_value(DocKind.PERSONAL, "contacts", contact) == OwnContact(bytes(32), blocked=True)


@pytest.mark.parametrize(
    "more",
    [
        "[]",
        "{}",
        "null",
        '[[5,"AAEC"],[5,"AAEC"]]',
        '[[6,"AAEC"],[5,"AAEC"]]',
        '[[-1,"AAEC"]]',
        '[[5.0,"AAEC"]]',
        '[["5","AAEC"]]',
        '[[5,"AAED="]]',
        '[[5,"' + "A" * 5464 + '"]]',
        "[" + ",".join(f'[{kind},""]' for kind in range(17)) + "]",
        "[" * 50_000,
    ],
)
def test_list_of_extensions_of_another_form_is_refused(more: str) -> None:
    assert parse_value(DocKind.CHAT, "messages", "{" + N + ',"text":"hello","ext":' + more + "}") is None


def test_extensions_stand_last_and_once() -> None:
    for text in (
        "{" + N + ',"ext":[[5,""]],"text":"hello"}',
        "{" + N + ',"text":"hello","ext":[[5,""]],"life":5}',
        '{"ext":[[5,""]]}',
    ):
        assert parse_value(DocKind.CHAT, "messages", text) is None


def test_message_has_exactly_one_text_form() -> None:
    text = "{" + N + ',"text":"a\\n\\"\\u001b[0m\U0001f600\u2028","at":5,"from":"ana"}'
    value = Message(NONCE, 'a\n"\x1b[0m\U0001f600\u2028', at=5, source="ana")
    assert dump_value(value) == ("messages", text)
    assert parse_value(DocKind.CHAT, "messages", text) == value
    assert parse_value(DocKind.CHAT, "edits", text) is None
    assert parse_value(DocKind.PERSONAL, "messages", text) is None


def test_offers_are_told_apart_by_their_first_member() -> None:
    declined = '{"decline":"' + "A" * 43 + '","id":"' + "A" * 22 + '"}'
    assert parse_value(DocKind.CHAT, "offers", declined) == Decline(bytes(32), bytes(16))
    assert parse_value(DocKind.CHAT, "offers", '{"decline":"' + "A" * 43 + '"}') is None
    assert parse_value(DocKind.CHAT, "offers", '{"offer":"' + "A" * 43 + '"}') is None
    assert parse_value(DocKind.CHAT, "offers", "{" + ID + "}") is None
    assert parse_value(DocKind.CHAT, "offers", "[]") is None


def test_the_longest_text_fits_a_message_and_an_update() -> None:
    """64 KiB of text fit, unless they are control characters, which JSON writes in six bytes each."""
    for text in ("x" * 65_536, "漢" * 21_845, "\n" * 65_536):
        value = dump_value(Message(NONCE, text))
        assert parse_value(DocKind.CHAT, *value) is not None
        assert make_update(CORE, 1, DocKind.CHAT, [value])
    with pytest.raises(ValueError, match="192 KiB"):
        make_update(CORE, 1, DocKind.CHAT, [dump_value(Message(NONCE, "\x01" * 65_536))])


@pytest.mark.parametrize(
    "values",
    [[], [("messages", "")] * 65, [("passwords", "")], [("contacts", "")], [("messages", "\ud800")]],
)
def test_an_update_that_the_guard_would_refuse_is_not_made(values: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError):
        make_update(CORE, 1, DocKind.CHAT, values)


def test_document_keys_writer_ids_and_client_ids_have_fixed_forms() -> None:
    assert document_key(CORE, 300, 2) == f"{writer_id(CORE)}/300/2"
    assert len(writer_id(CORE)) == 16
    assert all(client_id(CORE, seq) < 2**53 for seq in range(200))
    for client in (0, 127, 128, 2**49 - 1, 2**49, 2**52 + 12345, 2**53 - 1, *(client_id(CORE, s) for s in range(100))):
        assert client_bytes(client) == varuint(client)
    assert compact({"a": 1}) == '{"a":1}'
