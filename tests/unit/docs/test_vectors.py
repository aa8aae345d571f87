"""`tests/vectors/docs.json` and `docs-timeline.json`: written by the code, committed, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crdt.docs import chat
from crdt.docs.chat import (
    Answer,
    Consent,
    Decline,
    Edit,
    File,
    MemberProfile,
    Message,
    Offer,
    OfferedFeed,
    Reaction,
    Receipt,
    Restart,
)
from crdt.docs.deletion import Block, Deletion, decode_deletion, encode_deletion
from crdt.docs.facts import decode_fact, facts_of, facts_of_deletion
from crdt.docs.guard import Admit, Refuse, examine
from crdt.docs.ids import client_id, document_key, import_nonce, message_id, sort_key, split_sort_key, writer_id
from crdt.docs.kinds import KINDS, DocKind
from crdt.docs.over import value_id
from crdt.docs.own import (
    DeviceName,
    Hidden,
    OwnChat,
    OwnContact,
    OwnDraft,
    OwnInvite,
    OwnProfile,
    OwnWriter,
    ReadMark,
    Setting,
)
from crdt.docs.page import PageEntry, page_content
from crdt.docs.personal import decode_own_fact, own_facts_of
from crdt.docs.rows import decode_row
from crdt.docs.rules import Rule
from crdt.docs.schema import Value, dump_value, parse_value
from crdt.docs.timeline import TimelinePolicy, fold_message
from crdt.docs.update import make_update
from tests.property.guard.hostile import HOSTILE
from tests.support.pages import build_page
from tests.support.vectors import matches
from tests.unit.docs.values import CORE, OTHER

NONCE = bytes(range(16))
SIGNATURE = bytes(range(64))
ID = message_id(CORE, NONCE)
STAMP = 1_790_000_000_000 << 16 | 7
ARRIVED = 1_790_000_000_123
MARK = sort_key(STAMP, CORE, 7)
UPTO = tuple(sorted(((writer_id(CORE), 41), (writer_id(OTHER), 0))))
OVER = (value_id(OTHER, 300, 1, STAMP, b'{"id":1}'), bytes([255]) * 16)
FILE = File("sun.jpg", 70_000, CORE, OTHER, "image/jpeg")
FEED = OfferedFeed(OTHER, CORE, ID, (Consent(CORE, SIGNATURE),))

CHAT_VALUES: list[Value] = [
    Message(NONCE, "hello"),
    Message(NONCE, 'quoted "\\/\n\x1b[0m é漢😀\u2028', ID, 1_100_000_000_000, "ana", 3600, (FILE,)),
    Edit(ID, "hello again"),
    Edit(ID, "hello once more", OVER),
    Reaction(ID, "👍", True),
    Reaction(ID, "👍", False),
    Receipt(UPTO),
    Offer(CORE, OTHER, "Picnic", NONCE),
    Offer(CORE, OTHER, "Picnic", NONCE, (OTHER, CORE), (CORE, ID)),
    Offer(CORE, OTHER, "Picnic", NONCE, (OTHER,), (CORE,), again=True),
    Offer(CORE, OTHER, "Picnic", NONCE, (OTHER,), (CORE,), old=ID),
    Answer(CORE, (b"certificate", b"revocation"), (FEED,), NONCE),
    Decline(CORE, NONCE),
    Restart(CORE, ID, OTHER, NONCE, SIGNATURE, (OTHER,), (CORE,)),
    Restart(CORE, ID, OTHER, NONCE, SIGNATURE, (OTHER, CORE), (CORE, ID), (ID,), (b"certificate",)),
    MemberProfile("Ada"),
    MemberProfile("Ada", "engines", FILE),
]
OWN_VALUES: list[Value] = [
    OwnProfile("Ada", "", FILE),
    OwnContact(CORE, True, "Ben", "Benjamin", False, False, False, True, OTHER, (b"certificate",)),
    OwnChat(CORE, True, "group", "active", OTHER, "Picnic", ID, OTHER, False, CORE, ID),
    Setting("theme", "dark"),
    ReadMark(CORE, UPTO),
    OwnDraft(CORE, "half a thou", ID),
    OwnInvite(CORE, True, OTHER, SIGNATURE[:32], 1_790_000_000_000, 1_790_604_800_000, ID),
    OwnWriter(CORE, OTHER, True, ID, CORE, (Consent(CORE, SIGNATURE),)),
    DeviceName(CORE, "phone"),
    Hidden(CORE, ID, True),
    Hidden(CORE, upto=UPTO),
    OwnContact(CORE, blocked=False, over=OVER),
]
EXTENDED = [
    ("offers", chat.DECLINE.text(Decline(CORE, NONCE), ((5, b"later"),))),
    ("messages", chat.MESSAGE.text(Message(NONCE, "hello"), ((0, b""), (300, bytes(3))))),
]
VALUES = {DocKind.CHAT: CHAT_VALUES, DocKind.PERSONAL: OWN_VALUES}


def test_document_bytes_equal_the_recorded_vectors() -> None:
    names = [
        {
            "core": core.hex(),
            "seq": seq,
            "writer": writer_id(core),
            "client": str(client_id(core, seq)),
            "key": document_key(core, seq, 1),
        }
        for core in (CORE, OTHER)
        for seq in (0, 7, 300, 2**53 - 1)
    ]
    updates = [
        {
            "kind": int(kind),
            "core": CORE.hex(),
            "seq": seq,
            "values": [list(dump_value(value)) for value in values],
            "body": make_update(CORE, seq, kind, [dump_value(value) for value in values]).hex(),
        }
        for kind in DocKind
        for seq, values in ((7, VALUES[kind][:1]), (300, VALUES[kind]))
    ]
    refused = [
        {"name": name, "body": body.hex(), "rule": int(rule)}
        for name, (body, rule) in HOSTILE.items()
        if len(body) < 200
    ]
    held = matches(
        "docs",
        {
            "kinds": [
                {"kind": int(k), "version": spec.version, "roots": list(spec.roots)} for k, spec in KINDS.items()
            ],
            "rules": [{"rule": int(rule), "sentence": rule.sentence} for rule in Rule],
            "names": names,
            "updates": updates,
            "extended": [[root, text] for root, text in EXTENDED],
            "refused": {"core": CORE.hex(), "seq": 7, "bodies": refused},
        },
    )
    for update in held["updates"]:
        _reads(update)
    assert [parse_value(DocKind.CHAT, root, text) for root, text in held["extended"]] == [
        Decline(CORE, NONCE),
        CHAT_VALUES[0],
    ]
    for case in held["refused"]["bodies"]:
        assert examine(bytes.fromhex(case["body"]), CORE, 7) == Refuse(Rule(case["rule"])), case["name"]


def _reads(update: Any) -> None:
    kind, core, seq = DocKind(update["kind"]), bytes.fromhex(update["core"]), update["seq"]
    body = bytes.fromhex(update["body"])
    verdict = examine(body, core, seq, kind)
    assert isinstance(verdict, Admit)
    assert [[put.root, put.json] for put in verdict.puts] == update["values"]
    read = [parse_value(kind, root, text) for root, text in update["values"]]
    assert read == VALUES[kind][: len(read)]
    assert [getattr(value, "over", ()) for value in read] == [
        getattr(value, "over", ()) for value in VALUES[kind][: len(read)]
    ]
    page = page_content(build_page([PageEntry(core, seq, body)], kind), kind)
    assert [page[put.root][put.key] for put in verdict.puts] == [put.json for put in verdict.puts]


def test_timeline_bytes_equal_the_recorded_vectors() -> None:
    def admitted(kind: DocKind) -> Admit:
        verdict = examine(make_update(CORE, 7, kind, [dump_value(value) for value in VALUES[kind]]), CORE, 7)
        assert isinstance(verdict, Admit)
        return verdict

    deletion = Deletion(ID, (Block(CORE, 7, OTHER), Block(OTHER, 300, CORE)))
    body = encode_deletion(deletion)
    facts = facts_of(admitted(DocKind.CHAT), CORE, CORE, 7, STAMP, ARRIVED)
    gone = facts_of_deletion(body, OTHER, 9, STAMP + 1, ARRIVED)
    own = own_facts_of(admitted(DocKind.PERSONAL), CORE, 7, STAMP)
    policy = TimelinePolicy(lambda core: core, lambda core, seq: True, lambda deleter, author: deleter == OTHER)
    about = [fact for fact in facts if fact.message == ID]
    rows = [
        fold_message(ID, about[:1], policy),
        fold_message(ID, about[1:2], policy),
        fold_message(ID, about[:4], policy),
        fold_message(ID, about + gone[:1], policy),
    ]
    made = [row for row in rows if row is not None]
    held = matches(
        "docs-timeline",
        {
            "message_id": {"author_core": CORE.hex(), "nonce": NONCE.hex(), "id": ID.hex()},
            "message_id_direct": {
                "R_author": OTHER.hex(),
                "R_other": CORE.hex(),
                "nonce": NONCE.hex(),
                "id": message_id(OTHER + CORE, NONCE).hex(),
            },
            "sort_key": {"stamp": str(STAMP), "core": CORE.hex(), "seq": 7, "key": MARK.hex()},
            "import": [
                {
                    "space": OTHER.hex(),
                    "at": 1_100_000_000_000,
                    "from": "ana",
                    "text": text,
                    "ordinal": ordinal,
                    "nonce": import_nonce(OTHER, 1_100_000_000_000, "ana", text, ordinal).hex(),
                }
                for text, ordinal in (("hi", 0), ("hi", 1), ("漢", 0))
            ],
            "deletion": {
                "message": ID.hex(),
                "blocks": [[block.core.hex(), block.seq, block.leaf.hex()] for block in deletion.blocks],
                "body": body.hex(),
            },
            "facts": [{"key": fact.key().hex(), "value": fact.encode().hex()} for fact in facts + gone],
            "rows": [{"key": row.key().hex(), "value": row.encode().hex(), "text": row.text} for row in made],
            "own_facts": [{"key": fact.key().hex(), "value": fact.encode().hex()} for fact in own],
        },
    )
    assert split_sort_key(bytes.fromhex(held["sort_key"]["key"]))[::2] == (STAMP, 7)
    assert decode_deletion(bytes.fromhex(held["deletion"]["body"])) == deletion
    assert [decode_fact(*_pair(pair)) for pair in held["facts"]] == facts + gone
    assert [decode_row(*_pair(pair)) for pair in held["rows"]] == made
    assert [decode_own_fact(*_pair(pair)) for pair in held["own_facts"]] == own


def _pair(pair: Any) -> tuple[bytes, bytes]:
    return bytes.fromhex(pair["key"]), bytes.fromhex(pair["value"])


def test_protocol_page_lists_every_guard_rule_and_limit() -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    pages = [*docs.glob("protocol.md"), *docs.glob("protocol/*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    missing = [rule for rule in Rule if f"| {int(rule)} | {rule.sentence} |" not in text]
    assert missing == []
    for kind, spec in KINDS.items():
        assert f"| {kind.value} " in text
        assert f"| {spec.version} | {', '.join(spec.roots)} |" in text
