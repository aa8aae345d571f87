"""The personal space between two devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt.docs.chat import Consent
from crdt.docs.guard import Admit, examine
from crdt.docs.ids import sort_key
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
from crdt.docs.personal import OwnFact, PersonalView, fold_personal, own_facts_of
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
    far, near = sort_key(9 << 16, PHONE, 4), sort_key(5 << 16, PHONE, 2)
    mine.write(DESK, 1, ReadMark(SPACE, far, BEN))
    mine.write(PHONE, 2, ReadMark(SPACE, near, KEY))
    assert mine.view().marks == {SPACE: ReadMark(SPACE, far, BEN)}


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


def test_hidden_messages_are_listed_by_message_and_up_to_a_row() -> None:
    mine = Mine()
    early, late = sort_key(1 << 16, PHONE, 0), sort_key(9 << 16, PHONE, 1)
    mine.write(PHONE, 1, Hidden(SPACE, KEY, on=True), Hidden(OTHER, on=True, upto=early))
    view = mine.view()
    assert view.hides(SPACE, KEY, late)
    assert not view.hides(SPACE, BEN, late)
    assert view.hides(OTHER, BEN, early)
    assert not view.hides(OTHER, BEN, late), "what comes after a chat was deleted shows"
    mine.write(DESK, 2, Hidden(SPACE, KEY, on=False))
    assert not mine.view().hides(SPACE, KEY, late)


def test_values_beyond_the_end_of_a_closed_feed_are_undone() -> None:
    mine = Mine()
    mine.write(PHONE, 1, OwnContact(BEN, on=True, name="Ben"))
    mine.beyond.add((DESK, mine.write(DESK, 2, OwnContact(BEN, on=False), Setting("theme", "dark"))))
    assert mine.view().contacts == {BEN: OwnContact(BEN, True, "Ben")}
    assert mine.view().settings == {}
