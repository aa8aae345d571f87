"""Folds facts into what people see: rows, who read what, profiles, offers.

`docs/protocol.md`, "Timeline".  Pure functions of a set of facts and of the space's membership (`TimelinePolicy`):
the same set gives the same result in any order, with any of it twice.  Membership is asked and never kept, so a close
that arrives later only means folding again.  Which of several values counts is a matter of causes (`over.py`).
Reactions are folded beside the rows (`marks.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from crdt.docs.chat import MAX_RESTARTS, Answer, Decline, Edit, MemberProfile, Message, Offer, Receipt, Restart
from crdt.docs.facts import Fact, FactKind, decode_fact, facts_of, facts_of_deletion, message_prefix, messages_of
from crdt.docs.over import counting, newest_of_feeds
from crdt.docs.rows import Row
from crdt.log.stamp import stamp_ms

MAX_COPIES = 64  # of one message that are looked at: the first by feed and place


def _never(deleter: bytes, author: bytes) -> bool:
    return False


def _nothing(core: bytes, seq: int) -> Sequence[Fact]:
    return ()


@dataclass(frozen=True, slots=True)
class TimelinePolicy:
    """What the folds ask of the space: who wrote what, and whose deletions count.

    member: the member id that a feed's writer acts for, None for a feed that nobody admitted.
    shows: whether an entry counts for messages, quarantined ones do not.
    acts: the same for edits, reactions, deletions and the rest (a witnessed entry shows as a message only); None asks
        `shows`.
    may_delete: whether a member may delete another member's messages (deleter, author): creator and admins of a group.
    clears: the CLEAR facts about a block, of those whose leaf hash is the block's.
    """

    member: Callable[[bytes], bytes | None]
    shows: Callable[[bytes, int], bool]
    may_delete: Callable[[bytes, bytes], bool] = _never
    clears: Callable[[bytes, int], Sequence[Fact]] = _nothing
    acts: Callable[[bytes, int], bool] | None = None

    def acting(self, fact: Fact) -> bytes | None:
        """The member that this fact counts for, None if it does not count."""
        return self.member(fact.core) if (self.acts or self.shows)(fact.core, fact.seq) else None


def counts_deletion(fact: Fact, author: bytes, policy: TimelinePolicy) -> bool:
    """Whether a DELETION or CLEAR fact counts against what this author (a member id) wrote."""
    deleter = policy.acting(fact)
    return deleter is not None and (deleter == author or policy.may_delete(deleter, author))


def is_cleared(core: bytes, seq: int, author: bytes, policy: TimelinePolicy) -> bool:
    """Whether a counting deletion names this block of this author."""
    named = policy.clears(core, seq)
    return bool(named) and any(counts_deletion(fact, author, policy) for fact in named)


def fold_message(message: bytes, facts: Iterable[Fact], policy: TimelinePolicy) -> Row | None:
    """The row of one message from all facts about it, None where nothing is to be shown.

    Of several copies the lowest in timeline order shows; their author is the one member whose id it can be.  What a
    deletion hides stays as a deleted row in its place.
    """
    copies: list[Fact] = []
    others: list[Fact] = []
    for fact in facts:
        if fact.kind is FactKind.COPY:
            if policy.shows(fact.core, fact.seq):
                copies.append(fact)
        else:
            others.append(fact)
    if len(copies) > 1:
        copies = sorted(copies, key=lambda copy: (copy.core, copy.seq, copy.place))[:MAX_COPIES]
        copies.sort(key=lambda copy: (copy.order(), copy.arrived))
    author: bytes | None = None
    first: Fact | None = None  # its place is the row's, cleared or not: a deletion moves nothing
    live: list[Fact] = []
    for copy in copies:
        member = policy.member(copy.core)
        if first is None and member is not None:
            first, author = copy, member
        if member is None or member != author:
            continue
        if copy.value is not None and not is_cleared(copy.core, copy.seq, member, policy):
            live.append(copy)
    if first is None or author is None:
        return None
    ms = stamp_ms(first.stamp)
    gone = bool(others) and any(
        fact.kind is FactKind.DELETION and counts_deletion(fact, author, policy) for fact in others
    )
    shown = live[0].value if live and not gone else None
    if not isinstance(shown, Message):
        return Row(
            message, author, first.core, first.seq, first.place, first.stamp, first.arrived, ms, "", deleted=True
        )
    text, edited = shown.text, len(live) > 1 and any(copy.value != shown for copy in live)
    if others:
        edit = counting(newest_edits(others, author, policy))
        if edit is not None and isinstance(edit.value, Edit):
            text, edited = edit.value.text, True
    return Row(
        message,
        author,
        first.core,
        first.seq,
        first.place,
        first.stamp,
        first.arrived,
        ms if shown.at is None else shown.at,
        text,
        shown.source,
        shown.reply_to,
        edited,
        False,
        None if shown.lifetime is None else stamp_ms(live[0].stamp) + shown.lifetime * 1000,
        bool(others) and any(reaction_counts(fact, policy) for fact in others),
        shown.files,
    )


def newest_edits(facts: Iterable[Fact], author: bytes, policy: TimelinePolicy) -> dict[bytes, Fact]:
    """core key -> the last edit of that feed which counts for a message of this author (a member id)."""
    return newest_of_feeds(fact for fact in facts if edit_counts(fact, author, policy))


def edit_counts(fact: Fact, author: bytes, policy: TimelinePolicy) -> bool:
    """Whether an edit may set the text of a message of this author."""
    return (
        fact.kind is FactKind.EDIT
        and fact.value is not None
        and policy.acting(fact) == author
        and not is_cleared(fact.core, fact.seq, author, policy)
    )


def reaction_counts(fact: Fact, policy: TimelinePolicy) -> bool:
    """Whether a reaction is one of a member, within its feed's end and not cleared."""
    if fact.kind is not FactKind.REACTION or fact.value is None:
        return False
    member = policy.acting(fact)
    return member is not None and not is_cleared(fact.core, fact.seq, member, policy)


