"""One connection as the engine sees it: its channels, and who proved to be at the other end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf

from crdt.log.item import Item
from identity.hello import HelloDialler, HelloListener
from netstack.wire.protomux import Protomux
from sync.engine.effects import Disconnect, Effect
from sync.replicate.messages import Point, Question, Stretch
from sync.replicate.replicator import Replicator


class Purpose(Enum):
    """Why a connection exists: decided by the key it was dialled under."""

    HELLO = auto()  # a device of mine or of a contact
    PAIR = auto()
    INVITE = auto()


@dataclass(slots=True)
class SpaceLink:
    """One space on one connection.  open: both sides have opened the channel; asked: history requests under way."""

    space: bytes
    channel: int
    id: bytes
    proof: bytes = field(repr=False)  # what the peer's opening must carry
    replicator: Replicator | None = None
    open: bool = False
    gate: int | None = None  # the history request that blocks wait for
    gate_from: float = 0.0
    gate_until: float = 0.0
    gate_size: int = 0  # bytes of packs that came since then
    tried: bool = False  # was asked for the history and did not give it
    received: int = 0  # items so far
    asked: set[int] = field(default_factory=set)
    told: dict[bytes, set[int]] = field(default_factory=dict)  # core -> sealed entries it was asked about already,
    told_at: int = -1  # when this was the counter of its newest record
    lacks: dict[Point | Question | Stretch | tuple[()], tuple[float, float]] = field(
        default_factory=dict
    )  # asked: again at, after (s)
    tips: dict[Point, None] = field(default_factory=dict)  # control entries that the peer told of
    serving: dict[int, Serving] = field(default_factory=dict)
    prekeys: dict[int, bytes] = field(default_factory=dict)  # request of the peer -> its prekey, for keys of packs
    looked: int = 0  # entries that requests for history made this device look at


@dataclass(slots=True)
class Serving:
    """A history request of the peer that is being answered: what is left, and what is not for it."""

    left: deque[tuple[bytes, int, int]]  # (core, start, end), disjoint
    denied: list[tuple[bytes, int, int]]  # (W, start, end)
    control: deque[tuple[bytes, int, bytes]]  # (core, seq, block hash) of control entries, first of all
    given: dict[tuple[bytes, int], set[bytes]]  # (core, seq) of every control entry -> block hashes
    named: bool = False  # the peer names the places that it waits for
    items: list[Item] = field(default_factory=list, repr=False)  # of the pack that is being put together
    octets: int = 0  # of these items
    resume: float = inf  # Unix seconds when to go on with it
    looked: int = 0  # entries looked at since somebody took this number


@dataclass(slots=True)
class Peer:
    """conn: the shell's number; hash: 64-byte handshake hash; local, remote: transport keys; to: the device dialled.
    topic and z: of a dialled key that belongs to nobody yet, where it was found and the secret of that space."""

    conn: int
    purpose: Purpose
    initiator: bool
    local: bytes
    remote: bytes
    hash: bytes
    address: str
    mux: Protomux
    since: float
    to: bytes | None = None
    topic: bytes = b""
    z: bytes | None = field(default=None, repr=False)
    main: int = 0  # channel of hello, pairing or invite
    hello: HelloDialler | HelloListener | None = None
    device: bytes | None = None  # proved
    identity: bytes | None = None
    proved: bytes | None = None  # the device that it proved to be, whether or not it is active
    proved_at: float = 0.0
    offers: set[bytes] = field(default_factory=set)  # space channel ids that came before the proof
    links: dict[bytes, SpaceLink] = field(default_factory=dict)
    by_channel: dict[int, SpaceLink] = field(default_factory=dict)
    granted: dict[bytes, frozenset[bytes]] = field(default_factory=dict)  # space -> epochs handed over
    closing: bool = False
    asked_copy: bool = False  # it was asked for the copy that brings an identity back, once a connection
    owes_copy: bool = False  # and has not answered yet
    told_out: set[bytes] = field(default_factory=set)  # groups of which it was told that it was removed
    guest: bytes | None = None  # proved a device that is out: the identity of which it was
    former: bool = False  # this side proves the device whose place it took
    told: set[bytes] = field(default_factory=set)  # W of feeds that follow others, which it was told of
    leaving: float | None = None  # Unix time at which a device that was told to be out is disconnected
    outdated: set[bytes] = field(default_factory=set)  # spaces of whose epochs here it knows that they are superseded
    known_z: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # space -> lowest epoch handed over, its Z
    earlier: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # space -> Z that cannot be shared, Z used
    fallen_back: dict[bytes, int] = field(default_factory=dict)  # space -> how many of its Z were tried for want of one

    def drop(self, effects: list[Effect], reason: str) -> None:
        """Gives the connection up, once."""
        if not self.closing:
            self.closing = True
            effects.append(Disconnect(self.conn, reason))

    @property
    def dialler_key(self) -> bytes:
        """The transport key of whoever opened the connection: of two connections the larger one stays."""
        return self.local if self.initiator else self.remote
