"""Every format that has vectors: how its bytes are read and written, and what any damage to them has to come to.

`tests/property/test_damaged_formats.py` walks this table, and holds that no long field of a vector file is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from crdt.docs.deletion import decode_deletion, encode_deletion
from crdt.docs.facts import Fact, decode_fact
from crdt.docs.guard import Refuse, examine
from crdt.docs.kinds import DocKind
from crdt.docs.personal import OwnFact, decode_own_fact
from crdt.docs.rows import Row, decode_row
from crdt.log.entry import decode_plaintext, encode_plaintext, open_entry, read_block
from crdt.log.head import read_head
from crdt.log.pack import decode_pack, seal_pack
from crdt.log.pack import open_pack as unseal_pack
from crdt.log.transcript import Transcript, read_transcript, write_transcript
from crdt.space.consent import succession_body, verify_consent
from crdt.space.control import Add, Admit, Parent, decode_control, encode_control
from crdt.space.grant import decode_grant, encode_grant, open_grant, open_recovery
from crdt.space.proof import decode_proofs, encode_proofs
from crdt.space.record import decode_record, decode_report, encode_report, open_record
from identity.codec import Reader, Writer
from identity.device import decode_device_keys, encode_device_keys
from identity.errors import DecodeError
from identity.hello import decode_hello, open_name
from identity.hints import read_hints, write_hints
from identity.invite import Person, decode_person
from identity.invite_code import decode_invite, encode_invite
from identity.kem import HybridKey, KemKey, installed
from identity.keys import AgreementKey, SigningKey, verify
from identity.keystore import decode_keystore
from identity.labels import Label
from identity.pairing_code import decode_pair as decode_pair_code
from identity.pairing_code import encode_pair as encode_pair_code
from identity.recovery import drop_slot, open_copy
from identity.recovery import open_record as open_drop
from identity.statement import decode_statement, decode_statements
from identity.statement import encode_statements as write_set
from netstack.connect import blind_relay
from netstack.connect.secure_payload import SecurePayload, decode_holepunch, decode_punch
from netstack.dht.datagram import decode_datagram
from netstack.dht.records import decode_announce, decode_mutable, decode_mutable_put
from netstack.swarm.core.lan import Notice, read_notice
from netstack.udx.packet import decode_header
from netstack.wire.messages import decode_payload as decode_noise_payload
from sync.account.recovery_copy import decode_copy, encode_copy
from sync.backup.format import (
    FRAME,
    HEADER,
    decode_contents,
    decode_frame,
    decode_rows,
    encode_contents,
    encode_rows,
    key_of,
)  # fmt: skip
from sync.backup.format import (
    decode_header as decode_backup,
)
from sync.engine.dialling import decode_whereabouts, encode_whereabouts
from sync.engine.hello import decode_handover, decode_join, decode_out, encode_handover, encode_join, encode_out
from sync.engine.introduction import decode_follows, encode_follows
from sync.engine.onboarding.messages import decode_answer, encode_answer
from sync.engine.recovery.messages import decode_holder, decode_rejoin, encode_holder, encode_rejoin
from sync.replicate.encoding import decode as decode_message
from sync.replicate.encoding import encode as encode_message
from tests.support.streams import stream
from tests.support.vectors import FOLDER

Read = Callable[[bytes], Any]


@dataclass(frozen=True)
class Format:
    """good: the bytes of the vector; read: raises DecodeError or KithkinError for what it refuses.

    write: where given, what is read from other bytes writes those bytes, so no value has two forms.  sealed: nothing
    but these bytes is read.  grows: more bytes may follow (formats of the HyperDHT family, headers); cut: fewer bytes
    may still say something (lists without a count, texts to the end).  dated: the first two bytes are version and
    suite.
    """

    good: bytes
    read: Read
    write: Callable[[Any], bytes] | None = None
    sealed: bool = False
    grows: bool = False
    cut: bool = False
    dated: bool = False


@cache
def kept(name: str) -> Any:
    """What `tests/vectors/NAME.json` holds."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))


def found(name: str, *path: str | int) -> bytes:
    """The bytes at one place of a vector file."""
    value = kept(name)
    for part in path:
        value = value[part]
    return bytes.fromhex(value)


def refused(why: str) -> DecodeError:
    return DecodeError(why)


def demand(held: Any) -> Any:
    """What there is; None and False are refusals."""
    if held is None or held is False:
        raise refused("not taken")
    return held


