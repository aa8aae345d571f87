"""Values, puts and raw updates for the tests of documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

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
)
from crdt.docs.ids import client_id, document_key
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
from crdt.docs.yjs import varuint

CORE = bytes(range(32))
OTHER = bytes(range(32, 64))

ids = st.binary(min_size=32, max_size=32)
nonces = st.binary(min_size=16, max_size=16)
# every character that a JSON, UTF-8 or Yjs implementation might treat as special, and any other but NUL
odd = st.sampled_from(list('\ufeff\u2028\u2029\x7f\x01\x1e\u200b\U0001f600\uffff\ufffd\U0010ffff"\\/<>é漢'))
letters = st.one_of(odd, st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def text(size: int, least: int = 1) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=least, max_size=size)


moments = st.integers(0, 253_402_300_799_999)
seqs = st.integers(0, 2**53 - 1)
writer_ids = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=16)
maybe = st.none()
flags = st.none() | st.booleans()

files = st.builds(File, text(20), seqs, ids, ids, maybe | text(20))
some_files = st.lists(files, max_size=3).map(tuple)
messages = st.builds(
    Message,
    nonces,
    text(60),
    maybe | ids,
    maybe | moments,
    maybe | text(20),
    maybe | st.integers(1, 2**31 - 1),
    some_files,
)
frontiers = st.dictionaries(writer_ids, seqs, min_size=1, max_size=8).map(lambda read: tuple(sorted(read.items())))
receipts = st.builds(Receipt, frontiers)
overs = st.sets(st.binary(min_size=16, max_size=16), max_size=3).map(lambda ids: tuple(sorted(ids)))
consents = st.lists(st.builds(Consent, ids, st.binary(min_size=64, max_size=64)), min_size=1, max_size=6).map(tuple)
feeds = st.builds(OfferedFeed, ids, ids, ids, consents)
statements = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4).map(tuple)
chat_values = st.one_of(
    messages,
    st.builds(Edit, ids, text(60), overs),
    st.builds(Reaction, ids, text(8), st.booleans(), overs),
    receipts,
    st.builds(
        Offer, ids, ids, text(40), nonces, st.lists(ids, max_size=6).map(tuple), st.lists(ids, max_size=16).map(tuple)
    ),
    st.builds(Answer, ids, statements, st.lists(feeds, min_size=1, max_size=3).map(tuple), nonces),
    st.builds(Decline, ids, nonces),
    st.builds(MemberProfile, text(30), maybe | text(60), maybe | files),
)
personal_values = st.one_of(
    st.builds(OwnProfile, maybe | text(30), maybe | text(60, 0), maybe | files),
    st.builds(
        OwnContact,
        ids,
        flags,
        maybe | text(20, 0),
        maybe | text(20, 0),
        flags,
        flags,
        flags,
        flags,
        maybe | ids,
        statements,
    ),
    st.builds(
        OwnChat,
        ids,
        flags,
        maybe | st.sampled_from(["self", "direct", "group"]),
        maybe | st.sampled_from(["invited", "active", "left", "removed", "declined"]),
        maybe | ids,
        maybe | text(30, 0),
        maybe | ids,
        maybe | ids,
        flags,
    ),
    st.builds(Setting, text(20), maybe | text(40, 0)),
    st.builds(ReadMark, ids, frontiers),
    st.builds(OwnDraft, ids, maybe | text(60, 0), maybe | ids),
    st.builds(
        OwnInvite,
        ids,
        flags,
        maybe | ids,
        maybe | st.binary(min_size=16, max_size=64),
        maybe | moments,
        maybe | moments,
        maybe | ids,
    ),
    st.builds(OwnWriter, ids, ids, flags, maybe | ids, maybe | ids, consents | st.just(())),
    st.builds(DeviceName, ids, maybe | text(30)),
    st.builds(Hidden, ids, ids, flags, over=overs),
    st.builds(Hidden, ids, upto=frontiers),
)


@dataclass(frozen=True, slots=True)
class RawStruct:
    """One struct of an update, byte for byte."""

    info: bytes = b"\x28"
    origins: bytes = b""
    parent: bytes = b"\x01"
    root: bytes = b"messages"
    key: bytes = b""
    content: bytes = b"\x01\x77\x02{}"

    def encode(self) -> bytes:
        name = varuint(len(self.root)) + self.root if self.parent == b"\x01" else b""
        sub = varuint(len(self.key)) + self.key if self.info[0] & 0x20 else b""
        return self.info + self.origins + self.parent + name + sub + self.content


@dataclass(frozen=True, slots=True)
class RawUpdate:
    """An update body from parts that need not fit; as it stands, what an honest writer makes at (CORE, 7)."""

    seq: int = 7
    head: bytes = b"\x01\x01"
    sections: bytes = b"\x01"
    count: bytes | None = None
    client: bytes | None = None
    clock: bytes = b"\x00"
    structs: Sequence[RawStruct] = field(default_factory=lambda: [RawStruct(key=key(7, 0))])
    deletes: bytes = b"\x00"
    tail: bytes = b""

    def encode(self) -> bytes:
        count = varuint(len(self.structs)) if self.count is None else self.count
        client = varuint(client_id(CORE, self.seq)) if self.client is None else self.client
        body = b"".join([struct.encode() for struct in self.structs])
        return self.head + self.sections + count + client + self.clock + body + self.deletes + self.tail


def key(seq: int, place: int, core: bytes = CORE) -> bytes:
    return document_key(core, seq, place).encode()


def string(value: str | bytes) -> bytes:
    """ContentAny of one string."""
    data = value.encode() if isinstance(value, str) else value
    return b"\x01\x77" + varuint(len(data)) + data


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
