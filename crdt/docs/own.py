"""Values of the personal space's documents: patches, each of one subject, that set some of its fields.

`docs/protocol.md`, "Values of the personal space".  A field left None is not touched; `on` adds the subject to its set
or takes it out.  Folded (`personal.py`), the same dataclass is the view: every field as the patch that counts set it.
`over` names the patches that this one replaces, in those fields that both of them set.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt.docs.chat import CONSENTS, FILE, REPLACES, STATEMENTS, Consent, File
from crdt.docs.fields import FLAG, KEY, MOMENT, NAME, PREKEY, UPTO, Member, Shape, choice, nested, octets, words


@dataclass(frozen=True, slots=True)
class OwnProfile:
    """My profile; an empty `about` clears it."""

    name: str | None = None
    about: str | None = None
    picture: File | None = None
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class OwnContact:
    """A person, by identity (root key).  An empty `name` goes back to `profile`, the name they gave themselves.
    `blocked` and `deleted` are a person's own word: what a device notes by itself never carries them."""

    identity: bytes
    on: bool | None = None
    name: str | None = None
    profile: str | None = None
    pending: bool | None = None
    blocked: bool | None = None
    deleted: bool | None = None
    verified: bool | None = None
    space: bytes | None = None  # our direct space
    statements: tuple[bytes, ...] = ()  # their device statements as last seen
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class OwnChat:
    """A chat, by space id: what a device of mine needs to list it, ask for admission and find its members."""

    space: bytes
    on: bool | None = None
    kind: str | None = None  # self, direct, group
    state: str | None = None  # invited, active, left, removed, declined
    creator: bytes | None = None  # W of the creator's feed
    title: str | None = None
    peer: bytes | None = None  # the other identity of a direct chat, or who offered a group
    rendezvous: bytes | None = None  # Z as last known
    muted: bool | None = None
    by: bytes | None = None  # identity of who said that I was removed
    old: bytes | None = None  # the group that this one goes on from
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of mine on all devices."""

    name: str
    value: str | None = None
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ReadMark:
    """How far I have read a chat: the highest entry of each feed named, (writer id, seq), writers rising.  For each
    feed the greatest of all marks counts, so a mark needs to name only what it moves."""

    space: bytes
    upto: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class OwnDraft:
    """Text not sent yet; empty when sent or thrown away."""

    space: bytes
    text: str | None = None
    reply_to: bytes | None = None
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class OwnInvite:
    """An invite I gave out, by its key I: every device of mine answers it until it expires.

    payload: the very bytes of its text; both sides' handshake covers them.
    """

    key: bytes
    on: bool | None = None
    seed: bytes | None = None  # of I
    secret: bytes | None = None  # its one-use secret
    created: int | None = None
    expires: int | None = None
    used_by: bytes | None = None  # the identity its use belongs to
    payload: bytes | None = None
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class OwnWriter:
    """A feed of one of my devices that waits to be admitted to a space, by (space, W)."""

    space: bytes
    writer: bytes
    on: bool | None = None
    device: bytes | None = None
    prekey: bytes | None = None
    consents: tuple[Consent, ...] = ()
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class DeviceName:
    """What I call a device of mine, by device id."""

    device: bytes
    name: str | None = None
    over: tuple[bytes, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Hidden:
    """Deleted for me alone: one message of a space, or (no message) all that stood there: how far, as a read mark."""

    space: bytes
    message: bytes | None = None
    on: bool | None = None
    upto: tuple[tuple[str, int], ...] = ()
    over: tuple[bytes, ...] = field(default=(), compare=False)


MAX_DRAFT = 64 * 1024
_LOOSE = words(256, empty=True)
_ON = Member("on", "on", FLAG, optional=True)

OWN_PROFILE = Shape(
    OwnProfile,
    (
        Member("name", "name", NAME, optional=True),
        Member("about", "about", words(4096, empty=True), optional=True),
        Member("picture", "picture", nested(FILE), optional=True),
        REPLACES,
    ),
)
CONTACT = Shape(
    OwnContact,
    (
        Member("id", "identity", KEY),
        _ON,
        Member("name", "name", _LOOSE, optional=True),
        Member("profile", "profile", _LOOSE, optional=True),
        Member("pending", "pending", FLAG, optional=True),
        Member("blocked", "blocked", FLAG, optional=True),
        Member("deleted", "deleted", FLAG, optional=True),
        Member("verified", "verified", FLAG, optional=True),
        Member("space", "space", KEY, optional=True),
        Member("statements", "statements", STATEMENTS, optional=True, default=()),
        REPLACES,
    ),
)
CHAT = Shape(
    OwnChat,
    (
        Member("space", "space", KEY),
        _ON,
        Member("kind", "kind", choice("self", "direct", "group"), optional=True),
        Member("state", "state", choice("invited", "active", "left", "removed", "declined"), optional=True),
        Member("creator", "creator", KEY, optional=True),
        Member("title", "title", _LOOSE, optional=True),
        Member("peer", "peer", KEY, optional=True),
        Member("z", "rendezvous", KEY, optional=True),
        Member("muted", "muted", FLAG, optional=True),
        Member("by", "by", KEY, optional=True),
        Member("old", "old", KEY, optional=True),
        REPLACES,
    ),
)
SETTING = Shape(
    Setting,
    (Member("name", "name", words(64)), Member("value", "value", words(4096, empty=True), optional=True), REPLACES),
)
READ_MARK = Shape(ReadMark, (Member("space", "space", KEY), Member("upto", "upto", UPTO)))
DRAFT = Shape(
    OwnDraft,
    (
        Member("space", "space", KEY),
        Member("text", "text", words(MAX_DRAFT, empty=True), optional=True),
        Member("reply", "reply_to", KEY, optional=True),
        REPLACES,
    ),
)
INVITE = Shape(
    OwnInvite,
    (
        Member("key", "key", KEY),
        _ON,
        Member("seed", "seed", KEY, optional=True),
        Member("secret", "secret", octets(16, 64), optional=True),
        Member("created", "created", MOMENT, optional=True),
        Member("expires", "expires", MOMENT, optional=True),
        Member("by", "used_by", KEY, optional=True),
        Member("payload", "payload", octets(1, 512), optional=True),
        REPLACES,
    ),
)
OWN_WRITER = Shape(
    OwnWriter,
    (
        Member("space", "space", KEY),
        Member("writer", "writer", KEY),
        _ON,
        Member("device", "device", KEY, optional=True),
        Member("prekey", "prekey", PREKEY, optional=True),
        Member("consents", "consents", CONSENTS, optional=True, default=()),
        REPLACES,
    ),
)
DEVICE_NAME = Shape(
    DeviceName, (Member("device", "device", KEY), Member("name", "name", NAME, optional=True), REPLACES)
)
HIDDEN = Shape(
    Hidden,
    (
        Member("space", "space", KEY),
        Member("id", "message", KEY, optional=True),
        _ON,
        Member("upto", "upto", UPTO, optional=True, default=()),
        REPLACES,
    ),
    check=lambda hidden: (hidden.message is None) == bool(hidden.upto),
)
