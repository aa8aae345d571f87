"""The second implementation reads, re-encodes and verifies every vector of its formats, and refuses what is not one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from nacl.signing import SigningKey

from tests.second.codec import Reader, Refused, read_extensions, uint
from tests.second.control import Body, Newcomer, Parent, consent_body, read_body, succession_body
from tests.second.device_set import fold_devices
from tests.second.digest import blake
from tests.second.entry import message_key, open_entry, pad, read_entry, read_plaintext, seal_entry, unpad
from tests.second.grant import (
    CARRIED,
    At,
    Device,
    Grant,
    Slot,
    hint_of,
    open_recovery,
    open_slot,
    open_z,
    read_grant,
    slot_key,
)
from tests.second.head import core_key, leaf_hash, read_head
from tests.second.pack import fitting_key, open_pack, read_pack, read_transcript, seal_pack, write_pack
from tests.second.record import (
    capability,
    channel_id,
    open_record,
    read_record,
    read_report,
    seal_record,
    space_id,
    topic,
    writer_proof,
    z_check,
)
from tests.second.signature import agree, public_of, seal, sign
from tests.second.statement import read_set, read_statement, write_set

FOLDER = Path(__file__).parents[1] / "vectors"
h = bytes.fromhex


def held(name: str) -> Any:
    """What a vector file holds."""
    return json.loads((FOLDER / f"{name}.json").read_text("ascii"))


STATEMENTS, ENTRIES, HEADS, PACKS = (
    held(f"identity-{'statement'}"),
    held("log-entry"),
    held("log-head"),
    held("log-pack"),
)
CONTROL, GRANTS, IDS, RECORDS = held("space-control"), held("space-grant"), held("space-ids"), held("space-record")
TRANSCRIPT = held("log-transcript")


@pytest.mark.parametrize("vector", STATEMENTS["statements"])
def test_a_statement_is_read_and_has_the_id(vector: dict[str, str]) -> None:
    assert read_statement(h(vector["encoded"])).id == h(vector["id"])


@pytest.mark.parametrize("vector", STATEMENTS["sets"])
def test_a_set_of_statements_gives_the_active_devices(vector: dict[str, Any]) -> None:
    statements = read_set(h(vector["encoded"]))
    assert write_set(statements) == h(vector["encoded"])
    identity = SigningKey(h(STATEMENTS["root_seed"])).verify_key.encode()
    assert [device.hex() for device in fold_devices(statements, identity).active] == vector["active"]


@pytest.mark.parametrize("vector", ENTRIES)
def test_an_entry_opens_and_is_sealed_to_the_same_block(vector: dict[str, Any]) -> None:
    epoch, core, space, seq = h(vector["epoch key"]), h(vector["core"]), h(vector["space"]), vector["seq"]
    key, tag = message_key(epoch, core, seq)
    assert (key.hex(), tag.hex()) == (vector["key"], vector["tag"])
    block = h(vector["block"])
    entry = read_entry(block, seq)
    text = open_entry(entry, key, core, space)
    assert (entry.grant.hex(), text.hex(), leaf_hash(block).hex()) == (
        vector["grant"],
        vector["plaintext"],
        vector["leaf"],
    )
    assert read_plaintext(text).encoded() == text
    assert seal_entry(key, tag, core, space, seq, text, entry.grant) == block


@pytest.mark.parametrize("vector", HEADS)
def test_a_head_is_verified(vector: dict[str, Any]) -> None:
    head = read_head(h(vector["head"]))
    assert (head.length, head.tree.hex(), head.tree[:16].hex()) == (vector["length"], vector["root"], vector["ref"])
    assert head.encoded().hex() == vector["head"]


@pytest.mark.parametrize("vector", PACKS)
def test_a_pack_gives_the_very_blocks(vector: dict[str, str]) -> None:
    items = read_pack(h(vector["blob"]))
    assert b"".join(item.block(h(vector["space"])) for item in items).hex() == vector["blocks"]
    assert read_pack(write_pack(items)) == items
    sealed = seal_pack(h(vector["key"]), h(vector["blob"]))
    assert (sealed[2:34].hex(), leaf_hash(sealed).hex()) == (vector["sealed opening"], vector["sealed hash"])
    assert open_pack(h(vector["key"]), sealed) == h(vector["blob"])


def test_a_transcript_is_verified_and_opens() -> None:
    transcript = read_transcript(h(TRANSCRIPT["bytes"]))
    assert transcript.encoded().hex() == TRANSCRIPT["bytes"] and transcript.space.hex() == TRANSCRIPT["space"]
    ((head, places),) = transcript.feeds
    opened = 0
    for seq, place in enumerate(places):
        if place.key != bytes(32) and place.block:
            entry, core = read_entry(place.block, seq), core_key(head.writer)
            read_plaintext(open_entry(entry, place.key, core, transcript.space))
            opened += fitting_key(h(TRANSCRIPT["epoch"]), core, seq, entry.tag) == place.key
    assert opened == 1


@pytest.mark.parametrize("vector", CONTROL, ids=lambda vector: vector["name"])
def test_a_control_body_is_read_and_written_again(vector: dict[str, str]) -> None:
    assert read_body(h(vector["body"])).encoded().hex() == vector["body"]


def earlier_grant(seq: int) -> tuple[Grant, At] | None:
    """The first vector, which the second names."""
    first = GRANTS[0]
    if seq != first["seq"]:
        return None
    return read_grant(h(first["grant"])), At(h(first["core"]), seq, h(first["space"]))


def device_of(vector: dict[str, str], name: str, kem: str = "") -> Device:
    """A recipient of the vectors."""
    seed = h(vector[name + kem]) if kem else b""
    return Device(h(vector[name + "D secret"]), h(vector[name + "P secret"]), seed)


@pytest.mark.parametrize("vector", GRANTS)
def test_a_grant_opens_to_each_of_its_devices(vector: dict[str, Any]) -> None:
    at, grant = At(h(vector["core"]), vector["seq"], h(vector["space"])), read_grant(h(vector["grant"]))
    assert grant.encoded().hex() == vector["grant"]
    sender = public_of(h(vector["sender D secret"]))
    device = device_of(vector, "device ", "K seed")
    without = device_of(vector, "device without K: ")
    for one in (device, without):
        assert open_slot(grant, at, sender, one, earlier_grant).hex() == vector["E"]
    assert open_z(grant, at, h(vector["E"])).hex() == vector["Z"]
    if "recovery secret" in vector:
        recovery = h(vector["recovery secret"])
        assert open_recovery(grant, at, recovery, bytes(64)).hex() == vector["E"]
        hint = hint_of(at, agree(h(vector["sender D secret"]), public_of(recovery)))
        assert hint in {slot.hint for slot in grant.slots}


def test_a_slot_that_names_no_earlier_entry_of_its_device_opens_nothing() -> None:
    vector = GRANTS[1]
    at, grant = At(h(vector["core"]), vector["seq"], h(vector["space"])), read_grant(h(vector["grant"]))
    sender = public_of(h(vector["sender D secret"]))
    device = device_of(vector, "device ", "K seed")
    with pytest.raises(Refused, match="no earlier grant"):
        open_slot(grant, at, sender, device, lambda seq: None)
    with pytest.raises(Refused, match="no ciphertext"):
        open_slot(grant, at, sender, device, lambda seq: (grant, at))


def test_the_phrase_opens_a_recovery_slot_that_carries_a_ciphertext() -> None:
    seed, secret, once, epoch = b"\1" * 64, b"\2" * 32, b"\3" * 32, b"\4" * 32
    at, kem = At(bytes(32), 0, bytes(32)), MLKEM768PrivateKey.from_seed_bytes(seed).public_key()
    ss, ciphertext = kem.encapsulate()
    recovery = public_of(secret)
    publics = recovery + public_of(once)
    key = slot_key(at, 0, agree(once, recovery), publics, (ss, kem.public_bytes_raw(), ciphertext))
    slot = Slot(bytes(8), CARRIED, ciphertext, seal(key[:32], key[32:], epoch, b""))
    grant = read_grant(Grant(public_of(once), bytes(48), (slot,)).encoded())
    assert open_recovery(grant, at, secret, seed) == epoch


def test_what_follows_from_ids_and_z() -> None:
    (vector,) = IDS
    z, seed, core = h(vector["Z"]), h(vector["writer seed"]), h(vector["creator core"])
    assert {
        "space id": space_id(core).hex(),
        "Z check": z_check(z).hex(),
        "capability": capability(z).hex(),
        "channel id": channel_id(z, h(vector["handshake hash"])).hex(),
        "topic": topic(z, vector["day"]).hex(),
    }.items() <= vector.items()
    newcomer, space = Newcomer(h(vector["device"]), (), h(vector["prekey"])), space_id(core)
    for name, identity in (("consent to add", h(vector["identity"])), ("consent to admit", None)):
        body = consent_body(space, core, identity, newcomer)
        assert sign(seed, b"kithkin consent", body).hex() == vector[name]
    named = [Parent(h(one), seq, h(hash_)) for one, seq, hash_ in vector["succession parents"]]
    parents = Body(tuple(named), ())
    said = succession_body(space, h(vector["succession of"]), parents)
    assert sign(seed, b"kithkin succeed", said).hex() == vector["succession"]


def test_a_record_opens_and_is_written_again() -> None:
    (vector,) = RECORDS
    record, epoch, space = read_record(h(vector["record"])), h(vector["E"]), h(vector["space"])
    report = open_record(record, epoch, space)
    assert (report.encoded().hex(), record.counter) == (vector["report"], vector["counter"])
    again = seal_record(h(vector["writer seed"]), record.writer, record.counter, epoch, space, report)
    assert again.encoded().hex() == vector["record"]
    proof = writer_proof(h(vector["DH of the two D"]), space, record.writer, h(vector["W of the reader"]))
    assert proof.hex() == vector["proof"]


def test_labels_are_as_the_page_writes_them() -> None:
    labels = held("identity-labels")
    used = {"kithkin cert", "kithkin counter", "kithkin revoke", "kithkin stmt id", "kithkin device"}
    assert used <= set(labels.values())
    assert len({label.encode().ljust(16, b"\0") for label in labels.values()}) == len(labels)
    with pytest.raises(ValueError):
        blake(b"x" * 17, b"")


# -- What is refused.  The vectors hold good bytes alone, so each is spoilt here at every place.

SIGNED: list[tuple[str, bytes, Callable[[bytes], object]]] = [
    *((f"statement {i}", h(v["encoded"]), read_statement) for i, v in enumerate(STATEMENTS["statements"])),
    ("set", h(STATEMENTS["sets"][2]["encoded"]), read_set),
    ("head", h(HEADS[3]["head"]), read_head),
    ("record", h(RECORDS[0]["record"]), read_record),
    ("transcript", h(TRANSCRIPT["bytes"]), lambda data: open_all(data)),
    *((f"entry {i}", h(v["block"]), lambda data, v=v: open_vector(data, v)) for i, v in enumerate(ENTRIES[:4])),
]


KEYS = {place.key for _, places in read_transcript(h(TRANSCRIPT["bytes"])).feeds for place in places}


def open_all(data: bytes) -> None:
    """Reads a transcript and opens what it has keys for."""
    transcript = read_transcript(data)
    for head, places in transcript.feeds:
        for seq, place in enumerate(places):
            if place.block and place.key != bytes(32):
                open_entry(read_entry(place.block, seq), place.key, core_key(head.writer), h(TRANSCRIPT["space"]))
    if transcript.space != h(TRANSCRIPT["space"]) or any(
        place.key == bytes(32) for place in transcript.feeds[0][1][:1]
    ):
        raise Refused("another space or key")


def open_vector(data: bytes, vector: dict[str, Any]) -> bytes:
    """Opens an entry of the vectors."""
    return open_entry(read_entry(data, vector["seq"]), h(vector["key"]), h(vector["core"]), h(vector["space"]))


@pytest.mark.parametrize(("name", "data", "read"), SIGNED, ids=[name for name, _, _ in SIGNED])
def test_bytes_changed_anywhere_are_refused(name: str, data: bytes, read: Callable[[bytes], object]) -> None:
    step = max(1, len(data) // 300)
    for place in range(0, len(data), step):
        spoilt = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(Refused):
            read(spoilt)
            pytest.fail(f"taken, changed at {place}")


FORMS: list[tuple[str, bytes, Callable[[bytes], object]]] = [
    *SIGNED,
    *((f"control {v['name']}", h(v["body"]), read_body) for v in CONTROL),
    *((f"grant {i}", h(v["grant"]), read_grant) for i, v in enumerate(GRANTS)),
    ("pack", h(PACKS[0]["blob"]), read_pack),
    ("report", h(RECORDS[0]["report"]), read_report),
]


@pytest.mark.parametrize(("name", "data", "read"), FORMS, ids=[name for name, _, _ in FORMS])
def test_bytes_cut_short_or_with_a_tail_are_refused(name: str, data: bytes, read: Callable[[bytes], object]) -> None:
    read(data)
    step = max(1, len(data) // 300)
    for spoilt in [*(data[:size] for size in range(0, len(data), step)), data[:-1], data + b"\0"]:
        with pytest.raises(Refused):
            read(spoilt)
            pytest.fail(f"taken, {len(spoilt)} of {len(data)} bytes")


BODY = read_body(h(CONTROL[0]["body"]))
OPS = {vector["name"]: read_body(h(vector["body"])).ops[0] for vector in CONTROL}


@pytest.mark.parametrize(
    "body",
    [
        replace(BODY, parents=tuple(reversed(BODY.parents))),
        replace(BODY, parents=(BODY.parents[0], BODY.parents[0])),
        replace(BODY, ops=()),
        replace(BODY, ops=(OPS["create"], OPS["add"])),
        replace(BODY, ops=(OPS["epoch"], OPS["epoch"])),
        replace(BODY, ops=(OPS["of a later version"],) * 65),
    ],
    ids=["unordered", "twice", "no operation", "create and add", "two epochs", "65 operations"],
)
def test_bodies_against_the_rules_are_refused(body: Body) -> None:
    with pytest.raises(Refused):
        read_body(body.encoded())


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"\xfd\x05\x00", lambda reader: reader.uint()),
        (b"\xfe\xff\xff\x00\x00", lambda reader: reader.uint()),
        (b"\xff" + bytes(6) + b"\x20\x00", lambda reader: reader.uint()),
        (b"\x02", lambda reader: reader.flag()),
        (b"\x01\xff", lambda reader: reader.string(4)),
        (b"\x05abcde", lambda reader: reader.buffer(4)),
        (b"\x02\x05\x00\x05\x00", read_extensions),
        (b"\x11", read_extensions),
    ],
    ids=["long 5", "long 65535", "2^53", "flag 2", "no UTF-8", "too long", "kinds that do not rise", "17 extensions"],
)
def test_fields_against_the_rules_are_refused(data: bytes, read: Callable[[Reader], object]) -> None:
    with pytest.raises(Refused):
        read(Reader(data))


def test_there_is_one_padding_for_each_text() -> None:
    for size in (0, 251, 252, 253, 4091, 4092, 4093, 5011, 70_000):
        text = bytes(size)
        assert unpad(pad(text)) == text
        with pytest.raises(Refused):
            unpad(pad(text) + bytes(64))
        if len(pad(text)) > 4 + size:
            with pytest.raises(Refused):
                unpad(pad(text)[:-1] + b"\1")


def test_stamps_beyond_the_ceiling_are_refused() -> None:
    last = (4_102_444_800_000 << 16) - 1
    for stamp, good in ((last, True), (last + 1, False)):
        text = b"\3" + stamp.to_bytes(8, "little") + uint(0) + uint(0)
        if good:
            assert read_plaintext(text).stamp == stamp
        else:
            with pytest.raises(Refused):
                read_plaintext(text)
