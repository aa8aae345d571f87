"""What a replicator asks its shell to do, and the rules that a peer can break.

Effects are performed in their order, all of them before the next call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from crdt.log.head import Head
from crdt.log.merkle import Leaf, Node, Tree
from sync.replicate.encoding import encode
from sync.replicate.messages import Block, Ends, Fetched, Fork, Message, Point, Proved, Span, StretchBlocks


class Rule(IntEnum):
    """Protocol violations, each with its sentence (the same in docs and logs).  Every one closes the channel."""

    MALFORMED = 1
    TOO_EARLY = 2
    BAD_HEAD = 3
    NO_HEAD = 4
    BEYOND_HEAD = 5
    BAD_RANGE = 6
    SPLIT_PAIR = 7
    BAD_BRANCH = 8
    BAD_FORK = 9
    BAD_RECORD = 10
    FLOOD = 11
    UNASKED = 12
    OUT_OF_ORDER = 13
    TOO_MANY = 14
    BAD_BLOCK = 15
    BAD_PROOF = 16

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Rule.MALFORMED: "a message is not what its type says",
    Rule.TOO_EARLY: "a message before the digest, or the digest twice",
    Rule.BAD_HEAD: "a head is not signed by its writer",
    Rule.NO_HEAD: "blocks of a feed whose head was not told",
    Rule.BEYOND_HEAD: "blocks beyond the head that was told",
    Rule.BAD_RANGE: "blocks that do not belong under the head that was told",
    Rule.SPLIT_PAIR: "a range ends between two leaves with the first one withheld",
    Rule.BAD_BRANCH: "nodes of another branch that do not lead to its head",
    Rule.BAD_FORK: "a fork proof that proves nothing",
    Rule.BAD_RECORD: "a device record that its writer did not sign",
    Rule.FLOOD: "more bytes than were allowed",
    Rule.UNASKED: "history, a block or a proof that was not asked for",
    Rule.OUT_OF_ORDER: "pieces of a pack out of order, or too many",
    Rule.TOO_MANY: "more requests than may be open at once",
    Rule.BAD_BLOCK: "a fetched block does not have its hash",
    Rule.BAD_PROOF: "a proof that does not lead to its head",
}


@dataclass(frozen=True, slots=True)
class SendMessage:
    """One message of the channel: (type, body)."""

    type: int
    body: bytes = field(repr=False)


def send(message: Message) -> SendMessage:
    """The effect that sends this message."""
    return SendMessage(*encode(message))


@dataclass(frozen=True, slots=True)
class Append:
    """Verified blocks to store.  Then call `stored`.

    start: seq of the first one, always the stored length; blocks: bytes, or (size, leaf hash) of a withheld one;
    leaves: (size, leaf hash) of each; tree: the feed after it; nodes: the interior nodes that came into being;
    head: the feed's new signed head, or None inside a longer range.  Without blocks: only a head that what is stored
    was found to prove.
    """

    writer: bytes
    start: int
    blocks: tuple[Block, ...] = field(repr=False)
    leaves: tuple[Leaf, ...] = field(repr=False)
    tree: Tree = field(repr=False)
    nodes: tuple[Node, ...] = field(repr=False)
    head: Head | None


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """A verified device record, newer than the one held.  Then call `records_changed` on the other replicators."""

    writer: bytes
    counter: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Acked:
    """(writer, length) pairs that are durable at the peer."""

    lengths: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class ForkFound:
    """A fork proof that was not known here: keep it, then call `forks_changed` on the other replicators."""

    writer: bytes
    proof: Fork


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Both frontiers are known and everything that may be had from this peer is here."""


@dataclass(frozen=True, slots=True)
class HistoryAsked:
    """The peer asks for items of these spans, or (None) of everything: answer by `give_pack` and `end_history`.
    prekey: as the peer told it."""

    request: int
    spans: tuple[Span, ...] | None
    prekey: bytes


@dataclass(frozen=True, slots=True)
class PackWanted:
    """The last pack given is on its way: the next one for this request may be made."""

    request: int


@dataclass(frozen=True, slots=True)
class PackArrived:
    """One whole sealed pack, and its key as sealed to this device.  Then call `pack_taken`."""

    request: int
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HistoryAnswered:
    """Spans that are not for this device; done: nothing more follows on this request."""

    request: int
    done: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class FetchAnswered:
    """The block at a point that was asked for, with its proof, both checked; None if the peer does not hold it.

    ends: what the proof shows, the length seq + 1 among them.
    """

    fetched: Fetched
    ends: Ends


@dataclass(frozen=True, slots=True)
class TipsTold:
    """Control entries that the peer folds and that no other names; nothing is checked."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class ProofAnswered:
    """The proof of an end that was asked for, checked; None if the peer has none.  ends: what it shows."""

    proved: Proved
    ends: Ends


@dataclass(frozen=True, slots=True)
class StretchAnswered:
    """Blocks of a stretch that was asked for; none if the peer does not hold it.  They are not checked: who asked knows
    the tree that they continue."""

    answer: StretchBlocks


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke a rule: close the channel.  Nothing of the message was kept; further calls do nothing."""

    rule: Rule


Effect = (
    SendMessage
    | Append
    | StoreRecord
    | Acked
    | ForkFound
    | CaughtUp
    | HistoryAsked
    | PackWanted
    | PackArrived
    | HistoryAnswered
    | FetchAnswered
    | TipsTold
    | ProofAnswered
    | StretchAnswered
    | Violation
)
