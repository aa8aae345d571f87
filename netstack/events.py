"""What an endpoint tells its owner.  Connections are named by the numbers that `connect` gave, or `Opened` brings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from netstack.udp.port import Address


class Reason(StrEnum):
    """Why a connection ended or never came to be."""

    ENDED = "ended"  # both sides ended, everything was delivered
    CLOSED = "closed"  # by us, without waiting for the peer
    RESET = "reset"  # by the peer, without waiting for us
    TIMED_OUT = "timed_out"  # what we sent was not acknowledged any more
    SILENT = "silent"  # the peer's keep-alives stopped
    BAD_FRAME = "bad_frame"  # bytes that no honest peer sends
    UNREAD = "unread"  # the peer reads nothing while more and more is written
    PROTOCOL = "protocol"  # the layer above found the peer breaking its rules
    NO_ANSWER = "no_answer"  # none of the addresses answered in time
    NOT_THERE = "not_there"  # something answers at every address, but does not know that key
    REFUSED = "refused"  # the peer answered the handshake with an error
    NO_PATH = "no_path"  # the handshake passed, but no stream came through


class PathKind(StrEnum):
    """What lies between us and a peer."""

    DIRECT = "direct"  # one of us can be reached
    LAN = "lan"  # the same network
    PUNCHED = "punched"  # a hole in one NAT or two
    RELAYED = "relayed"  # a blind relay, which sees neither keys nor contents


@dataclass(frozen=True, slots=True)
class Opened:
    """Both sides have shown that they hold the keys of this very handshake."""

    conn: int
    initiator: bool
    local_key: bytes
    remote_key: bytes
    handshake_hash: bytes  # 64 bytes
    address: Address
    path: PathKind = PathKind.DIRECT


@dataclass(frozen=True, slots=True)
class Moved:
    """An open connection goes another way from now on."""

    conn: int
    address: Address
    path: PathKind


class Frame(NamedTuple):
    """One frame, whole and in order."""

    conn: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Writable:
    """After a `send` that returned False: there is room again."""

    conn: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer will send nothing more; we still may."""

    conn: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of a connection that was opened."""

    conn: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of a connection that never opened."""

    conn: int
    reason: Reason


Event = Opened | Moved | Frame | Writable | Ended | Closed | Failed
EVENTS = (Opened, Moved, Frame, Writable, Ended, Closed, Failed)  # for isinstance
