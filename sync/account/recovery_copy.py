"""What a recovery copy holds: my contacts and chats, with what is needed to find them and to come back in.

Whoever has the 24 words opens it (`identity.recovery`).  Messages are not in it.  `docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.statement import MAX_STATEMENT, PREFIX

MAX_CONTACTS = 1024
MAX_CHATS = 1024
MAX_NAME = 256  # bytes
MAX_TITLE = 1024
MAX_STATEMENTS = 12  # of one contact: their six devices, each with the one that certified it
MAX_WRITERS = 6  # of one chat: as many consents as one request has
MAX_PLACES = 6
MAX_PLACE = 700  # bytes
KINDS = ("direct", "group")
BLOCKED, VERIFIED = 1, 2


@dataclass(frozen=True, slots=True)
class CopiedContact:
    """A contact.  places: (device id, encoded whereabouts) as they were known."""

    identity: bytes
    name: str
    profile: str
    blocked: bool
    verified: bool
    space: bytes
    statements: tuple[bytes, ...] = ()
    places: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class CopiedChat:
    """A chat.  rendezvous: Z; writers: W of feeds of others that may let me in again."""

    space: bytes
    kind: str
    title: str
    creator: bytes
    peer: bytes
    rendezvous: bytes = field(repr=False)
    writers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryCopy:
    """generation: that of the statements when it was made; about: my line about myself."""

    generation: int
    about: str
    contacts: tuple[CopiedContact, ...]
    chats: tuple[CopiedChat, ...]


def encode_copy(copy: RecoveryCopy) -> bytes:
    """version | suite | generation | about | contacts | chats."""
    out = Writer().raw(PREFIX).uint(copy.generation).string(copy.about)

    def contact(w: Writer, c: CopiedContact) -> None:
        w.raw(c.identity).string(c.name).string(c.profile)
        w.uint(c.blocked * BLOCKED + c.verified * VERIFIED).raw(c.space)
        w.array(c.statements, Writer.buffer)
        w.array(c.places, lambda w, place: w.raw(place[0]).buffer(place[1]))

    def chat(w: Writer, c: CopiedChat) -> None:
        w.raw(c.space).uint(KINDS.index(c.kind)).string(c.title).raw(c.creator).raw(c.peer).raw(c.rendezvous)
        w.array(c.writers, Writer.raw)

    out.array(copy.contacts, contact)
    return out.array(copy.chats, chat).finish()


def decode_copy(data: bytes) -> RecoveryCopy:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a recovery copy of another version")
    generation, about = reader.uint(), reader.string(MAX_TITLE)

    def contact(r: Reader) -> CopiedContact:
        identity, name, profile = r.fixed(32), r.string(MAX_NAME), r.string(MAX_NAME)
        flags, space = r.uint(BLOCKED | VERIFIED), r.fixed(32)
        statements = tuple(r.array(lambda r: r.buffer(MAX_STATEMENT), MAX_STATEMENTS))
        places = tuple(r.array(lambda r: (r.fixed(32), r.buffer(MAX_PLACE)), MAX_PLACES))
        return CopiedContact(
            identity, name, profile, bool(flags & BLOCKED), bool(flags & VERIFIED), space, statements, places
        )

    def chat(r: Reader) -> CopiedChat:
        space, kind, title = r.fixed(32), r.uint(len(KINDS) - 1), r.string(MAX_TITLE)
        creator, peer, rendezvous = r.fixed(32), r.fixed(32), r.fixed(32)
        return CopiedChat(
            space, KINDS[kind], title, creator, peer, rendezvous, tuple(r.array(lambda r: r.fixed(32), MAX_WRITERS))
        )

    contacts = tuple(reader.array(contact, MAX_CONTACTS))
    chats = tuple(reader.array(chat, MAX_CHATS))
    reader.end()
    return RecoveryCopy(generation, about, contacts, chats)
