"""Facts: what one entry says, cut up by whom it is about and kept in a key-value store.

`docs/protocol.md`, "Timeline".  Facts are the only input of the folds in `timeline.py`.  Their keys put everything
about one message side by side, so that whoever adds a fact reads one range, folds it, and writes one row.  A fact is
made from its entry alone (and the author's core key): the same entry gives the same facts, in any order, twice or once.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from crdt.docs.chat import Answer, Decline, Edit, MemberProfile, Message, Offer, Reaction, Receipt, Restart
from crdt.docs.deletion import Block, Deletion, decode_deletion, encode_deletion
from crdt.docs.guard import Admit
from crdt.docs.ids import message_id, sort_key
from crdt.docs.kinds import DocKind
from crdt.docs.over import value_id
from crdt.docs.schema import parse_value
from identity.errors import DecodeError

FactValue = Message | Edit | Reaction | Receipt | MemberProfile | Offer | Answer | Decline | Restart | Deletion | Block

ABOUT_MESSAGE = b"\x01"  # | message id
ABOUT_BLOCK = b"\x02"  # | core | seq
ABOUT_READING = b"\x03"
ABOUT_PROFILES = b"\x04"
ABOUT_OFFERS = b"\x05"


class FactKind(IntEnum):
    """Stored: numbers stay."""

    COPY = 0  # the message, first or published again
    EDIT = 1
    REACTION = 2
    DELETION = 3  # of the message
    CLEAR = 4  # of the block: a deletion names it
    RECEIPT = 5
    PROFILE = 6
    OFFER = 7


_tail = Struct(">B32sQH")  # kind, core, seq, place in the entry
_head = Struct("<QQ")  # stamp, arrival in Unix ms
_block = Struct(">32sQ")

_ROOT_OF = {
    FactKind.COPY: "messages",
    FactKind.EDIT: "edits",
    FactKind.REACTION: "reactions",
    FactKind.RECEIPT: "receipts",
    FactKind.PROFILE: "meta",
    FactKind.OFFER: "offers",
}


class Fact(NamedTuple):
    """One fact.  (A tuple, not a dataclass: made once a message on the way in.)

    about: the prefix of its key; core, seq, place: the entry and the put that say it; stamp: the entry's; arrived: Unix
    ms of this device, view only; value: what is said, None once its bytes are erased; raw: its stored form.
    """

    about: bytes
    kind: FactKind
    core: bytes
    seq: int
    place: int
    stamp: int
    arrived: int
    value: FactValue | None
    raw: bytes

    def key(self) -> bytes:
        """about | kind | core | seq | place: the same for the same put of the same entry."""
        return self.about + _tail.pack(self.kind, self.core, self.seq, self.place)

    def encode(self) -> bytes:
        """The stored value: arrival and content; the rest is in the key."""
        return _head.pack(self.stamp, self.arrived) + self.raw

    def order(self) -> bytes:
        """Sorts as the timeline does; the core key parts two writers whose short ids were made equal."""
        return sort_key(self.stamp, self.core, self.seq) + self.core + self.place.to_bytes(2, "big")

    def id(self) -> bytes:
        """What a later value names as replaced."""
        return value_id(self.core, self.seq, self.place, self.stamp, self.raw)

    @property
    def message(self) -> bytes | None:
        """The id of the message that this is about."""
        return self.about[1:] if self.about[:1] == ABOUT_MESSAGE else None

    def erased(self) -> Fact:
        """The same fact without its content: what stays of a message, edit or reaction when its block is cleared."""
        return self._replace(value=None, raw=b"")


def facts_of(admit: Admit, author: bytes, core: bytes, seq: int, stamp: int, arrived: int) -> list[Fact]:
    """The facts of an admitted chat update; puts that the schema refuses say nothing.

    author: what the message ids of the writer's member hang on (`message_id`).
    """
    facts = []
    for place, put in enumerate(admit.puts):
        value = parse_value(admit.kind, put.root, put.json)
        match value:
            case Message():
                about, kind = ABOUT_MESSAGE + message_id(author, value.nonce), FactKind.COPY
            case Edit():
                about, kind = ABOUT_MESSAGE + value.message, FactKind.EDIT
            case Reaction():
                about, kind = ABOUT_MESSAGE + value.message, FactKind.REACTION
            case Receipt():
                about, kind = ABOUT_READING, FactKind.RECEIPT
            case MemberProfile():
                about, kind = ABOUT_PROFILES, FactKind.PROFILE
            case Offer() | Answer() | Decline() | Restart():
                about, kind = ABOUT_OFFERS, FactKind.OFFER
            case _:
                continue
        facts.append(Fact(about, kind, core, seq, place, stamp, arrived, value, put.json.encode()))
    return facts


def facts_of_deletion(body: bytes, core: bytes, seq: int, stamp: int, arrived: int) -> list[Fact]:
    """The facts of a deletion entry: one about the message, one about each block.  Raises DecodeError."""
    deletion = decode_deletion(body)
    about = ABOUT_MESSAGE + deletion.message
    facts = [Fact(about, FactKind.DELETION, core, seq, 0, stamp, arrived, deletion, body)]
    for place, block in enumerate(deletion.blocks):
        about = block_prefix(block.core, block.seq)
        facts.append(Fact(about, FactKind.CLEAR, core, seq, place, stamp, arrived, block, block.leaf))
    return facts


def message_prefix(message: bytes) -> bytes:
    """Every key of a fact about this message starts so, and no other key does."""
    return ABOUT_MESSAGE + message


def block_prefix(core: bytes, seq: int) -> bytes:
    """Every key of a CLEAR fact about this block starts so."""
    return ABOUT_BLOCK + _block.pack(core, seq)


def messages_of(facts: Iterable[Fact]) -> set[bytes]:
    """The ids of the messages whose rows these facts may change.

    A CLEAR fact changes those that its block speaks of: they follow from the block, by `facts_of`, not from the fact.
    """
    return {fact.about[1:] for fact in facts if fact.about[:1] == ABOUT_MESSAGE}


def decode_fact(key: bytes, stored: bytes) -> Fact:
    """The fact of one stored pair.  Raises DecodeError."""
    if len(key) <= _tail.size or len(stored) < _head.size:
        raise DecodeError("not a stored fact")
    about = key[: -_tail.size]
    number, core, seq, place = _tail.unpack_from(key, len(about))
    stamp, arrived = _head.unpack_from(stored)
    raw = stored[_head.size :]
    try:
        kind = FactKind(number)
    except ValueError:
        raise DecodeError("a fact of an unknown kind") from None
    return Fact(about, kind, core, seq, place, stamp, arrived, _value(kind, about, raw), raw)


def _value(kind: FactKind, about: bytes, raw: bytes) -> FactValue | None:
    if kind is FactKind.CLEAR:
        if len(about) != 1 + _block.size:
            raise DecodeError("a fact about no block")
        core, seq = _block.unpack_from(about, 1)
        return Block(core, seq, raw)
    if not raw:
        return None
    if kind is FactKind.DELETION:
        return decode_deletion(raw)
    try:
        value = parse_value(DocKind.CHAT, _ROOT_OF[kind], raw.decode("utf-8"))
    except UnicodeDecodeError:
        value = None
    if value is None:
        raise DecodeError("a stored fact holds no value")
    return value  # type: ignore[return-value]  # the roots above hold nothing else


__all__ = [
    "Fact",
    "FactKind",
    "FactValue",
    "block_prefix",
    "decode_fact",
    "encode_deletion",
    "facts_of",
    "facts_of_deletion",
    "message_prefix",
    "messages_of",
]
