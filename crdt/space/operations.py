"""Operations: what control entries do, as values (`docs/protocol.md`).  `control.py` has their bytes.

Feeds are named by their writer's key W, members and epochs by the block hash of the entry that began them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from crdt.log.manifest import core_key
from crdt.space.lineage import End


class SpaceKind(IntEnum):
    """What a space is for; numbers are signed and stay."""

    PERSONAL = 0  # my devices
    SELF = 1  # a chat with myself
    DIRECT = 2  # two identities, fixed
    GROUP = 3  # up to 50 members, three ranks


class Parent(NamedTuple):
    """A control entry by feed (core key), place and block hash."""

    core: bytes
    seq: int
    hash: bytes


class FeedEnd(NamedTuple):
    """A feed, by its writer's key W, at a length with its tree hash."""

    writer: bytes
    length: int
    root: bytes

    @property
    def core(self) -> bytes:
        """Core key of the feed."""
        return core_key(self.writer)

    @property
    def end(self) -> End:
        """The end without the feed."""
        return End(self.length, self.root)


class Rostered(NamedTuple):
    """A feed (W) and the device that writes it."""

    writer: bytes
    device: bytes


@dataclass(frozen=True, slots=True)
class Create:
    """Op 0.  Only in block 0 of the creator's feed, with no parents.  title: at most 256 bytes of UTF-8."""

    kind: SpaceKind
    title: str
    identity: bytes
    device: bytes
    statements: tuple[bytes, ...]
    prekey: bytes


@dataclass(frozen=True, slots=True)
class Add:
    """Op 1: a new member `identity` with its first feed.  consent: see `consent.py`; prekey: P of the
    device, or P and K."""

    identity: bytes
    writer: bytes
    device: bytes
    statements: tuple[bytes, ...]
    prekey: bytes
    consent: bytes

    @property
    def core(self) -> bytes:
        """Core key of the new feed."""
        return core_key(self.writer)


@dataclass(frozen=True, slots=True)
class Admit:
    """Op 2: one more feed of the author's own member."""

    writer: bytes
    device: bytes
    statements: tuple[bytes, ...]
    prekey: bytes
    consent: bytes

    @property
    def core(self) -> bytes:
        """Core key of the new feed."""
        return core_key(self.writer)


@dataclass(frozen=True, slots=True)
class Close:
    """Op 3: feeds of `member` (None: of the author's own) end where `feeds` says, ascending by W.

    A removal of somebody else ends what it does not name at 0, so it names every feed of the member.
    """

    member: bytes | None
    feeds: tuple[FeedEnd, ...]


@dataclass(frozen=True, slots=True)
class Admin:
    """Op 4: the creator gives `member` rank 1."""

    member: bytes


@dataclass(frozen=True, slots=True)
class Set:
    """Op 5: a setting of the space; `title` is one."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Epoch:
    """Op 6: a new content key.

    roster: ascending by W; superseded: epoch ids (block hashes), ascending; rendezvous: `epoch.z_check` of its Z;
    classical: places in the roster, ascending, that got E under X25519 alone.
    """

    roster: tuple[Rostered, ...]
    superseded: tuple[bytes, ...]
    rendezvous: bytes
    classical: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Revoke:
    """Op 7: `device` is out, as these statements show together with those that count in the operation's past."""

    device: bytes
    statements: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Witness:
    """Op 8: the author had opened this feed to here when an end or a fallen admission hid it."""

    feed: FeedEnd


@dataclass(frozen=True, slots=True)
class Succeed:
    """Op 9, in block 0: the author's feed continues feed `old` after a clone or restore; signature by the old W."""

    old: bytes
    device: bytes
    statements: tuple[bytes, ...]
    prekey: bytes
    signature: bytes

    @property
    def core(self) -> bytes:
        """Core key of the old feed."""
        return core_key(self.old)


@dataclass(frozen=True, slots=True)
class Slots:
    """Op 10: the grant before this entry has further slots of an epoch that this feed opened earlier, in entry `seq`
    with block hash `epoch`.  It changes nothing of members, writers or epochs."""

    epoch: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """An operation of a later version, as it came; its number is 10 or more."""

    code: int
    data: bytes

    @property
    def stops(self) -> bool:
        """Whether who does not know it must stop: its number is odd."""
        return self.code % 2 == 1


Op = Create | Add | Admit | Close | Admin | Set | Epoch | Revoke | Witness | Succeed | Slots | Unknown
CODES: tuple[type[Op], ...] = (Create, Add, Admit, Close, Admin, Set, Epoch, Revoke, Witness, Succeed, Slots)


@dataclass(frozen=True, slots=True)
class ControlBody:
    """parents: ascending, each once; ops: 1 to 64."""

    parents: tuple[Parent, ...]
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class ControlEntry:
    """A control entry that stands in a verified feed.

    id: its block hash; writer: W; root: the tree hash of its branch at length seq + 1 (any proof that the block stands
    under a signed head gives it); stamp: as entries have it.
    """

    id: bytes
    writer: bytes
    seq: int
    root: bytes
    stamp: int
    parents: tuple[Parent, ...]
    ops: tuple[Op, ...]

    @cached_property
    def core(self) -> bytes:
        """Core key of the feed that it stands in."""
        return core_key(self.writer)

    @property
    def end(self) -> End:
        """The shortest length of its branch that holds it."""
        return End(self.seq + 1, self.root)

    @property
    def parent(self) -> Parent:
        """How later entries name it."""
        return Parent(self.core, self.seq, self.id)
