"""Folds the personal space's documents into my contacts, chats, settings and the rest.

`docs/protocol.md`, "The personal space".  Every value is a patch of one subject; each of its fields is a register that
the latest patch by timeline order sets, and `on` puts the subject into its set or takes it out.  The read mark alone is
the highest and not the latest: a device that was offline must not make read messages unread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from struct import Struct
from typing import Any, NamedTuple, TypeVar

from crdt.docs.guard import Admit
from crdt.docs.ids import sort_key
from crdt.docs.kinds import KINDS, DocKind
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
    make: tuple(item.name for item in fields(make) if item.name not in names) for make, names in SUBJECTS.items()
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
class PersonalView:
    """Everything my devices agree on.  Sets hold what is in them now; patches are folded field by field."""

    profile: OwnProfile = field(default_factory=OwnProfile)
    contacts: dict[bytes, OwnContact] = field(default_factory=dict)  # identity
    chats: dict[bytes, OwnChat] = field(default_factory=dict)  # space
    settings: dict[str, str] = field(default_factory=dict)
    marks: dict[bytes, ReadMark] = field(default_factory=dict)  # space
    markers: dict[bytes, bytes] = field(default_factory=dict)  # space -> core of the feed that set its mark first
    drafts: dict[bytes, OwnDraft] = field(default_factory=dict)  # space, those with text
    invites: dict[bytes, OwnInvite] = field(default_factory=dict)  # I
    writers: dict[tuple[bytes, bytes], OwnWriter] = field(default_factory=dict)  # space, W
    devices: dict[bytes, str] = field(default_factory=dict)  # device id -> name
    hidden: dict[tuple[bytes, bytes | None], Hidden] = field(default_factory=dict)  # space, message or None

    def hides(self, space: bytes, message: bytes, row_sort_key: bytes) -> bool:
        """Whether I deleted this row of this chat for me alone."""
        whole = self.hidden.get((space, None))
        return (space, message) in self.hidden or (
            whole is not None and whole.upto is not None and row_sort_key <= whole.upto
        )

    def waiting_writers(self, space: bytes) -> list[OwnWriter]:
        """Feeds of my devices that ask to be admitted to a space, by W."""
        return [self.writers[key] for key in sorted(self.writers) if key[0] == space]


class Personal:
    """The registers.  Adding is idempotent and commutes; after a close that changed `shows`, start a new one."""

    __slots__ = ("_markers", "_registers", "_shows")

    def __init__(self, shows: Callable[[bytes, int], bool]) -> None:
        self._shows = shows
        self._registers: dict[tuple[type[Any], tuple[Any, ...]], dict[str, tuple[bytes, Any]]] = {}
        self._markers: dict[bytes, tuple[bytes, bytes, bytes]] = {}  # space -> (mark, order, core)

    def add(self, fact: OwnFact) -> bool:
        """Takes a fact in; whether it set anything."""
        if not self._shows(fact.core, fact.seq):
            return False
        value = fact.value
        make = type(value)
        subject = tuple(getattr(value, name) for name in SUBJECTS[make])
        registers = self._registers.setdefault((make, subject), {})
        order = value.upto + value.message if isinstance(value, ReadMark) else fact.order()
        changed = isinstance(value, ReadMark) and self._mark(fact, value.space, order)
        for name in _REGISTERS[make]:
            given = getattr(value, name)
            if given is None or given == ():
                continue
            held = registers.get(name)
            if held is None or order > held[0]:
                registers[name] = order, given
                changed = True
        return changed

    def _mark(self, fact: OwnFact, space: bytes, mark: bytes) -> bool:
        """Whether this is the first fact with the highest mark so far: one device of mine tells the others of it."""
        held = self._markers.get(space)
        if held is not None and (mark < held[0] or (mark == held[0] and fact.order() >= held[1])):
            return False
        self._markers[space] = mark, fact.order(), fact.core
        return True

    def view(self) -> PersonalView:
        """What all facts so far say."""
        view = PersonalView(profile=next(iter(self._all(OwnProfile).values()), OwnProfile()))
        view.contacts.update((key[0], value) for key, value in self._present(OwnContact).items())
        view.chats.update((key[0], value) for key, value in self._present(OwnChat).items())
        view.settings.update((key[0], value.value) for key, value in self._all(Setting).items() if value.value)
        view.marks.update((key[0], value) for key, value in self._all(ReadMark).items())
        view.markers.update((space, core) for space, (_, _, core) in sorted(self._markers.items()))
        view.drafts.update((key[0], value) for key, value in self._all(OwnDraft).items() if value.text)
        view.invites.update((key[0], value) for key, value in self._present(OwnInvite).items())
        view.writers.update(((key[0], key[1]), value) for key, value in self._present(OwnWriter).items())
        view.devices.update((key[0], value.name) for key, value in self._all(DeviceName).items() if value.name)
        view.hidden.update(((key[0], key[1]), value) for key, value in self._present(Hidden).items())
        return view

    def _all(self, make: type[T]) -> dict[tuple[Any, ...], T]:
        """Subjects of one type, in an order that no delivery changes."""
        found = {
            subject: make(**dict(zip(SUBJECTS[make], subject, strict=True)), **{n: v for n, (_, v) in held.items()})
            for (kind, subject), held in self._registers.items()
            if kind is make
        }
        return dict(sorted(found.items(), key=lambda item: tuple(part or b"" for part in item[0])))

    def _present(self, make: type[T]) -> dict[tuple[Any, ...], T]:
        return {subject: value for subject, value in self._all(make).items() if getattr(value, "on", None) is not False}


def fold_personal(facts: Iterable[OwnFact], shows: Callable[[bytes, int], bool]) -> PersonalView:
    """The view of a set of facts: the same in any order, with any of them twice.

    shows: whether an entry (core key, seq) lies within what closes admit.
    """
    personal = Personal(shows)
    for fact in facts:
        personal.add(fact)
    return personal.view()
