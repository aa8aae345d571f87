"""Spent entries of the personal space: whatever is erased of them, what counts stays the same, now and later."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.docs.ids import writer_id
from crdt.docs.own import Hidden, OwnContact, OwnDraft, OwnProfile, ReadMark
from crdt.docs.personal import OwnFact, Personal, PersonalView, fold_personal
from crdt.docs.schema import OwnValue, dump_value
from crdt.docs.spent import spent

CORES = [bytes([number]) * 32 for number in (1, 2, 3)]
BEN, SPACE = bytes([8]) * 32, bytes([9]) * 32


def shows(core: bytes, seq: int) -> bool:
    return True


class Devices:
    """Three devices of mine that write with what each of them knows, and hear of one another or not."""

    def __init__(self) -> None:
        self.facts: list[OwnFact] = []
        self.known: list[list[OwnFact]] = [[], [], []]
        self.next = 0

    def write(self, device: int, moment: int, *values: OwnValue) -> None:
        folded = Personal(shows)
        for fact in self.known[device]:
            folded.add(fact)
        core, seq, self.next = CORES[device], self.next, self.next + 1
        for place, value in enumerate(values):
            named = value if isinstance(value, ReadMark) else replace(value, over=folded.over(value, core))
            root, raw = dump_value(named)
            fact = OwnFact(root, core, seq, place, moment << 16, named, raw.encode())
            self.facts.append(fact)
            self.known[device].append(fact)

    def hear(self, device: int) -> None:
        self.known[device] = list(self.facts)

    def erase(self) -> int:
        """Erases what is spent, once everybody knows everything."""
        for device in range(3):
            self.hear(device)
        gone = spent(self.facts)
        self.facts = [fact for fact in self.facts if (fact.core, fact.seq) not in gone]
        self.known = [[f for f in known if (f.core, f.seq) not in gone] for known in self.known]
        return len(gone)

    def view(self) -> PersonalView:
        return fold_personal(self.facts, shows)

    def texts(self) -> bytes:
        return b"\n".join(fact.raw for fact in self.facts)


def test_an_old_name_goes_whoever_gave_the_new_one() -> None:
    mine = Devices()
    mine.write(0, 1, OwnContact(BEN, on=True, pending=False))
    mine.write(0, 2, OwnContact(BEN, name="Old"))
    mine.write(0, 3, OwnContact(BEN, name="Older name of the phone"))
    mine.hear(1)
    mine.write(1, 1, OwnContact(BEN, name="New"))
    before = mine.view()
    assert mine.erase() == 2
    assert mine.view() == before and b"Old" not in mine.texts()
    mine.write(2, 4, OwnContact(BEN, name="Newest"))
    mine.erase()
    assert b'New"' not in mine.texts() and mine.view().contacts[BEN].name == "Newest"


def test_a_value_that_hides_one_that_stays_stays_too() -> None:
    mine = Devices()
    mine.write(0, 1, OwnContact(BEN, on=True, name="first"))
    mine.write(0, 2, OwnContact(BEN, name="second"))
    mine.hear(1)
    mine.write(1, 3, OwnContact(BEN, name="third"))
    before = mine.view()
    assert mine.erase() == 0, "without the second the first would stand beside the third"
    assert mine.view() == before


def test_two_values_that_did_not_know_of_each_other_both_stay() -> None:
    mine = Devices()
    mine.write(0, 1, OwnProfile(name="one"))
    mine.write(1, 2, OwnProfile(name="other"))
    assert mine.erase() == 0


def test_read_marks_drafts_and_deleted_chats_leave_one_entry_each() -> None:
    mine = Devices()
    for number in range(50):
        mine.write(0, number, ReadMark(SPACE, ((writer_id(CORES[1]), number),)))
        mine.write(0, number, OwnDraft(SPACE, text=f"draft {number}"))
        mine.write(1, number, Hidden(SPACE, upto=((writer_id(CORES[1]), number),)))
    mine.write(0, 60, OwnDraft(SPACE, text=""))
    before = mine.view()
    mine.erase()
    assert mine.view() == before and len(mine.facts) == 3 and b"draft 4" not in mine.texts()


def upto(core: int, seq: int) -> tuple[tuple[str, int], ...]:
    return ((writer_id(CORES[core]), seq),)


TEXTS = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(
    st.builds(OwnContact, st.just(BEN), name=TEXTS),
    st.builds(OwnContact, st.just(BEN), on=st.booleans(), profile=TEXTS),
    st.builds(OwnContact, st.just(BEN), blocked=st.booleans(), name=TEXTS),
    st.builds(OwnProfile, name=TEXTS),
    st.builds(OwnDraft, st.just(SPACE), text=TEXTS),
    st.builds(
        lambda core, seq: ReadMark(SPACE, ((writer_id(CORES[core]), seq),)), st.integers(0, 2), st.integers(0, 5)
    ),
    st.builds(
        lambda core, seq: Hidden(SPACE, upto=((writer_id(CORES[core]), seq),)), st.integers(0, 2), st.integers(0, 5)
    ),
)
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "hear"]),
        st.integers(0, 2),
        st.integers(1, 9),
        st.lists(VALUES, min_size=1, max_size=2),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(DEEDS, DEEDS)
def test_erasing_what_is_spent_changes_no_view_now_and_none_that_follows(before: list, after: list) -> None:  # type: ignore[type-arg]
    erased, whole = Devices(), Devices()
    for devices in (erased, whole):
        play(devices, before)
    view = erased.view()
    erased.erase()
    for device in range(3):
        whole.hear(device)
    assert erased.view() == view
    for devices in (erased, whole):
        play(devices, after)
    assert erased.view() == whole.view()


def play(devices: Devices, deeds: list) -> None:  # type: ignore[type-arg]
    for what, device, moment, values in deeds:
        devices.hear(device) if what == "hear" else devices.write(device, moment, *values)
