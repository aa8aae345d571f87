"""Values of a chat's documents, one dataclass for what a root holds.

`docs/protocol.md`, "Values of a chat".  All are facts that their author adds and nobody changes: an edit, a reaction
taken back or a newer receipt is a further value.  Where one replaces another, `over` names what it replaces
(`over.py`); it is no part of what the value says, and two values are equal without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt.docs.fields import (
    FLAG,
    KEY,
    MAX_INT,
    MOMENT,
    NAME,
    OVER,
    PREKEY,
    TEXT,
    UPTO,
    Member,
    Shape,
    nested,
    octets,
    several,
    whole,
    words,
)
from crdt.docs.ids import NONCE_BYTES
from identity.statement import MAX_STATEMENT, MAX_STATEMENTS

MAX_FILES = 16
MAX_DEVICES = 6
MAX_RECEIPT = 1024  # feeds one receipt or read mark names
MAX_EMOJI = 20  # different ones of one member on one message
MAX_LIFETIME = 2**31 - 1
OFFER_ID = 16  # bytes
MAX_PAST = 16  # tips of a control graph that an offer names
MAX_WITHOUT = 50  # people whom a restart leaves out
MAX_RESTARTS = 2  # of one feed that are looked at


@dataclass(frozen=True, slots=True)
class File:
    """An attachment: basename, bytes, Merkle root of its sealed chunks, file key; media type as its author claims."""

    name: str
    size: int
    root: bytes
    key: bytes
    media: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message.  `nonce` (16 B) makes its id; `at` (Unix ms) and `source` are the quoted origin of an imported one;
    `lifetime` is in seconds from the entry's stamp.  Text may be empty only where files stand."""

    nonce: bytes
    text: str
    reply_to: bytes | None = None
    at: int | None = None
    source: str | None = None
    lifetime: int | None = None
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """A new text for a message of the same author, whichever of the author's devices writes it."""

    message: bytes
    text: str
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Reaction:
    """A mark: this member's `emoji` on a message is now on or off."""

    message: bytes
    emoji: str
    on: bool
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The highest entry read of each feed named: (writer id, seq), writers rising."""

    upto: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Consent:
    """A feed's signature for the feed that admits it, which is named by its writer key W."""

    admitting: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class OfferedFeed:
    """A feed that asks to be admitted: its writer key W, its device id, that device's prekey (P, or P and K),
    and consents."""

    writer: bytes
    device: bytes
    prekey: bytes
    consents: tuple[Consent, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """An invitation into a space, good for one coming-in.

    `id` names it, also when it is said again with more feeds; `creator` is the W of the creator's feed (its core key
    follows and gives the space id); `feeds` are the W of the feeds in that space that may write the `add`, for consents
    to name (none: the creator's); `past` are the tips of the control graph (entry ids, rising) when it was made: an add
    or a removal of the person that stands outside their past uses it up; `again`: its author has just ended their
    membership to let them in as a member, so their devices come back by themselves; `old`: the group that this one goes
    on from.
    """

    space: bytes
    creator: bytes
    title: str
    id: bytes
    feeds: tuple[bytes, ...] = ()
    past: tuple[bytes, ...] = ()
    again: bool = False
    old: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The acceptance of an offer: the device statements of my identity, and a feed for each of my devices present."""

    space: bytes
    statements: tuple[bytes, ...]
    feeds: tuple[OfferedFeed, ...]
    id: bytes


@dataclass(frozen=True, slots=True)
class Decline:
    """The refusal of an offer; by whoever made the offer, its withdrawal."""

    space: bytes
    id: bytes


@dataclass(frozen=True, slots=True)
class Restart:
    """The old group goes on in a new one: an offer to all who stand in the old one, said there, and answered there.

    `old` and `space` are the ids of both; `creator`, `id` and `feeds` are as in an offer; `past` are tips of the old
    group's control graph: who came in behind them is not meant; `without` are identities that are left out;
    `statements` show that the devices of the old creator are out; `signature` is the new creator's, for the feed that
    says this.
    """

    space: bytes
    old: bytes
    creator: bytes
    id: bytes
    signature: bytes
    feeds: tuple[bytes, ...]
    past: tuple[bytes, ...]
    without: tuple[bytes, ...] = ()
    statements: tuple[bytes, ...] = ()

    def offer(self) -> Offer:
        """What it offers to each of them."""
        return Offer(self.space, self.creator, "", self.id, self.feeds)


@dataclass(frozen=True, slots=True)
class MemberProfile:
    """What a member calls itself: a copy of the profile in its personal space."""

    name: str
    about: str | None = None
    picture: File | None = None
    over: tuple[bytes, ...] = field(default=(), compare=False)


FILE = Shape(
    File,
    (
        Member("name", "name", words(255)),
        Member("size", "size", whole(0, MAX_INT)),
        Member("root", "root", KEY),
        Member("key", "key", KEY),
        Member("type", "media", words(127), optional=True),
    ),
)
MESSAGE = Shape(
    Message,
    (
        Member("nonce", "nonce", octets(NONCE_BYTES)),
        Member("text", "text", words(64 * 1024, empty=True)),
        Member("reply", "reply_to", KEY, optional=True),
        Member("at", "at", MOMENT, optional=True),
        Member("from", "source", NAME, optional=True),
        Member("life", "lifetime", whole(1, MAX_LIFETIME), optional=True),
        Member("files", "files", several(nested(FILE), 1, MAX_FILES), optional=True, default=()),
    ),
    check=lambda message: bool(message.text or message.files),
)
REPLACES = Member("over", "over", OVER, optional=True, default=())
EDIT = Shape(Edit, (Member("id", "message", KEY), Member("text", "text", TEXT), REPLACES))
REACTION = Shape(
    Reaction, (Member("id", "message", KEY), Member("emoji", "emoji", words(64)), Member("on", "on", FLAG), REPLACES)
)
RECEIPT = Shape(Receipt, (Member("upto", "upto", UPTO),))
CONSENT = Shape(Consent, (Member("by", "admitting", KEY), Member("sig", "signature", octets(64))))
CONSENTS = several(nested(CONSENT), 1, MAX_DEVICES)
OFFERED_FEED = Shape(
    OfferedFeed,
    (
        Member("writer", "writer", KEY),
        Member("device", "device", KEY),
        Member("prekey", "prekey", PREKEY),
        Member("consents", "consents", CONSENTS),
    ),
)
OFFER = Shape(
    Offer,
    (
        Member("offer", "space", KEY),
        Member("creator", "creator", KEY),
        Member("title", "title", NAME),
        Member("id", "id", octets(OFFER_ID)),
        Member("feeds", "feeds", several(KEY, 1, MAX_DEVICES), optional=True, default=()),
        Member("past", "past", several(KEY, 1, MAX_PAST), optional=True, default=()),
        Member("again", "again", FLAG, optional=True, default=False),
        Member("old", "old", KEY, optional=True),
    ),
)
STATEMENTS = several(octets(1, MAX_STATEMENT), 1, MAX_STATEMENTS)
ANSWER = Shape(
    Answer,
    (
        Member("answer", "space", KEY),
        Member("statements", "statements", STATEMENTS),
        Member("feeds", "feeds", several(nested(OFFERED_FEED), 1, MAX_DEVICES)),
        Member("id", "id", octets(OFFER_ID)),
    ),
)
DECLINE = Shape(Decline, (Member("decline", "space", KEY), Member("id", "id", octets(OFFER_ID))))
RESTART = Shape(
    Restart,
    (
        Member("restart", "space", KEY),
        Member("old", "old", KEY),
        Member("creator", "creator", KEY),
        Member("id", "id", octets(OFFER_ID)),
        Member("sig", "signature", octets(64)),
        Member("feeds", "feeds", several(KEY, 1, MAX_DEVICES)),
        Member("past", "past", several(KEY, 1, MAX_PAST)),
        Member("without", "without", several(KEY, 1, MAX_WITHOUT), optional=True, default=()),
        Member("statements", "statements", STATEMENTS, optional=True, default=()),
    ),
)
PROFILE = Shape(
    MemberProfile,
    (
        Member("name", "name", NAME),
        Member("about", "about", words(4096), optional=True),
        Member("picture", "picture", nested(FILE), optional=True),
        REPLACES,
    ),
)
