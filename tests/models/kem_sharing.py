"""What a thief and a recorder with a quantum computer open, for each way to share ML-KEM secrets between grants.

A symbolic model: secrets are names, what they open follows by closure.  One sender writes an epoch a week into each of
two chats (two spaces, a feed each) for two recipients.  `Design` says for how much one ss serves and where the sender
keeps it.  Decision 0189 draws the conclusions; `crdt/space/grant.py` is what was built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import combinations, permutations

WEEKS = range(12)
KEPT = 9  # weeks a recipient keeps P and K
CHATS, RECIPIENTS, EPOCHS = ("walks", "work"), ("bob", "cleo"), range(2)  # epochs of one chat and week


class Scope(Enum):
    """What one ss of (sender, recipient's K, week) serves for."""

    SLOT = "each slot has its own"
    FEED = "all grants of one feed"
    DEVICE = "all grants of the sender, in whichever chat"


class Kept(Enum):
    """Where the sender keeps it until the week ends."""

    NOWHERE = "forgotten at once"
    MEMORY = "in memory"
    DISK = "in the store"


@dataclass(frozen=True, slots=True)
class Design:
    scope: Scope
    kept: Kept


@dataclass(frozen=True, slots=True)
class Sealed:
    """One slot: an epoch of a chat and a week, for one recipient."""

    chat: str
    week: int
    epoch: int
    to: str


class Theft(Enum):
    """What is stolen in a week.  Epoch keys that lie in a store are another matter: here is what slots give."""

    NOTHING = "nothing"
    RECIPIENT = "the recipient's keys: D, and nine weeks of P and K"
    SENDER_DISK = "the sender's store"
    SENDER_MEMORY = "the sender's store and memory"
    ONE_SS = "a single ss"


SLOTS = [Sealed(chat, week, epoch, to) for chat in CHATS for week in WEEKS for epoch in EPOCHS for to in RECIPIENTS]


def ss_of(design: Design, slot: Sealed) -> tuple[object, ...]:
    """The name of the ss that a slot is sealed under."""
    base: tuple[object, ...] = ("ss", slot.week, slot.to)
    return base + {Scope.SLOT: (slot.chat, slot.epoch), Scope.FEED: (slot.chat,), Scope.DEVICE: ()}[design.scope]


def stolen(design: Design, theft: Theft, week: int, whom: str) -> set[tuple[object, ...]]:
    """The secrets in a thief's hands."""
    found: set[tuple[object, ...]] = set()
    if theft is Theft.RECIPIENT:
        for old in range(max(0, week - KEPT + 1), week + 1):
            found |= {("P", old, whom), ("K", old, whom)}
        found.add(("D", whom))
    if theft in (Theft.SENDER_DISK, Theft.SENDER_MEMORY):
        found.add(("D", "sender"))
        if design.kept is Kept.DISK or (design.kept is Kept.MEMORY and theft is Theft.SENDER_MEMORY):
            found |= {ss_of(design, slot) for slot in SLOTS if slot.week == week}
    if theft is Theft.ONE_SS:
        found.add(ss_of(design, Sealed("walks", week, 0, whom)))
    return found


def opens(design: Design, hybrid: bool, quantum: bool, known: set[tuple[object, ...]]) -> set[Sealed]:
    """Slots, all of them recorded, that open.  quantum: every X25519 result follows from the public keys."""
    found = set()
    for slot in SLOTS:
        # DH(e, P) and DH(e, D) need the recipient's P and D; e was forgotten when the slot was made.
        classical = quantum or {("P", slot.week, slot.to), ("D", slot.to)} <= known
        kem = not hybrid or ("K", slot.week, slot.to) in known or ss_of(design, slot) in known
        if classical and kem:
            found.add(slot)
    return found


# -- what arrives -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A grant at a place of a feed, on a branch.  carrier: the (feed, seq) whose ciphertext it names, None where it
    carries its own."""

    feed: str
    seq: int
    branch: str
    carrier: tuple[str, int] | None


def arrivals(feeds: Iterable[tuple[Entry, ...]]) -> Iterator[tuple[Entry, ...]]:
    """Every order in which the entries of several feeds come, each feed in its own order and perhaps not to its end."""
    every = list(feeds)
    for lengths in _counts([len(feed) for feed in every]):
        tokens = [index for index, length in enumerate(lengths) for _ in range(length)]
        for order in set(permutations(tokens)):
            at = [0] * len(every)
            found = []
            for index in order:
                found.append(every[index][at[index]])
                at[index] += 1
            yield tuple(found)


def _counts(lengths: list[int]) -> Iterator[tuple[int, ...]]:
    if not lengths:
        yield ()
        return
    for rest in _counts(lengths[1:]):
        for count in range(lengths[0] + 1):
            yield count, *rest


def waiting(arrived: Iterable[Entry]) -> list[Entry]:
    """Entries that could not be opened when they came: what they name is not here, or stands on another branch."""
    here: dict[tuple[str, int], Entry] = {}
    found = []
    for entry in arrived:
        if entry.carrier is not None:
            carrier = here.get(entry.carrier)
            if carrier is None or (carrier.feed == entry.feed and carrier.branch not in (entry.branch, "trunk")):
                found.append(entry)
        here[entry.feed, entry.seq] = entry
    return found


def lost(arrived: tuple[Entry, ...]) -> Iterator[tuple[Entry, ...]]:
    """The same with one entry gone: withheld by whoever serves it, or cleared."""
    if arrived:
        yield from combinations(arrived, len(arrived) - 1)
