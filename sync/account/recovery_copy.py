"""What a recovery copy holds: my devices, contacts and chats, with what is needed to find them and to come back in.

Whoever has the 24 words opens it (`identity.recovery`).  Messages are not in it.  `docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from identity.codec import Reader, Writer
from identity.device_set import MAX_DEVICES
from identity.errors import DecodeError
from identity.recovery import MAX_TEXT
from identity.statement import MAX_STATEMENT, PREFIX

MAX_CONTACTS = 1024
MAX_CHATS = 1024
MAX_LEFT = 1 << 20  # counted of what a copy has no room for
MAX_NAME = 256  # bytes
MAX_TITLE = 1024
MAX_STATEMENTS = 12  # of one contact: their six devices, each with the one that certified it
MAX_WRITERS = 6  # of one chat: as many consents as one request has
MAX_PLACES = 6
MAX_PLACE = 700  # bytes
KINDS = ("direct", "group")
BLOCKED, VERIFIED = 1, 2


@dataclass(frozen=True, slots=True)
class CopiedDevice:
    """A device of mine.  certificate: a standing one, encoded; writer: its W in the personal space; place: encoded
    whereabouts, empty where none are known."""

    name: str
    certificate: bytes
    writer: bytes
    place: bytes = b""


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
    """A chat.  peer: the other person, of a group who restarted it; rendezvous: Z; writers: W of feeds of others that
    could let me in again; old: the group that this one goes on from, zeros for none."""

    space: bytes
    kind: str
    title: str
    creator: bytes
    peer: bytes
    rendezvous: bytes = field(repr=False)
    writers: tuple[bytes, ...] = ()
    old: bytes = bytes(32)


@dataclass(frozen=True, slots=True)
class RecoveryCopy:
    """generation: that of the statements when it was made; about: my line about myself; personal, rendezvous: id and Z
    of the personal space of `devices`; left: how many contacts and chats had no room."""

    generation: int
    about: str
    contacts: tuple[CopiedContact, ...]
    chats: tuple[CopiedChat, ...]
    personal: bytes = bytes(32)
    rendezvous: bytes = field(default=bytes(32), repr=False)
    devices: tuple[CopiedDevice, ...] = ()
    left: int = 0


def encode_copy(copy: RecoveryCopy) -> bytes:
    """version | suite | generation | about | personal space, its Z, devices | contacts and chats left out | contacts |
    chats."""
    out = Writer().raw(PREFIX).uint(copy.generation).string(copy.about)
    out.raw(copy.personal).raw(copy.rendezvous)
    out.array(copy.devices, lambda w, d: w.string(d.name).buffer(d.certificate).raw(d.writer).buffer(d.place))
    return out.uint(copy.left).array(copy.contacts, _put_contact).array(copy.chats, _put_chat).finish()


def _put_contact(out: Writer, c: CopiedContact) -> None:
    out.raw(c.identity).string(c.name).string(c.profile)
    out.uint(c.blocked * BLOCKED + c.verified * VERIFIED).raw(c.space)
    out.array(c.statements, Writer.buffer)
    out.array(c.places, lambda w, place: w.raw(place[0]).buffer(place[1]))


def _put_chat(out: Writer, c: CopiedChat) -> None:
    out.raw(c.space).uint(KINDS.index(c.kind)).string(c.title).raw(c.creator).raw(c.peer).raw(c.rendezvous)
    out.array(c.writers, Writer.raw).raw(c.old)


def decode_copy(data: bytes) -> RecoveryCopy:
    """Raises DecodeError."""
    reader = Reader(data)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a recovery copy of another version")
    generation, about = reader.uint(), reader.string(MAX_TITLE)
    personal, rendezvous = reader.fixed(32), reader.fixed(32)

    def device(r: Reader) -> CopiedDevice:
        return CopiedDevice(r.string(MAX_NAME), r.buffer(MAX_STATEMENT), r.fixed(32), r.buffer(MAX_PLACE))

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
        creator, peer, z = r.fixed(32), r.fixed(32), r.fixed(32)
        writers = tuple(r.array(lambda r: r.fixed(32), MAX_WRITERS))
        return CopiedChat(space, KINDS[kind], title, creator, peer, z, writers, r.fixed(32))

    devices = tuple(reader.array(device, MAX_DEVICES))
    left = reader.uint(MAX_LEFT)
    contacts = tuple(reader.array(contact, MAX_CONTACTS))
    chats = tuple(reader.array(chat, MAX_CHATS))
    reader.end()
    return RecoveryCopy(generation, about, contacts, chats, personal, rendezvous, devices, left)


def fitted(copy: RecoveryCopy, latest: Mapping[bytes, int], room: int = MAX_TEXT) -> RecoveryCopy:
    """The copy as it fits into `room` bytes, and into the numbers that a copy holds.

    latest: space id -> when something was last said there.  What was quiet longest goes first: of a contact the
    statements and places, which the topic of its chat makes up for; then the contact with its chat.  Blocked contacts
    and contacts without a chat go before all others.  `left` counts contacts and chats that are not in it.
    """
    size = len(encode_copy(copy))
    if size <= room and len(copy.contacts) <= MAX_CONTACTS and len(copy.chats) <= MAX_CHATS:
        return copy
    contacts = {contact.identity: contact for contact in copy.contacts}
    units: dict[bytes, list[CopiedContact | CopiedChat]] = {identity: [contacts[identity]] for identity in contacts}
    for chat in copy.chats:
        units.setdefault(chat.peer if chat.kind == "direct" and chat.peer in contacts else chat.space, []).append(chat)

    def need(unit: list[CopiedContact | CopiedChat]) -> tuple[bool, int]:
        blocked = any(isinstance(one, CopiedContact) and one.blocked for one in unit)
        return not blocked, max(latest.get(one.space, 0) for one in unit)

    ranked = sorted(units.items(), key=lambda unit: (need(unit[1]), unit[0]), reverse=True)
    free = room - len(encode_copy(replace(copy, contacts=(), chats=(), left=MAX_LEFT))) - 4  # two counts of two bytes
    taken: dict[bytes, CopiedContact | CopiedChat] = {}
    numbers = {CopiedContact: MAX_CONTACTS, CopiedChat: MAX_CHATS}
    for _, unit in ranked:
        bare = [_bare(one) for one in unit]
        cost = sum(map(_size, bare))
        kinds = [type(one) for one in bare]
        if cost <= free and all(kinds.count(kind) <= number for kind, number in numbers.items()):
            free -= cost
            taken.update((_key(one), one) for one in bare)
            for kind in kinds:
                numbers[kind] -= 1
    for _, unit in ranked:
        for one in unit:
            more = _size(one) - _size(_bare(one))
            if _key(one) in taken and more <= free:
                free -= more
                taken[_key(one)] = one
    kept = [one for one in taken.values() if isinstance(one, CopiedContact)]
    chats = [one for one in taken.values() if isinstance(one, CopiedChat)]
    return replace(
        copy,
        contacts=tuple(sorted(kept, key=lambda one: one.identity)),
        chats=tuple(sorted(chats, key=lambda one: one.space)),
        left=min(copy.left + len(copy.contacts) + len(copy.chats) - len(taken), MAX_LEFT),
    )


def _bare(one: CopiedContact | CopiedChat) -> CopiedContact | CopiedChat:
    return replace(one, statements=(), places=()) if isinstance(one, CopiedContact) else one


def _key(one: CopiedContact | CopiedChat) -> bytes:
    return b"c" + one.identity if isinstance(one, CopiedContact) else b"s" + one.space


def _size(one: CopiedContact | CopiedChat) -> int:
    out = Writer()
    _put_contact(out, one) if isinstance(one, CopiedContact) else _put_chat(out, one)
    return len(out)
