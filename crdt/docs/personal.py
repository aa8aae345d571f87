"""Folds the personal space's documents into my contacts, chats, settings and the rest.

`docs/protocol.md`, "The personal space".  Every value is a patch of one subject; each of its fields is a register, set
by the patch that counts among those that set it (`over.py`), and `on` puts the subject into its set or takes it out.
Read marks and deleted chats are frontiers instead, the greatest for each feed: a device that was offline must not make
read messages unread, and no clock decides what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from struct import Struct
from typing import Any, NamedTuple, TypeVar, cast

from crdt.docs.fields import MAX_OVER
from crdt.docs.guard import Admit
from crdt.docs.ids import sort_key, writer_id
from crdt.docs.kinds import KINDS, DocKind
from crdt.docs.over import counting, over, value_id
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
from crdt.docs.schema import OwnValue, parse_value
from identity.errors import DecodeError

T = TypeVar("T")

Feeds = dict[str, int]  # writer id -> how far, the highest seq

# what names the subject of a patch; every other field is a register of its own
SUBJECTS: dict[type[Any], tuple[str, ...]] = {
    OwnProfile: (),
    OwnContact: ("identity",),
    OwnChat: ("space",),
    Setting: ("name",),
    ReadMark: ("space",),
    OwnDraft: ("space",),
    OwnInvite: ("key",),
    OwnWriter: ("space", "writer"),
    DeviceName: ("device",),
    Hidden: ("space", "message"),
}
_REGISTERS = {
    make: tuple(item.name for item in fields(make) if item.name not in (*names, "over", "upto"))
    for make, names in SUBJECTS.items()
}
_ROOTS = KINDS[DocKind.PERSONAL].roots

_key = Struct(">B32sQB")  # root, core, seq, place
_head = Struct("<Q")  # stamp


class OwnFact(NamedTuple):
    """One patch and where it stands.  (A tuple: thousands are read when a profile opens.)"""

    root: str
    core: bytes
    seq: int
    place: int
    stamp: int
    value: OwnValue
    raw: bytes

    def key(self) -> bytes:
        """root | core | seq | place: the same for the same put of the same entry."""
        return _key.pack(_ROOTS.index(self.root), self.core, self.seq, self.place)

    def encode(self) -> bytes:
        """stamp | JSON."""
        return _head.pack(self.stamp) + self.raw

    def order(self) -> bytes:
        """Sorts as a timeline does."""
        return sort_key(self.stamp, self.core, self.seq) + self.core + self.place.to_bytes(2, "big")

    def id(self) -> bytes:
        """What a later patch names as replaced."""
        return value_id(self.core, self.seq, self.place, self.stamp, self.raw)


def own_facts_of(admit: Admit, core: bytes, seq: int, stamp: int) -> list[OwnFact]:
    """The facts of an admitted update of the personal space; puts that the schema refuses say nothing."""
    facts = []
    if admit.kind is DocKind.PERSONAL:
        for place, put in enumerate(admit.puts):
            value: Any = parse_value(admit.kind, put.root, put.json)  # this kind holds OwnValue alone
            if value is not None:
                facts.append(OwnFact(put.root, core, seq, place, stamp, value, put.json.encode()))
    return facts


def decode_own_fact(key: bytes, stored: bytes) -> OwnFact:
    """The fact of one stored pair.  Raises DecodeError."""
    if len(key) != _key.size or len(stored) < _head.size or key[0] >= len(_ROOTS):
        raise DecodeError("not a stored fact")
    number, core, seq, place = _key.unpack(key)
    raw = stored[_head.size :]
    try:
        value: Any = parse_value(DocKind.PERSONAL, _ROOTS[number], raw.decode("utf-8"))
    except UnicodeDecodeError:
        value = None
    if value is None:
        raise DecodeError("a stored fact holds no value")
    return OwnFact(_ROOTS[number], core, seq, place, _head.unpack_from(stored)[0], value, raw)


@dataclass(frozen=True, slots=True)
class Veil:
    """What of one chat I deleted for me alone: messages by themselves, and all up to a frontier of each space in which
    the chat stands (itself and its twins)."""

    messages: frozenset[bytes]
    upto: dict[bytes, Feeds]

    def hides(self, space: bytes, message: bytes, core: bytes, seq: int) -> bool:
        """Whether it covers this message, published by the entry at (core, seq) of one of the spaces."""
        return message in self.messages or seq <= self.upto.get(space, {}).get(writer_id(core), -1)


@dataclass(frozen=True, slots=True)
class PersonalView:
    """Everything my devices agree on.  Sets hold what is in them now; patches are folded field by field."""

    profile: OwnProfile = field(default_factory=OwnProfile)
    contacts: dict[bytes, OwnContact] = field(default_factory=dict)  # identity
    chats: dict[bytes, OwnChat] = field(default_factory=dict)  # space
    settings: dict[str, str] = field(default_factory=dict)
    marks: dict[bytes, Feeds] = field(default_factory=dict)  # space -> what I have read
    markers: dict[bytes, dict[str, bytes]] = field(default_factory=dict)  # space, writer id -> core that said so first
    cleared: dict[bytes, Feeds] = field(default_factory=dict)  # space -> what I deleted of it for me alone
    drafts: dict[bytes, OwnDraft] = field(default_factory=dict)  # space, those with text
    invites: dict[bytes, OwnInvite] = field(default_factory=dict)  # I
    writers: dict[tuple[bytes, bytes], OwnWriter] = field(default_factory=dict)  # space, W
    devices: dict[bytes, str] = field(default_factory=dict)  # device id -> name
    hidden: dict[tuple[bytes, bytes], Hidden] = field(default_factory=dict)  # space, message

    def twins(self, space: bytes) -> list[bytes]:
        """Ids of all direct chats with the same person, ascending; of any other chat its own."""
        chat = self.chats.get(space)
        if chat is None or chat.kind != "direct" or chat.peer is None:
            return [space]
        return sorted(c.space for c in self.chats.values() if c.kind == "direct" and c.peer == chat.peer)

    def veils(self) -> dict[bytes, Veil]:
        """Of each space in which anything is deleted for me alone, or in a twin of it: what."""
        messages: dict[bytes, set[bytes]] = {}
        for space, message in self.hidden:
            messages.setdefault(space, set()).add(message)
        found: dict[bytes, Veil] = {}
        for space in dict.fromkeys((*messages, *self.cleared)):
            for twin in self.twins(space) if space not in found else ():
                found[twin] = Veil(
                    frozenset(message for one in self.twins(twin) for message in messages.get(one, ())),
                    {one: self.cleared[one] for one in self.twins(twin) if one in self.cleared},
                )
        return found

    def has_read(self, space: bytes, core: bytes, seq: int) -> bool:
        """Whether my marks reach the message at this place."""
        marks = self.marks.get(space)
        return marks is not None and seq <= marks.get(writer_id(core), -1)

    def waiting_writers(self, space: bytes) -> list[OwnWriter]:
        """Feeds of my devices that ask to be admitted to a space, by W."""
        return [self.writers[key] for key in sorted(self.writers) if key[0] == space]


class Personal:
    """The registers.  Adding is idempotent and commutes; after a close that changed `shows`, start a new one."""

    __slots__ = ("_cleared", "_marks", "_registers", "_shows")

    def __init__(self, shows: Callable[[bytes, int], bool]) -> None:
        self._shows = shows
        # subject -> register -> core -> the newest fact of that feed that sets it
        self._registers: dict[tuple[type[Any], tuple[Any, ...]], dict[str, dict[bytes, OwnFact]]] = {}
        self._marks: dict[bytes, dict[str, tuple[int, bytes, bytes]]] = {}  # space, writer -> seq, order, core
        self._cleared: dict[bytes, Feeds] = {}

    def add(self, fact: OwnFact) -> bool:
        """Takes a fact in; whether it may have set anything."""
        if not self._shows(fact.core, fact.seq):
            return False
        value = fact.value
        if isinstance(value, ReadMark):
            return self._mark(fact, value)
        if isinstance(value, Hidden) and value.message is None:
            held = self._cleared.setdefault(value.space, {})
            further = {writer: seq for writer, seq in value.upto if seq > held.get(writer, -1)}
            held.update(further)
            return bool(further)
        registers = self._registers.setdefault(subject_of(value), {})
        changed = False
        for name in registers_of(value):
            newest = registers.setdefault(name, {})
            before = newest.get(fact.core)
            if before is None or (fact.seq, fact.place) > (before.seq, before.place):
                newest[fact.core] = fact
                changed = True
        return changed

    def over(self, value: OwnValue, mine: bytes) -> tuple[bytes, ...]:
        """What this patch has to name if the feed `mine` writes it: all that it replaces in the fields that it sets."""
        registers = self._registers.get(subject_of(value), {})
        if isinstance(value, ReadMark):
            return ()
        found: dict[bytes, None] = {}
        for name in registers_of(value):
            found.update(dict.fromkeys(over(registers.get(name, {}), mine)))
        return tuple(sorted(list(found)[:MAX_OVER]))

    def newest(self, subject: OwnValue, register: str) -> list[OwnFact]:
        """The newest fact of each feed that sets this field of what the value is about."""
        return list(self._registers.get(subject_of(subject), {}).get(register, {}).values())

    def _mark(self, fact: OwnFact, mark: ReadMark) -> bool:
        """Raises the frontier.  Who raised it so far first is kept: that device of mine tells the others of it."""
        held = self._marks.setdefault(mark.space, {})
        changed = False
        for writer, seq in mark.upto:
            before = held.get(writer)
            if before is None or seq > before[0] or (seq == before[0] and fact.order() < before[1]):
                held[writer] = seq, fact.order(), fact.core
                changed = True
        return changed

    def view(self) -> PersonalView:
        """What all facts so far say."""
        view = PersonalView(profile=next(iter(self._all(OwnProfile).values()), OwnProfile()))
        view.contacts.update((k[0], value) for k, value in self._present(OwnContact).items() if not value.deleted)
        view.chats.update((key[0], value) for key, value in self._present(OwnChat).items())
        view.settings.update((key[0], value.value) for key, value in self._all(Setting).items() if value.value)
        for space, held in sorted(self._marks.items()):
            view.marks[space] = {writer: seq for writer, (seq, _, _) in sorted(held.items())}
            view.markers[space] = {writer: core for writer, (_, _, core) in sorted(held.items())}
        view.cleared.update((space, dict(sorted(held.items()))) for space, held in sorted(self._cleared.items()))
        view.drafts.update((key[0], value) for key, value in self._all(OwnDraft).items() if value.text)
        view.invites.update((key[0], value) for key, value in self._present(OwnInvite).items())
        view.writers.update(((key[0], key[1]), value) for key, value in self._present(OwnWriter).items())
        view.devices.update((key[0], value.name) for key, value in self._all(DeviceName).items() if value.name)
        view.hidden.update(((key[0], key[1]), value) for key, value in self._present(Hidden).items())
        return view

    def _all(self, make: type[T]) -> dict[tuple[Any, ...], T]:
        """Subjects of one type, in an order that no delivery changes."""
        found = {
            subject: make(**dict(zip(SUBJECTS[make], subject, strict=True)), **_counting(held))
            for (kind, subject), held in self._registers.items()
            if kind is make
        }
        return dict(sorted(found.items(), key=lambda item: tuple(part or b"" for part in item[0])))

    def _present(self, make: type[T]) -> dict[tuple[Any, ...], T]:
        return {subject: value for subject, value in self._all(make).items() if getattr(value, "on", None) is not False}


def subject_of(value: OwnValue) -> tuple[type[Any], tuple[Any, ...]]:
    """What a patch is about: its type, and what names the subject."""
    make = type(value)
    return make, tuple(getattr(value, name) for name in SUBJECTS[make])


def registers_of(value: OwnValue) -> list[str]:
    """The registers that a patch sets."""
    return [name for name in _REGISTERS[type(value)] if getattr(value, name) not in (None, ())]


TEXTS: dict[type[Any], tuple[str, ...]] = {
    OwnContact: ("name", "profile"),
    OwnChat: ("title",),
    OwnProfile: ("name", "about", "picture"),
}
_ALONE = (ReadMark, Hidden, OwnDraft, DeviceName, Setting)


def apart(values: Iterable[Any]) -> list[list[Any]]:
    """Values of one deed as they go into entries: what people call something, and what is replaced often, by itself, so
    that an old word can be erased while all else that was said with it still counts."""
    rest: list[Any] = []
    alone: list[list[Any]] = []
    for value in values:
        texts = [name for name in TEXTS.get(type(value), ()) if getattr(value, name) is not None]
        if isinstance(value, _ALONE):
            alone.append([value])
        elif not texts:
            rest.append(value)
        else:
            if len(texts) < len(registers_of(value)):
                rest.append(replace(value, **dict.fromkeys(texts)))
            make, names = subject_of(value)
            subject = dict(zip(SUBJECTS[make], names, strict=True))
            alone += [[make(**subject, **{name: getattr(value, name)})] for name in texts]
    return [rest, *alone] if rest else alone


def _counting(registers: dict[str, dict[bytes, OwnFact]]) -> dict[str, Any]:
    return {name: getattr(cast("OwnFact", counting(newest)).value, name) for name, newest in registers.items()}


def fold_personal(facts: Iterable[OwnFact], shows: Callable[[bytes, int], bool]) -> PersonalView:
    """The view of a set of facts: the same in any order, with any of them twice.

    shows: whether an entry (core key, seq) lies within what closes admit.
    """
    personal = Personal(shows)
    for fact in facts:
        personal.add(fact)
    return personal.view()
