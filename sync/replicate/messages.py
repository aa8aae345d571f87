"""What travels on one `kithkin/space/1` channel: twenty-one messages, each at most 320 KiB, every count bounded.

The channel's name carries the version; the first message, the digest, carries version and suite.  How each is written
stands in `encoding.py`.  `docs/protocol.md`, "Replication".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from crdt.log.head import Head
from crdt.log.merkle import Leaf
from identity.kem import HYBRID

MAX_MESSAGE = 320 * 1024
MAX_FEEDS = 4096  # in a space, closed ones included
MAX_PART = 1024  # heads or records in one frontier message
MAX_RANGE = 2048  # blocks in one message
MAX_POINTS = 256  # fetched blocks, or ends to be proved, in one message
MAX_TIPS = 1024
MAX_PIECE = 256 * 1024
MAX_PREKEY = HYBRID
MAX_PACK_KEY = 1300  # of a pack, sealed to the asker
MAX_NODES = 48  # of a tail, or roots of a length: MAX_LENGTH has 40 bits
MAX_ID = 2**32 - 1

Block = bytes | Leaf  # a block, or (size, leaf hash) of one that is withheld
Span = tuple[bytes, int, int]  # (writer W, first seq, seq after the last)
Point = tuple[bytes, int, bytes]  # (core key, seq, leaf hash)
Question = tuple[bytes, int, bytes, int]  # (core key, length and tree hash of an end, a length at or below it)
Ends = tuple[tuple[int, bytes], ...]  # (length, tree hash) of one branch, ascending


@dataclass(frozen=True, slots=True)
class Digest:
    """One hash over the whole frontier; durable: all of it survives a power cut here."""

    value: bytes
    durable: bool


@dataclass(frozen=True, slots=True)
class Frontier:
    """Heads held, counters of records held, writers with a fork proof held.  last: the first exchange ends here.

    After the exchange the same message announces what is new.
    """

    last: bool = False
    durable: bool = False
    heads: tuple[Head, ...] = ()
    records: tuple[tuple[bytes, int], ...] = ()
    forks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """Send this feed from `start`, to your newest head or, where end > 0, to `end`.

    ticket: names this request in its answers, never 0; anchor: hash over the root hashes at `start`, so that nobody is
    sent a range of another branch; leaves: hashes suffice, the blocks are here.
    """

    writer: bytes
    ticket: int
    start: int
    end: int
    anchor: bytes
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class Wants:
    """Asks for ranges of several feeds at once."""

    wants: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Consecutive blocks and the nodes that lead from them to the newest head told.  ticket 0: pushed, unasked."""

    writer: bytes
    ticket: int
    start: int
    head: Head | None
    blocks: tuple[Block, ...] = field(repr=False)
    tail: tuple[Leaf, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credit:
    """So many more bytes of blocks, records and pieces may be sent."""

    amount: int


@dataclass(frozen=True, slots=True)
class Ack:
    """(writer, length) that is durable at the sender."""

    lengths: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Wants that will not be answered: not held, or not that far."""

    writers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """The sender's feed at `length` is not what the receiver said: its roots there, and the nodes up to its head."""

    head: Head
    length: int
    roots: tuple[Leaf, ...]
    tail: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A device record, opaque here.  The highest counter of a writer counts."""

    writer: bytes
    counter: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WantRecords:
    """Asks for the newest device records of these writers."""

    writers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Asks for items of these spans, or (None) of everything that the receiver may give.  prekey: the asker's, to which
    the keys of packs are sealed; opaque here."""

    request: int
    spans: tuple[Span, ...] | None
    prekey: bytes = b""


@dataclass(frozen=True, slots=True)
class HistoryPiece:
    """A part of one sealed pack.  The first part (index 0) carries the pack's key, sealed to the asker's device; opaque
    here, at most 1,300 bytes."""

    request: int
    pack: int
    index: int
    last: bool
    key: bytes = field(repr=False)
    chunk: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Spans that are not for the asker; done: nothing more follows on this request."""

    request: int
    done: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Asks for single blocks by place and hash, on whatever branch they stand."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """Shows that a feed, at some length, lies under a signed head, and what it was at a shorter length.

    at: the shorter length; roots: those at it; middle: the nodes from there to the length; tail: those on to the head.
    """

    head: Head
    at: int
    roots: tuple[Leaf, ...]
    middle: tuple[Leaf, ...]
    tail: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to one point; None: not held.  The proof is of the length seq + 1, at seq."""

    point: Point
    block: bytes | None = field(repr=False)
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Tips:
    """Control entries that no other names, as far as the sender folds: to be fetched where they are not known."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class WantProofs:
    """Asks for proofs of ends, and for what the feed was at a shorter length."""

    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Proved:
    """The answer to one question; None: not held.  A proof may be at another length than the one asked for."""

    question: Question
    proof: Proof | None


class Stretch(NamedTuple):
    """A stretch of a branch: of which feed, from which seq on, up to which end (length and tree hash)."""

    core: bytes
    start: int
    length: int
    root: bytes


@dataclass(frozen=True, slots=True)
class WantStretch:
    """Asks for the blocks of a branch from a seq on, up to an end that is proved already."""

    stretch: Stretch


@dataclass(frozen=True, slots=True)
class StretchBlocks:
    """Blocks from the start of a stretch on, as many as fit, and the nodes from there to its end; none: not held."""

    stretch: Stretch
    blocks: tuple[Block, ...] = field(repr=False)
    tail: tuple[Leaf, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fork:
    """Two signed heads that cannot be one history.

    At `length`, which both reach, the histories have different roots; roots and tail of each prove that this is so.
    Heads of one length with different tree hashes need no nodes: then `length` is 0 and all four are empty.
    """

    first: Head
    second: Head
    length: int = 0
    first_roots: tuple[Leaf, ...] = ()
    first_tail: tuple[Leaf, ...] = ()
    second_roots: tuple[Leaf, ...] = ()
    second_tail: tuple[Leaf, ...] = ()


Message = (
    Digest
    | Frontier
    | Wants
    | Blocks
    | Credit
    | Ack
    | Refuse
    | Branch
    | Record
    | WantRecords
    | HistoryRequest
    | HistoryPiece
    | HistoryAnswer
    | Fetch
    | Fetched
    | Fork
    | Tips
    | WantProofs
    | Proved
    | WantStretch
    | StretchBlocks
)
