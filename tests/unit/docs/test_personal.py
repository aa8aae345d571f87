"""The personal space between two devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt.docs.chat import Consent
from crdt.docs.guard import Admit, examine
from crdt.docs.ids import writer_id
from crdt.docs.kinds import DocKind
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
from crdt.docs.personal import OwnFact, Personal, PersonalView, fold_personal, own_facts_of
from crdt.docs.schema import OwnValue, dump_value
from crdt.docs.update import make_update

PHONE, DESK = bytes([1]) * 32, bytes([2]) * 32
BEN, SPACE, OTHER = bytes([3]) * 32, bytes([4]) * 32, bytes([5]) * 32
KEY = bytes([6]) * 32


@dataclass(slots=True)
class Mine:
    """What my devices write at given moments; every entry takes the way of a real one."""

    facts: list[OwnFact] = field(default_factory=list)
    seqs: dict[bytes, int] = field(default_factory=dict)
    beyond: set[tuple[bytes, int]] = field(default_factory=set)

    def write(self, core: bytes, moment: int, *values: OwnValue) -> int:
        seq = self.seqs[core] = self.seqs.get(core, -1) + 1
        body = make_update(core, seq, DocKind.PERSONAL, [dump_value(value) for value in values])
        verdict = examine(body, core, seq, DocKind.PERSONAL)
        assert isinstance(verdict, Admit)
        self.facts += own_facts_of(verdict, core, seq, moment << 16)
        return seq

    def view(self) -> PersonalView:
        return fold_personal(self.facts, lambda core, seq: (core, seq) not in self.beyond)


def test_contact_merges_the_latest_fields_of_both_devices() -> None:
    mine = Mine()
    mine.write(PHONE, 1, OwnContact(BEN, on=True, profile="Ben", pending=True, space=SPACE))
    mine.write(PHONE, 2, OwnContact(BEN, name="Benny"))
    mine.write(DESK, 3, OwnContact(BEN, blocked=True, pending=False))
    mine.write(DESK, 1, OwnContact(BEN, name="older"))
    assert mine.view().contacts == {
        BEN: OwnContact(BEN, True, "Benny", "Ben", pending=False, blocked=True, space=SPACE),
    }
    mine.write(PHONE, 4, OwnContact(BEN, on=False))
    assert mine.view().contacts == {}
    mine.write(DESK, 5, OwnContact(BEN, on=True))
    assert mine.view().contacts[BEN].name == "Benny"


def test_what_answering_notes_brings_no_deleted_contact_back() -> None:
    mine = Mine()
    mine.write(PHONE, 1, OwnContact(BEN, on=True, profile="Ben", pending=False, space=SPACE))
    mine.write(PHONE, 2, OwnContact(BEN, deleted=True, blocked=True))
    mine.write(DESK, 3, OwnContact(BEN, on=True, profile="Ben again", pending=False, space=SPACE))
    assert mine.view().contacts == {}
    mine.write(PHONE, 4, OwnContact(BEN, deleted=False))
    assert mine.view().contacts[BEN].blocked and mine.view().contacts[BEN].profile == "Ben again"


def test_view_shows_chats_profile_settings_devices_and_drafts() -> None:
    mine = Mine()
    mine.write(
        PHONE,
        1,
        OwnProfile("Ada", "engines"),
        OwnChat(SPACE, on=True, kind="group", state="active", creator=PHONE, title="Picnic", rendezvous=KEY),
        Setting("theme", "dark"),
        Setting("tone", "bell"),
        DeviceName(KEY, "phone"),
        OwnDraft(SPACE, "half a thou"),
        OwnDraft(OTHER, "another"),
    )
    mine.write(
        DESK,
        2,
        OwnProfile(about=""),
        OwnChat(SPACE, state="left"),
        Setting("tone", ""),
        OwnDraft(SPACE, ""),
        DeviceName(KEY, "old phone"),
    )
    view = mine.view()
    assert view.profile == OwnProfile("Ada", "")
    assert view.chats == {SPACE: OwnChat(SPACE, True, "group", "left", PHONE, "Picnic", rendezvous=KEY)}
    assert view.settings == {"theme": "dark"}
    assert view.devices == {KEY: "old phone"}
    assert view.drafts == {OTHER: OwnDraft(OTHER, "another")}


def test_read_mark_only_moves_forward() -> None:
    mine = Mine()
    ben, eve = sorted((writer_id(BEN), writer_id(KEY)))
    mine.write(DESK, 1, ReadMark(SPACE, ((ben, 4), (eve, 1))))
    mine.write(PHONE, 2, ReadMark(SPACE, ((ben, 2), (eve, 7))))
    view = mine.view()
    assert view.marks == {SPACE: {ben: 4, eve: 7}}
    assert view.markers == {SPACE: {ben: DESK, eve: PHONE}}


def test_mark_of_a_clock_ten_years_ahead_covers_nothing_that_comes_later() -> None:
    mine = Mine()
    mine.write(PHONE, 10 * 365 * 86_400_000, ReadMark(SPACE, ((writer_id(BEN), 4),)))
    assert [mine.view().has_read(SPACE, BEN, seq) for seq in (4, 5)] == [True, False]
    assert not mine.view().has_read(SPACE, KEY, 0)


def test_first_device_to_raise_a_mark_is_known_for_each_feed() -> None:
    mine = Mine()
    mine.write(DESK, 5, ReadMark(SPACE, ((writer_id(BEN), 4),)))
    mine.write(PHONE, 2, ReadMark(SPACE, ((writer_id(BEN), 4),)))
    assert mine.view().markers == {SPACE: {writer_id(BEN): PHONE}}


def test_patch_that_names_another_counts_over_it_whatever_their_stamps() -> None:
    mine = Mine()
    mine.write(PHONE, 99, OwnContact(BEN, on=True, name="in 2035", blocked=True))
    wrong = mine.facts[-1].id()
    assert mine.view().contacts[BEN].name == "in 2035"
    mine.write(DESK, 3, OwnContact(BEN, name="now", blocked=False))
    assert mine.view().contacts[BEN].name == "in 2035", "it knows nothing of the other: time decides"
    mine.write(DESK, 4, OwnContact(BEN, name="now", blocked=False, over=(wrong,)))
    assert mine.view().contacts[BEN] == OwnContact(BEN, True, "now", blocked=False)


def test_patch_names_the_newest_of_every_other_feed_in_the_fields_that_it_sets() -> None:
    mine = Mine()
    registers = Personal(lambda core, seq: True)
    mine.write(PHONE, 1, OwnContact(BEN, name="one"))
    mine.write(PHONE, 2, OwnContact(BEN, name="two"))
    mine.write(DESK, 3, OwnContact(BEN, blocked=True), OwnContact(KEY, name="somebody else"))
    for fact in mine.facts:
        registers.add(fact)
    two, blocked = mine.facts[1].id(), mine.facts[2].id()
    tablet = bytes([9]) * 32
    assert registers.over(OwnContact(BEN, name="three"), tablet) == (two,)
    assert registers.over(OwnContact(BEN, name="three", blocked=False), tablet) == tuple(sorted((two, blocked)))
    assert registers.over(OwnContact(BEN, name="three"), PHONE) == (), "what the same feed said before goes without"
    assert registers.over(OwnContact(BEN, verified=True), tablet) == ()


def test_invites_and_waiting_writers_are_added_and_removed() -> None:
    mine = Mine()
    consents = (Consent(PHONE, bytes(64)),)
    mine.write(PHONE, 1, OwnInvite(KEY, True, bytes(32), bytes(32), 1, 99))
    mine.write(DESK, 2, OwnWriter(SPACE, DESK, True, KEY, BEN, consents), OwnWriter(OTHER, DESK, True))
    mine.write(DESK, 3, OwnInvite(KEY, used_by=BEN))
    view = mine.view()
    assert view.invites == {KEY: OwnInvite(KEY, True, bytes(32), bytes(32), 1, 99, BEN)}
    assert view.waiting_writers(SPACE) == [OwnWriter(SPACE, DESK, True, KEY, BEN, consents)]
    mine.write(PHONE, 4, OwnWriter(SPACE, DESK, on=False), OwnInvite(KEY, on=False))
    assert mine.view().waiting_writers(SPACE) == []
    assert mine.view().invites == {}


def test_what_is_deleted_of_one_chat_with_a_person_veils_the_other_chats_with_that_person() -> None:
    mine = Mine()
    mine.write(PHONE, 1, OwnChat(SPACE, on=True, kind="direct", peer=BEN), OwnChat(OTHER, kind="direct", peer=BEN))
    mine.write(PHONE, 2, Hidden(SPACE, KEY, on=True), Hidden(OTHER, upto=((writer_id(PHONE), 3),)))
    veils = mine.view().veils()
    assert veils[SPACE] == veils[OTHER]
    assert veils[OTHER].hides(OTHER, KEY, DESK, 7)
    assert not veils[SPACE].hides(SPACE, BEN, PHONE, 3), "a frontier is of one space"


def test_hidden_messages_are_listed_by_message_and_up_to_a_row() -> None:
    mine = Mine()
    mine.write(PHONE, 1, Hidden(SPACE, KEY, on=True), Hidden(OTHER, upto=((writer_id(PHONE), 3),)))
    veils = mine.view().veils()
    assert veils[SPACE].hides(SPACE, KEY, PHONE, 9)
    assert not veils[SPACE].hides(SPACE, BEN, PHONE, 9)
    assert veils[OTHER].hides(OTHER, BEN, PHONE, 3)
    assert not veils[OTHER].hides(OTHER, BEN, PHONE, 4), "what comes after a chat was deleted shows"
    assert not veils[OTHER].hides(OTHER, BEN, DESK, 0), "whatever its clock says"
    mine.write(DESK, 2, Hidden(SPACE, KEY, on=False), Hidden(OTHER, upto=((writer_id(PHONE), 2),)))
    assert SPACE not in mine.view().veils()
    assert mine.view().cleared == {OTHER: {writer_id(PHONE): 3}}


def test_values_beyond_the_end_of_a_closed_feed_are_undone() -> None:
    mine = Mine()
    mine.write(PHONE, 1, OwnContact(BEN, on=True, name="Ben"))
    mine.beyond.add((DESK, mine.write(DESK, 2, OwnContact(BEN, on=False), Setting("theme", "dark"))))
    assert mine.view().contacts == {BEN: OwnContact(BEN, True, "Ben")}
    assert mine.view().settings == {}