def unseen(facts: Iterable[Fact], row: Row | None, policy: TimelinePolicy) -> set[tuple[bytes, int, int]]:
    """The puts (core, seq, place) about one message whose content its row does not stand on: what an export leaves out.

    facts: all about one message; row: its row at this moment.  Older edits and copies stay in, as they would in any
    document's history; what is deleted, cleared, past its lifetime, quarantined or not the author's to say does not.
    """
    gone = row is None or row.deleted
    author = None if row is None else row.member
    found = set()
    for fact in facts:
        if fact.kind is FactKind.COPY:
            counts = policy.shows(fact.core, fact.seq) and policy.member(fact.core) == author
        elif fact.kind is FactKind.EDIT:
            counts = policy.acting(fact) == author
        elif fact.kind is FactKind.REACTION:
            counts = policy.acting(fact) is not None
        else:
            continue
        member = policy.member(fact.core)
        if gone or not counts or member is None or is_cleared(fact.core, fact.seq, member, policy):
            found.add((fact.core, fact.seq, fact.place))
    return found


def fold_receipts(facts: Iterable[Fact], policy: TimelinePolicy) -> dict[bytes, dict[str, int]]:
    """member id -> writer id -> the highest seq that this member read there."""
    marks: dict[bytes, dict[str, int]] = {}
    for fact in facts:
        if isinstance(fact.value, Receipt) and (member := policy.acting(fact)) is not None:
            read = marks.setdefault(member, {})
            for writer, seq in fact.value.upto:
                if seq > read.get(writer, -1):
                    read[writer] = seq
    return marks


def fold_receipt_stamps(facts: Iterable[Fact], policy: TimelinePolicy) -> dict[bytes, int]:
    """member id -> the stamp of its latest receipt."""
    stamps: dict[bytes, int] = {}
    for fact in facts:
        if isinstance(fact.value, Receipt) and (member := policy.acting(fact)) is not None:
            stamps[member] = max(fact.stamp, stamps.get(member, 0))
    return stamps