def whole(read: Callable[[Reader], Any], data: bytes) -> Any:
    reader = Reader(data)
    value = read(reader)
    reader.end()
    return value


# ---- readers of formats that need a key, or the place where they stand


def head(data: bytes) -> Any:
    made = whole(read_head, data)
    demand(made.verify())
    return made


def entry(vector: dict[str, Any], data: bytes) -> bytes:
    key, core, space = (bytes.fromhex(vector[name]) for name in ("key", "core", "space"))
    return open_entry(key, core, space, data, read_block(data, vector["seq"]))


def record(data: bytes) -> Any:
    made = decode_record(data)
    demand(made.verify())
    return demand(open_record(made, found("space-record", 0, "space"), found("space-record", 0, "E")))


def grant(vector: dict[str, Any], data: bytes) -> Any:
    """What the phone opens: it is to be the epoch's secrets, or nothing."""
    part = {name: bytes.fromhex(value) for name, value in vector.items() if isinstance(value, str)}
    kem = demand(installed())
    device = AgreementKey.from_secret(part["device D secret"])
    prekey = HybridKey(AgreementKey.from_secret(part["device P secret"]), KemKey.from_seed(kem, part["device K seed"]))
    sender = AgreementKey.from_secret(part["sender D secret"]).public
    earlier = {one["seq"]: bytes.fromhex(one["grant"]) for one in kept("space-grant")}
    opened = demand(
        open_grant(
            data, part["core"], vector["seq"], part["space"], device, [prekey], [sender], kem=kem, earlier=earlier.get
        )
    )
    assert (opened.secret, opened.z) == (part["E"], part["Z"]), "a damaged grant gave another secret"
    return opened


def recovery_grant(data: bytes) -> Any:
    vector = kept("space-grant")[0]
    key = HybridKey(AgreementKey.from_secret(bytes.fromhex(vector["recovery secret"])))
    opened = demand(
        open_recovery(data, found("space-grant", 0, "core"), vector["seq"], found("space-grant", 0, "space"), key)
    )
    assert opened.secret.hex() == vector["E"] and opened.z.hex() == vector["Z"]
    return opened


def sealed_pack(data: bytes) -> Any:
    return decode_pack(unseal_pack(data, found("log-pack", 0, "key")))


def consent(name: str, data: bytes) -> bool:
    part = partial(found, "space-ids", 0)
    w, space, core = SigningKey.from_seed(part("writer seed")).public, part("space id"), part("creator core")
    if name == "succession":
        body = succession_body(space, core, (Parent(core, 4, part("identity")),))
        return bool(demand(verify(w, Label.SUCCEED, body, data)))
    add = Add(part("identity"), w, part("device"), (), part("prekey"), data)
    admit = Admit(w, part("device"), (), part("prekey"), data)
    return bool(demand(verify_consent(space, core, add if name == "consent to add" else admit)))


def write_all(person: Person) -> bytes:
    """As `encode_person` does, with every statement: that one chooses those of the identity."""
    out = Writer().raw(b"\0\1").raw(person.identity).raw(person.device).buffer(person.prekey)
    return out.buffer(write_set(person.statements)).buffer(person.profile).finish()


def key_of_pair(stored: Fact | Row | OwnFact) -> bytes:
    return stored.key()


def by_key(read_pair: Callable[[bytes, bytes], Any], value: bytes, key: bytes) -> Any:
    return read_pair(key, value)


def write_feeds(transcript: Transcript) -> bytes:
    return b"".join(write_transcript(transcript))


def write_rejoin(read: tuple[bytes, bytes, bytes, dict[bytes, bytes]]) -> bytes:
    space, writer, prekey, consents = read
    return encode_rejoin(space, writer, prekey, consents.items())


def update(vector: dict[str, Any], data: bytes) -> Any:
    verdict = examine(data, bytes.fromhex(vector["core"]), vector["seq"], DocKind(vector["kind"]))
    if isinstance(verdict, Refuse):
        raise refused(verdict.rule.sentence)
    return verdict


def backup_record(data: bytes) -> Any:
    key = key_of(decode_backup(found("backup", "header")), kept("backup")["passphrase"])
    kind, length, nonce = decode_frame(data[:FRAME])
    if len(data) != FRAME + length + 16:
        raise refused("another length")
    return list(decode_rows(key.open(kind, HEADER, nonce, data[FRAME:])))


def copy(data: bytes) -> Any:
    return open_copy(data, HybridKey(AgreementKey.from_secret(b"\x0d" * 32)))


def drop(data: bytes) -> Any:
    return decode_holder(open_drop(drop_slot(found("recovery", "recovery"), 3), data))


