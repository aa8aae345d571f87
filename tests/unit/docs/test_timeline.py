"""Rows of a chat: each test is one short story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from crdt.docs.chat import (
    Answer,
    Consent,
    Decline,
    Edit,
    File,
    MemberProfile,
    Message,
    Offer,
    OfferedFeed,
    Reaction,
    Receipt,
)
from crdt.docs.deletion import Block, Deletion, decode_deletion, encode_deletion
from crdt.docs.facts import Fact, block_prefix, facts_of, facts_of_deletion, messages_of
from crdt.docs.guard import Admit, examine
from crdt.docs.ids import import_nonce, message_id, writer_id
from crdt.docs.kinds import DocKind
from crdt.docs.marks import marks_of, reactions
from crdt.docs.rows import Row, at_moment, decode_row, is_late, placed_at
from crdt.docs.schema import ChatValue, dump_value
from crdt.docs.timeline import (
    TimelinePolicy,
    fold_message,
    fold_offers,
    fold_profiles,
    fold_receipts,
    reaction_counts,
    unseen,
)
from crdt.docs.update import make_update
from crdt.log.stamp import make_stamp

PHONE, DESK, BEN, EVE = (bytes([n]) * 32 for n in range(1, 5))
ADA_ID, BEN_ID, EVE_ID = b"ada".ljust(32), b"ben".ljust(32), b"eve".ljust(32)
MEMBERS = {PHONE: ADA_ID, DESK: ADA_ID, BEN: BEN_ID, EVE: EVE_ID}
AUTHOR = {PHONE: PHONE, DESK: PHONE, BEN: BEN, EVE: EVE}
NONCE = bytes(16)
NOON = 1_790_000_000_000
HELLO = message_id(PHONE, NONCE)


@dataclass(slots=True)
class Room:
    """A chat in which writers say things at given minutes; every entry takes the way of a real one."""

    facts: list[Fact] = field(default_factory=list)
    seqs: dict[bytes, int] = field(default_factory=dict)
    beyond: set[tuple[bytes, int]] = field(default_factory=set)
    messages_only: set[tuple[bytes, int]] = field(default_factory=set)
    admins: frozenset[bytes] = frozenset()

    def say(self, core: bytes, minute: int, *values: ChatValue) -> int:
        seq = self._next(core)
        body = make_update(core, seq, DocKind.CHAT, [dump_value(value) for value in values])
        verdict = examine(body, core, seq, DocKind.CHAT)
        assert isinstance(verdict, Admit)
        self.facts += facts_of(verdict, AUTHOR[core], core, seq, _stamp(minute), NOON)
        return seq

    def delete(self, core: bytes, minute: int, message: bytes, blocks: Sequence[Block] = ()) -> int:
        seq = self._next(core)
        body = encode_deletion(Deletion(message, tuple(blocks)))
        self.facts += facts_of_deletion(body, core, seq, _stamp(minute), NOON)
        return seq

    def _next(self, core: bytes) -> int:
        self.seqs[core] = self.seqs.get(core, -1) + 1
        return self.seqs[core]

    def policy(self) -> TimelinePolicy:
        def clears(core: bytes, seq: int) -> list[Fact]:
            return [fact for fact in self.facts if fact.about == block_prefix(core, seq)]

        return TimelinePolicy(
            MEMBERS.get,
            lambda core, seq: (core, seq) not in self.beyond,
            lambda deleter, author: deleter in self.admins,
            clears,
            lambda core, seq: (core, seq) not in self.beyond | self.messages_only,
        )

    def read(self) -> list[Row]:
        """The rows, the same from the last fact to the first."""
        rows = self._fold(self.facts)
        assert rows == self._fold(self.facts[::-1])
        return rows

    def _fold(self, facts: list[Fact]) -> list[Row]:
        ids = messages_of(facts)
        rows = [fold_message(one, [fact for fact in facts if fact.message == one], self.policy()) for one in ids]
        return sorted((row for row in rows if row is not None), key=Row.key)

    def reactions(self, message: bytes = HELLO) -> dict[str, tuple[bytes, ...]]:
        """What is on a message, the same from the last fact to the first."""
        facts = [fact for fact in self.facts if fact.message == message and reaction_counts(fact, self.policy())]
        found = reactions(marks_of(facts), MEMBERS.get)
        assert found == reactions(marks_of(facts[::-1]), MEMBERS.get)
        return dict(found)

    def texts(self) -> list[str]:
        return [row.text for row in self.read()]

    def row(self, message: bytes = HELLO) -> Row:
        return next(row for row in self.read() if row.id == message)


def _stamp(minute: int) -> int:
    return make_stamp(NOON + minute * 60_000)


def message(text: str, nonce: int = 0) -> Message:
    return Message(bytes([nonce]) * 16, text)


def test_rows_order_by_stamp_then_writer_then_seq() -> None:
    room = Room()
    room.say(BEN, 2, message("second"))
    room.say(PHONE, 1, message("first"), message("beside it", 1))
    room.say(DESK, 2, message("at one moment with second, by another writer", 2))
    first, beside, *rest = room.texts()
    assert [first, beside] == ["first", "beside it"]
    assert set(rest) == {"second", "at one moment with second, by another writer"}
    assert [row.sort_key for row in room.read()] == sorted(row.sort_key for row in room.read())


def test_only_devices_of_the_author_edit_a_message() -> None:
    room = Room()
    room.say(PHONE, 1, message("helo"))
    room.say(BEN, 5, Edit(HELLO, "I said nothing"))
    assert room.texts() == ["helo"]
    room.say(DESK, 3, Edit(HELLO, "hello"))
    room.say(PHONE, 2, Edit(HELLO, "hallo"))
    row = room.row()
    assert (row.text, row.edited, row.core, row.at) == ("hello", True, PHONE, NOON + 60_000)


def test_message_published_twice_stays_one_row_at_its_first_position() -> None:
    room = Room()
    room.say(DESK, 4, message("hello"))
    room.say(PHONE, 1, message("hello"))
    assert [(row.text, row.edited, row.core) for row in room.read()] == [("hello", False, PHONE)]
    room.say(DESK, 5, message("hello, another"))
    assert [(row.text, row.edited) for row in room.read()] == [("hello", True)]


def test_message_id_belongs_to_its_author_alone() -> None:
    room = Room()
    room.say(PHONE, 2, message("mine"))
    room.say(EVE, 1, message("also mine, says Eve"))
    assert {row.id: row.text for row in room.read()} == {
        HELLO: "mine",
        message_id(EVE, NONCE): "also mine, says Eve",
    }


def test_copy_in_a_feed_that_left_the_author_does_not_count() -> None:
    """Membership changed after facts were made: one id, two members."""
    room = Room()
    room.say(PHONE, 1, message("hello"))
    room.say(DESK, 2, message("hello from a desk"))
    policy = replace(room.policy(), member=lambda core: {PHONE: ADA_ID, DESK: EVE_ID}.get(core))
    row = fold_message(HELLO, room.facts, policy)
    assert row is not None
    assert (row.text, row.edited) == ("hello", False)


def test_row_shows_the_latest_reaction_of_each_member() -> None:
    room = Room()
    room.say(PHONE, 1, message("hello"))
    room.say(BEN, 2, Reaction(HELLO, "👍", True), Reaction(HELLO, "🎉", True))
    room.say(EVE, 2, Reaction(HELLO, "👍", True))
    room.say(PHONE, 3, Reaction(HELLO, "👍", True))
    room.say(DESK, 4, Reaction(HELLO, "👍", False))
    assert room.reactions() == {"👍": (BEN_ID, EVE_ID), "🎉": (BEN_ID,)}
    assert room.row().marked
    room.say(EVE, 5, Reaction(HELLO, "👍", False))
    room.say(BEN, 5, Reaction(HELLO, "👍", False))
    assert room.reactions() == {"🎉": (BEN_ID,)}


def test_taken_back_reaction_stays_off_though_it_was_put_on_by_a_clock_ten_years_ahead() -> None:
    room = Room()
    room.say(PHONE, 1, message("hello"))
    room.say(DESK, 10 * 365 * 1440, Reaction(HELLO, "👍", True))
    wrong = room.facts[-1].id()
    room.say(PHONE, 2, Reaction(HELLO, "👍", False))
    assert room.reactions() == {"👍": (ADA_ID,)}, "written without knowing of the other"
    room.say(PHONE, 3, Reaction(HELLO, "👍", False, (wrong,)))
    assert room.reactions() == {}


def test_edit_counts_over_one_that_it_names_whatever_their_stamps() -> None:
    room = Room()
    room.say(PHONE, 1, message("helo"))
    room.say(DESK, 10 * 365 * 1440, Edit(HELLO, "hello in 2035"))
    wrong = room.facts[-1].id()
    room.say(PHONE, 2, Edit(HELLO, "hello", (wrong,)))
    assert room.texts() == ["hello"]
    room.say(PHONE, 3, Edit(HELLO, "hello again", (wrong,)))
    assert room.texts() == ["hello again"]
    stray = room.say(BEN, 4, Edit(HELLO, "mine", (room.facts[-1].id(),)))
    assert room.texts() == ["hello again"], "nobody else takes it out"
    assert stray == 0


def test_profile_counts_over_one_that_it_names_whatever_their_stamps() -> None:
    room = Room()
    room.say(DESK, 10 * 365 * 1440, MemberProfile("in 2035"))
    wrong = room.facts[-1].id()
    room.say(PHONE, 2, MemberProfile("Ada", over=(wrong,)))
    assert fold_profiles(room.facts, room.policy()) == {ADA_ID: MemberProfile("Ada")}


def test_twenty_emoji_of_a_member_stand_on_a_message_and_no_more() -> None:
    room = Room()
    room.say(PHONE, 1, message("hello"))
    emoji = [chr(0x1F600 + number) for number in range(30)]
    for number, one in enumerate(emoji):
        room.say(BEN, 2 + number, Reaction(HELLO, one, True))
    assert sorted(room.reactions()) == emoji[:20]
    room.say(BEN, 99, Reaction(HELLO, emoji[3], False))
    assert sorted(room.reactions()) == [*emoji[:3], *emoji[4:20]]
    for number, one in enumerate(emoji[15:]):
        room.say(PHONE, 2 + number, Reaction(HELLO, one, True))
        room.say(DESK, 2 + number, Reaction(HELLO, chr(0x1F680 + number), True))
    assert sum(ADA_ID in who for who in room.reactions().values()) == 20


def test_deletion_leaves_an_empty_row_in_any_arrival_order() -> None:
    room = Room()
    room.delete(DESK, 9, HELLO)
    assert room.read() == []
    room.say(PHONE, 1, message("hello"))
    room.say(BEN, 2, Reaction(HELLO, "👍", True))
    room.say(PHONE, 3, Edit(HELLO, "hello again"))
    row = room.row()
    assert (row.text, row.deleted, row.edited, row.marked) == ("", True, False, False)
    assert (row.member, row.at) == (ADA_ID, NOON + 60_000)
    room.say(DESK, 10, message("hello, published again"))
    assert room.row() == row


def test_only_admins_delete_messages_of_others() -> None:
    room = Room()
    seq = room.say(PHONE, 1, message("hello"))
    room.delete(BEN, 2, HELLO, [Block(PHONE, seq, bytes(32))])
    assert room.texts() == ["hello"]
    room.admins = frozenset([BEN_ID])
    assert room.row().deleted


def test_deleting_a_block_removes_every_value_in_it() -> None:
    room = Room()
    seq = room.say(PHONE, 1, message("hello"), message("beside it", 1))
    room.say(DESK, 2, message("hello"))
    room.delete(PHONE, 3, bytes(32), [Block(PHONE, seq, bytes(32))])
    beside = message_id(PHONE, bytes([1]) * 16)
    assert room.row(beside).deleted
    assert room.row().text == "hello", "another copy still says it"
    assert room.row().core == PHONE, "and the row has not moved"


def test_deleting_an_edit_restores_the_text_before_it() -> None:
    room = Room()
    room.say(PHONE, 1, message("hello"))
    seq = room.say(PHONE, 2, Edit(HELLO, "hello with a secret"))
    room.delete(PHONE, 3, bytes(32), [Block(PHONE, seq, bytes(32))])
    assert (room.row().text, room.row().edited) == ("hello", False)


def test_export_leaves_out_values_that_no_row_uses() -> None:
    room = Room()
    first = room.say(PHONE, 1, message("hello"), message("stays", 1))
    edit = room.say(DESK, 2, Edit(HELLO, "hello, edited"), Edit(message_id(PHONE, bytes([1]) * 16), "stays, edited"))
    forged = room.say(BEN, 3, Edit(message_id(PHONE, bytes([1]) * 16), "forged"))
    room.delete(PHONE, 4, HELLO)
    left_out = set()
    for row in room.read():
        left_out |= unseen([fact for fact in room.facts if fact.message == row.id], row, room.policy())
    assert left_out == {(PHONE, first, 0), (DESK, edit, 0), (BEN, forged, 0)}


def test_entry_beyond_an_end_counts_only_as_a_witnessed_message() -> None:
    room = Room()
    room.say(PHONE, 1, message("hello"))
    room.beyond.add((EVE, room.say(EVE, 2, message("beyond"), Reaction(HELLO, "👍", True))))
    room.messages_only.add((EVE, room.say(EVE, 3, message("seen before the close", 1), Reaction(HELLO, "🎉", True))))
    room.messages_only.add((BEN, room.delete(BEN, 4, HELLO)))
    room.admins = frozenset([BEN_ID])
    assert room.texts() == ["hello", "seen before the close"]
    assert room.reactions() == {}
    assert not room.row().marked


def test_message_with_a_lifetime_expires() -> None:
    room = Room()
    room.say(PHONE, 1, Message(NONCE, "for ten seconds", lifetime=10))
    row = room.row()
    assert row.expires == NOON + 70_000
    assert at_moment(row, NOON + 69_999) == row
    gone = at_moment(row, NOON + 70_000)
    assert (gone.text, gone.deleted, gone.key()) == ("", True, row.key())


def test_expiry_follows_the_lifetime_of_the_shown_copy() -> None:
    room = Room()
    seq = room.say(PHONE, 1, Message(NONCE, "one", lifetime=10))
    room.say(PHONE, 2, Message(NONCE, "two", lifetime=5))
    assert room.row().expires == NOON + 70_000
    room.delete(PHONE, 3, bytes(32), [Block(PHONE, seq, bytes(32))])
    assert (room.row().text, room.row().expires, room.row().at) == ("two", NOON + 125_000, NOON + 60_000)


def test_row_from_a_fast_clock_is_placed_by_arrival_and_a_late_row_is_marked() -> None:
    room = Room()
    room.say(PHONE, 0, message("now"))
    room.say(BEN, 600, message("from a clock ten hours ahead"))
    room.say(DESK, -20, message("written on a train", 1))
    train, now, ahead = room.read()
    assert [is_late(row) for row in (train, now, ahead)] == [True, False, False]
    placed = replace(ahead, placed=placed_at(ahead.stamp, NOON - 1, NOON))
    assert placed.placed == NOON - 1
    assert [row.text for row in sorted((now, placed), key=Row.key)] == [ahead.text, "now"]
    assert placed_at(ahead.stamp, NOON - 1, NOON + 600 * 60_000) is None, "its stamp has passed"
    assert decode_row(placed.key(), placed.encode()) == placed


def test_row_keeps_its_place_until_its_stamp_has_passed_and_follows_no_clock_of_then() -> None:
    hour = NOON + 3_600_000
    stamp = make_stamp(hour)
    assert placed_at(stamp, NOON, NOON) == NOON
    assert placed_at(stamp, NOON, hour - 60_000, before=NOON) == NOON, "a minute before it, where it stood"
    assert placed_at(stamp, hour, hour - 60_000) is None, "new: a minute ahead is not far"
    assert placed_at(stamp, NOON, hour, before=NOON) is None
    assert placed_at(stamp, hour + 9, NOON) == NOON, "the clock was ahead when it came"
    assert placed_at(stamp, hour + 9, NOON + 5, before=NOON) == NOON
    assert placed_at(stamp, NOON - 9, NOON - 99_999_999, before=NOON) == NOON - 99_999_999, "the clock was set back"


def test_imported_message_shows_its_source_and_original_time() -> None:
    room = Room()
    space = bytes(32)
    lines = [import_nonce(space, NOON - 5, "ana", "hi", ordinal) for ordinal in (0, 1, 0)]
    for nonce in lines:
        room.say(PHONE, 1, Message(nonce, "hi", at=NOON - 5, source="ana"))
    assert len(set(lines)) == 2
    assert [(row.text, row.source, row.at, row.edited) for row in room.read()] == [("hi", "ana", NOON - 5, False)] * 2
    assert import_nonce(space, NOON - 5, "an", "ahi", 0) != lines[0]


def test_receipts_name_the_highest_entry_read() -> None:
    room = Room()
    ada = writer_id(PHONE)
    room.say(BEN, 1, Receipt(((ada, 7),)))
    room.say(BEN, 2, Receipt(((ada, 3), ("A" * 16, 1)) if ada < "A" * 16 else (("A" * 16, 1), (ada, 3))))
    room.beyond.add((EVE, room.say(EVE, 3, Receipt(((ada, 9),)))))
    assert fold_receipts(room.facts, room.policy()) == {BEN_ID: {ada: 7, "A" * 16: 1}}


def test_latest_profile_of_each_member_and_each_offer_with_its_replies_count() -> None:
    room = Room()
    space, signature, id_, other = bytes([9]) * 32, bytes(64), bytes([1]) * 16, bytes([2]) * 16
    offer = Offer(space, PHONE, "Picnic", id_, (PHONE, DESK))
    room.say(PHONE, 1, MemberProfile("Ada"))
    room.say(DESK, 2, MemberProfile("Ada L.", about="engines"))
    room.say(PHONE, 3, offer)
    room.say(BEN, 4, Decline(space, other))
    answer = Answer(space, (b"cert",), (OfferedFeed(BEN, EVE, DESK, (Consent(PHONE, signature),)),), id_)
    room.say(BEN, 5, answer)
    assert fold_profiles(room.facts, room.policy()) == {ADA_ID: MemberProfile("Ada L.", "engines")}
    talks = fold_offers(room.facts, room.policy())[space]
    assert talks.offers == {(ADA_ID, id_): offer}
    assert talks.answers == {id_: {(BEN_ID, BEN): (BEN_ID, answer)}}
    assert talks.declined == {(BEN_ID, other)}
    assert talks.replied({BEN_ID}, id_) and talks.replied({BEN_ID}, other) and not talks.replied({ADA_ID}, id_)


def test_a_refusal_of_an_offer_stands_whatever_clock_the_yes_was_written_by() -> None:
    room = Room()
    space, id_ = bytes([9]) * 32, bytes([1]) * 16
    room.say(PHONE, 3, Offer(space, PHONE, "Picnic", id_))
    room.say(BEN, 4, Decline(space, id_))
    answer = Answer(space, (b"cert",), (OfferedFeed(BEN, EVE, DESK, (Consent(PHONE, bytes(64)),)),), id_)
    room.say(BEN, 9, answer)
    assert fold_offers(room.facts, room.policy())[space].is_declined(id_)


def test_row_with_every_field_is_stored_and_read_back() -> None:
    room = Room()
    photo = File("sun.jpg", 12_345, bytes(32), bytes([1]) * 32, "image/jpeg")
    room.say(PHONE, 1, Message(NONCE, "", HELLO, NOON, "ana", 60, (photo,)))
    room.say(BEN, 2, Reaction(HELLO, "👍", True))
    row = room.row()
    assert row.files == (photo,)
    assert decode_row(row.key(), row.encode()) == row


def test_deletion_encodes_each_block_once_in_order() -> None:
    blocks = (Block(PHONE, 3, bytes(32)), Block(PHONE, 300, bytes(32)), Block(BEN, 0, bytes([7]) * 32))
    body = encode_deletion(Deletion(HELLO, blocks[::-1] + blocks[:1]))
    assert decode_deletion(body) == Deletion(HELLO, blocks)