def newest_profiles(facts: Iterable[Fact], policy: TimelinePolicy) -> dict[bytes, dict[bytes, Fact]]:
    """member id -> core key -> the last profile that this feed of the member told."""
    told: dict[bytes, list[Fact]] = {}
    for fact in facts:
        if isinstance(fact.value, MemberProfile) and (member := policy.acting(fact)) is not None:
            told.setdefault(member, []).append(fact)
    return {member: newest_of_feeds(found) for member, found in told.items()}


def fold_profiles(facts: Iterable[Fact], policy: TimelinePolicy) -> dict[bytes, MemberProfile]:
    """member id -> the profile of it that counts."""
    found: dict[bytes, MemberProfile] = {}
    for member, newest in newest_profiles(facts, policy).items():
        one = counting(newest)
        if one is not None and isinstance(one.value, MemberProfile):
            found[member] = one.value
    return found


@dataclass(slots=True)
class GroupTalk:
    """What a direct space, or a group that goes on in another, says about one offered space.

    offers: (member id, offer id) -> the offer, as that member said it last; answers: offer id -> (member id, W of a
    feed) -> the answer that brings it, with that member; declined: (member id, offer id) of refusals and withdrawals;
    restarts: (core key, offer id) -> the restart with which that feed goes on in this space, and the seq at which it
    was said last; of each feed the first few.
    No clock decides between an answer and a refusal: whoever refused an offer is asked again with another.
    """

    offers: dict[tuple[bytes, bytes], Offer] = field(default_factory=dict)
    answers: dict[bytes, dict[tuple[bytes, bytes], tuple[bytes, Answer]]] = field(default_factory=dict)
    declined: set[tuple[bytes, bytes]] = field(default_factory=set)
    restarts: dict[tuple[bytes, bytes], tuple[Restart, int]] = field(default_factory=dict)

    def replied(self, members: Collection[bytes], offer: bytes) -> bool:
        """Whether one of these members said yes or no to an offer."""
        if any((member, offer) in self.declined for member in members):
            return True
        return any(member in members for member, _ in self.answers.get(offer, {}).values())

    def is_declined(self, offer: bytes) -> bool:
        """Whether an offer was refused or withdrawn."""
        return any(declined == offer for _, declined in self.declined)


def fold_offers(facts: Iterable[Fact], policy: TimelinePolicy) -> dict[bytes, GroupTalk]:
    """offered space id -> what was said about it."""
    found: dict[bytes, GroupTalk] = {}
    said: dict[bytes, set[bytes]] = {}  # restarts of each feed
    for fact in sorted(facts, key=Fact.order):
        value = fact.value
        if not isinstance(value, Offer | Answer | Decline | Restart) or (member := policy.acting(fact)) is None:
            continue
        if isinstance(value, Restart):
            of = said.setdefault(fact.core, set())
            if value.id not in of and len(of) >= MAX_RESTARTS:
                continue
            of.add(value.id)
        talk = found.setdefault(value.space, GroupTalk())
        if isinstance(value, Offer):
            talk.offers[member, value.id] = value
        elif isinstance(value, Restart):
            first = talk.restarts.get((fact.core, value.id), (value, 0))[0]  # who said yes did so to these people
            said_now = replace(value, past=first.past, without=first.without)
            talk.restarts[fact.core, value.id] = said_now, fact.seq
        elif isinstance(value, Decline):
            talk.declined.add((member, value.id))
        else:
            given = talk.answers.setdefault(value.id, {})
            for feed in value.feeds:
                given[member, feed.writer] = member, value
    return found


__all__ = [
    "Fact",
    "FactKind",
    "GroupTalk",
    "Row",
    "TimelinePolicy",
    "counts_deletion",
    "decode_fact",
    "edit_counts",
    "facts_of",
    "facts_of_deletion",
    "fold_message",
    "fold_offers",
    "fold_profiles",
    "fold_receipt_stamps",
    "fold_receipts",
    "is_cleared",
    "message_prefix",
    "messages_of",
    "newest_edits",
    "newest_profiles",
    "reaction_counts",
    "unseen",
]