def name_of(data: bytes) -> bytes:
    return open_name(found("identity-hello", "z"), found("identity-hello", "handshake_hash"), data)


def notice(vector: dict[str, Any], data: bytes) -> bytes:
    return read_notice(Notice(vector["label"], data), bytes.fromhex(vector["rendezvous"]), vector["day"])


def sealed_punch(data: bytes) -> Any:
    return SecurePayload(b"\x05" * 64, stream("other")).open(data)


# ---- the table


def table() -> Iterator[tuple[str, str, Format]]:
    """(vector file, place in it, format)."""

    def at(name: str, *path: str | int, **how: Any) -> tuple[str, str, Format]:
        return name, ".".join(map(str, path)), Format(found(name, *path), **how)

    for n, _ in enumerate(kept("identity-statement")["statements"]):
        yield at("identity-statement", "statements", n, "encoded", read=decode_statement, sealed=True, dated=True)
    for n, _ in enumerate(kept("identity-statement")["sets"]):
        yield at("identity-statement", "sets", n, "encoded", read=decode_statements, write=write_set, dated=True)
    yield at("identity-pairing", "statements", read=decode_statements, write=write_set, dated=True)
    yield at("identity-pairing", "certificate", read=decode_statement, sealed=True, dated=True)
    for n, _ in enumerate(kept("identity-keystore")["keystores"]):
        yield at("identity-keystore", "keystores", n, "encoded", read=decode_keystore, sealed=True, dated=True)
    for name in ("device_keys", "device_keys_with_k"):
        yield at("identity-keystore", name, "encoded", read=decode_device_keys, write=encode_device_keys, dated=True)
    hints = partial(whole, read_hints)
    yield at("identity-payload", "hints", "encoded", read=hints, write=lambda h: write_hints(Writer(), h).finish())
    yield at("identity-payload", "pair", "encoded", read=decode_pair_code, write=encode_pair_code, dated=True)
    yield at("identity-payload", "invite", "encoded", read=decode_invite, write=encode_invite, dated=True)
    for name in ("inviter", "invitee"):
        yield at("identity-invite", name, "person", read=decode_person, write=write_all, dated=True)
    for form in ("known", "topic"):
        yield at("identity-hello", form, 0, read=decode_hello)
    yield at("identity-hello", "topic", 2, read=decode_hello)
    yield at("identity-hello", "topic", 1, read=name_of, sealed=True)
    yield at("identity-hello", "sealed_name", read=name_of, sealed=True)
    for n, _ in enumerate(kept("log-head")):
        yield at("log-head", n, "head", read=head, sealed=True)
    for n, vector in enumerate(kept("log-entry")):
        yield at("log-entry", n, "block", read=partial(entry, vector), sealed=True, dated=True)
        yield at("log-entry", n, "plaintext", read=decode_plaintext, write=encode_plaintext, cut=True, grows=True)
    yield at("log-pack", 0, "blob", read=decode_pack, dated=True)
    blob = found("log-pack", 0, "blob")
    yield (
        "log-pack",
        "0.sealed",
        Format(seal_pack(blob, found("log-pack", 0, "key")), sealed_pack, sealed=True, dated=True),
    )
    yield at("log-transcript", "bytes", read=read_transcript, write=write_feeds, dated=True)
    for n, _ in enumerate(kept("space-control")):
        yield at("space-control", n, "body", read=decode_control, write=encode_control)
    for n, vector in enumerate(kept("space-grant")):
        yield at("space-grant", n, "grant", read=decode_grant, write=encode_grant)
        yield "space-grant", f"{n}.grant, opened", Format(found("space-grant", n, "grant"), partial(grant, vector))
    yield "space-grant", "0.grant, by the phrase", Format(found("space-grant", 0, "grant"), recovery_grant)
    yield at("space-record", 0, "record", read=record, sealed=True, dated=True)
    yield at("space-record", 0, "report", read=decode_report, write=encode_report)
    proofs = encode_proofs([found("space-record", 0, "proof"), b"\xff" * 12])
    yield "space-record", "0.proof", Format(proofs, decode_proofs, encode_proofs)
    for name in ("consent to add", "consent to admit", "succession"):
        yield at("space-ids", 0, name, read=partial(consent, name), sealed=True)
    for n, vector in enumerate(kept("docs")["updates"]):
        yield at("docs", "updates", n, "body", read=partial(update, vector))
    yield at("docs-timeline", "deletion", "body", read=decode_deletion, write=encode_deletion, dated=True)
    for part, read_pair in (("facts", decode_fact), ("rows", decode_row), ("own_facts", decode_own_fact)):
        for n, _ in enumerate(kept("docs-timeline")[part]):
            key, value = (found("docs-timeline", part, n, name) for name in ("key", "value"))
            write_key = None if part == "rows" else key_of_pair  # a row's key repeats what its value says
            read_key = partial(by_key, read_pair, value)
            yield at("docs-timeline", part, n, "key", read=read_key, write=write_key, cut=True, grows=True)
            yield at("docs-timeline", part, n, "value", read=partial(read_pair, key), cut=True, grows=True)
    for n, vector in enumerate(kept("replicate-messages")):
        message = partial(decode_message, vector["type"])
        yield at("replicate-messages", n, "body", read=message, write=lambda m: encode_message(m)[1])
    out: list[tuple[str, Read, Callable[[Any], bytes]]] = [
        ("handover", decode_handover, lambda v: encode_handover(*v)),
        ("whereabouts", decode_whereabouts, encode_whereabouts),
        ("join", decode_join, lambda v: encode_join(*v)),
        ("removal", decode_out, lambda v: encode_out(*v)),
        ("answer", decode_answer, lambda v: encode_answer(*v)),
        ("follows", decode_follows, lambda v: encode_follows(*v)),
    ]
    for name, read, write in out:
        yield at("engine", name, read=read, write=write, dated=name != "whereabouts")
    yield at("recovery", "holder", read=decode_holder, write=lambda v: encode_holder(*v), dated=True)
    yield at("recovery", "record", read=drop, sealed=True, dated=True)
    yield at("recovery", "contents", read=decode_copy, write=encode_copy, dated=True)
    yield at("recovery", "copy", read=copy, sealed=True, dated=True)
    yield at("recovery", "rejoin", read=decode_rejoin, write=write_rejoin, dated=True)
    yield at("backup", "header", read=decode_backup, write=lambda made: bytes(made.encode()), sealed=True, dated=True)
    yield at("backup", "rows", read=lambda data: list(decode_rows(data)), write=encode_rows, cut=True, grows=True)
    yield at("backup", "record", read=backup_record, sealed=True)
    yield at("backup", "contents", read=decode_contents, write=encode_contents, dated=True)
    for n, _ in enumerate(kept("udx")["exchange"]):
        yield at("udx", "exchange", n, "header", read=decode_header, grows=True)
    for name in ("payload 1", "payload 2"):
        yield at("netstack", name, read=decode_noise_payload, cut=True, grows=True)
    for name in ("request", "response"):
        yield at("netstack", name, read=decode_datagram, grows=True)
    for kind in ("requests", "responses"):
        for name in kept("netstack-dht")[kind]:
            yield at("netstack-dht", kind, name, read=decode_datagram, grows=True)
    for name in ("announce", "unannounce"):
        yield at("netstack-dht", name, read=decode_announce, grows=True)
    yield at("netstack-dht", "mutable value", read=decode_mutable, grows=True)
    yield at("netstack-dht", "mutable put", read=decode_mutable_put, grows=True)
    connect = {"holepunch": decode_holepunch, "punch": decode_punch, "pair": blind_relay.decode_pair}
    for name in kept("netstack-connect"):
        if name.split(",")[0] in connect:
            yield at("netstack-connect", name, read=connect[name.split(",")[0]], grows=True)
    yield at("netstack-connect", "unpair", read=blind_relay.decode_unpair, grows=True)
    yield at("netstack-connect", "sealed, handshake hash of 64 times 05", read=sealed_punch, sealed=True)
    for n, vector in enumerate(kept("netstack-lan")):
        yield at("netstack-lan", n, "body", read=partial(notice, vector), sealed=True)


FORMATS = {f"{name}: {place}": form for name, place, form in table()}

# Long fields of vectors that are no rows of the table, and why.
ELSEWHERE = {
    "identity-phrase: phrases.*.recovery": "a public key",
    "identity-invite: messages.*.data": "sessions: tests/property/test_identity_sessions.py, test_identity_invite.py",
    "identity-pairing: messages.*.data": "sessions: tests/property/test_identity_sessions.py, test_identity_pairing.py",
    "log-entry: *.grant": "no grant, but bytes in the place of one",
    "log-pack: 0.blocks": "entries, as in log-entry",
    "docs: refused.bodies.*.body": "damaged themselves: tests/unit/docs/test_vectors.py",
}
