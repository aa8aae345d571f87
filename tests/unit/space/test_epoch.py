"""Epochs: which one to use, when to open or drop one, which Z it takes, who gets a slot."""

from __future__ import annotations

from dataclasses import replace

from crdt.log.stamp import make_stamp
from crdt.space.control import Rostered
from crdt.space.epoch import (
    DAY_MS,
    DORMANT_MS,
    KEPT_MS,
    NEWCOMER_MS,
    EpochKey,
    droppable,
    epoch_op,
    kept_z,
    newcomers,
    next_z,
    proves_z,
    recipients,
    supersedes,
    usable,
    worn,
    z_check,
)
from crdt.space.membership import EpochInfo, Member, SpaceState, Writer
from tests.support.people import family
from tests.support.streams import stream

NOW = 1_790_000_000_000


def b(k: int) -> bytes:
    return bytes((k,)) * 32


def writer(k: int, *, statements: tuple[bytes, ...] = (), device: bytes = b"", **changed: object) -> Writer:
    made = Writer(
        core=b(k),
        writer=b(k + 100),
        member=b(k + 50),
        device=device or b(k + 150),
        prekey=b(k + 200),
        admitted=b(k + 50),
        by=b(1),
        stamp=make_stamp(NOW),
        open=True,
        out=False,
        statements=statements,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def place(k: int) -> Rostered:
    return Rostered(b(k + 100), b(k + 150))


def epoch(
    k: int, roster: tuple[int, ...], *, over: tuple[int, ...] = (), covers: bool = True, superseded: bool = False
) -> EpochInfo:
    places = tuple(place(member) for member in roster)
    return EpochInfo(b(k), b(1), 0, 0, places, tuple(b(o) for o in over), z_check(b(k)), covers, superseded)


def state(*epochs: EpochInfo, writers: tuple[int, ...] = (1, 2, 3)) -> SpaceState:
    made = {b(k): writer(k) for k in writers}
    members = {w.member: Member(w.member, b(9), 2, core, w.writer) for core, w in made.items()}
    return SpaceState(
        space=b(0),
        members=members,
        writers=made,
        roster=tuple(place(k) for k in writers),
        epochs={e.id: e for e in epochs},
    )


def test_lowest_id_is_used_among_fitting_epochs() -> None:
    here = state(epoch(12, (1, 2, 3)), epoch(11, (1, 2, 3)))
    assert usable(here, b(1)) == b(11)
    assert usable(here, b(1), known={b(12)}) == b(12)
    assert usable(here, b(1), known=()) is None
    assert usable(here, b(7)) is None


def test_epoch_with_wrong_roster_or_superseded_is_not_used() -> None:
    for bad in (
        epoch(11, (1, 2)),
        epoch(11, (1, 2, 3, 4)),
        epoch(11, (1, 2, 3), covers=False),
        epoch(11, (1, 2, 3), superseded=True),
    ):
        assert usable(state(bad), b(1)) is None
    closed = state(epoch(11, (1, 2, 3)))
    shut = replace(closed, writers={**closed.writers, b(1): writer(1, open=False)})
    assert usable(shut, b(1)) is None


def test_epoch_without_a_newcomer_stays_usable_for_ten_minutes() -> None:
    here = state(epoch(11, (1, 2)))
    grace = newcomers(here, {b(3): NOW, b(8): NOW}, NOW + NEWCOMER_MS - 1)
    assert grace == {b(3)} and usable(here, b(1), grace=grace) == b(11)
    assert usable(here, b(3), grace=grace) is None  # not for the newcomer: it cannot read it
    late = newcomers(here, {b(3): NOW}, NOW + NEWCOMER_MS)
    assert not late and usable(here, b(1), grace=late) is None
    assert usable(state(epoch(11, (1,))), b(1), grace=grace) is None  # lacks somebody else too
    assert usable(state(epoch(11, (1, 2, 4))), b(1), grace=grace) is None  # holds somebody who is out
    assert usable(state(epoch(11, (1, 2), covers=False)), b(1), grace=grace) is None
    assert not newcomers(here, {b(3): NOW + 1}, NOW)  # a clock set back stretches nothing


def test_epoch_wears_out_after_seven_days_or_a_thousand_entries() -> None:
    assert not worn(6, 999) and worn(7, 1) and worn(1, 1000)


def test_new_epoch_supersedes_epochs_that_none_superseded() -> None:
    here = state(epoch(12, (1,)), epoch(11, (1, 2, 3)), epoch(10, (1,), superseded=True))
    assert supersedes(here) == (b(11), b(12))
    op = epoch_op(here, b(5))
    assert op.roster == here.roster and op.superseded == supersedes(here)
    assert proves_z(op, b(5)) and not proves_z(op, b(6))


def key(k: int, z: int | None = None) -> EpochKey:
    return EpochKey(b(k), b(77), b(z or k))


def test_next_epoch_keeps_z_when_nobody_left() -> None:
    here = state(epoch(11, (1, 2)), epoch(12, (1, 2)))
    keys = {b(12): key(12), b(11): key(11)}
    assert next_z(stream("z"), here, keys) == b(11)
    assert next_z(stream("z"), here, {b(12): key(12)}) == b(12)
    fresh = stream("z")(32)
    assert next_z(stream("z"), here, {}) == fresh
    assert next_z(stream("z"), here, {b(11): key(11, z=13)}) == fresh  # a slot with another Z than the entry names
    assert next_z(stream("z"), state(), {}) == fresh


def test_next_epoch_draws_z_when_an_open_epoch_misses_a_close() -> None:
    here = state(epoch(11, (1, 2)), epoch(12, (1, 2), covers=False))
    assert next_z(stream("z"), here, {b(11): key(11), b(12): key(12)}) == stream("z")(32)


def test_kept_z_is_detected_from_the_graph() -> None:
    first = epoch(11, (1, 2, 3))
    kept = replace(epoch(12, (1, 2, 3), over=(11,)), rendezvous=first.rendezvous)
    drawn = epoch(13, (1, 2, 3), over=(11,))
    here = state(first, kept, drawn)
    assert (kept_z(here, first), kept_z(here, kept), kept_z(here, drawn)) == (None, True, False)


def test_epoch_key_is_dropped_after_sixty_days_or_once_all_opened() -> None:
    old = NOW - KEPT_MS
    assert not droppable(None, NOW, unopened=())
    assert droppable(old, NOW, unopened=(b(1),))
    assert not droppable(old + 1, NOW, unopened=(b(1),))
    assert droppable(NOW, NOW, unopened=())
    assert not droppable(NOW, NOW, unopened=(), pending=True)
    assert droppable(NOW, NOW, unopened=(b(1),), erased=True)
    assert not droppable(NOW, NOW, unopened=(b(1),), erased=True, pending=True)


def test_dormant_devices_get_no_slots_until_their_next_record() -> None:
    people = [family("a"), family("b"), family("c")]
    writers, members = {}, {}
    for k, person in enumerate(people, 1):
        shown = tuple(statement.encoded for statement in person.statements)
        w = writer(k, statements=shown, device=person.devices[0].id)
        writers[w.core] = w
        members[w.member] = Member(w.member, person.identity, 2, w.core, w.writer)
    roster = tuple(Rostered(w.writer, w.device) for w in writers.values())
    here = replace(state(), writers=writers, members=members, roster=roster)
    everybody = [r.writer for r in recipients(here, b(1), {}, NOW + DORMANT_MS - 1)]
    assert everybody == [b(101), b(102), b(103)]
    later = NOW + DORMANT_MS
    assert [r.writer for r in recipients(here, b(1), {}, later)] == [b(101)]  # never leaves itself out
    back = recipients(here, b(1), {b(2): (later - DAY_MS, b(42))}, later)
    assert [(r.writer, r.prekey) for r in back] == [(b(101), b(201)), (b(102), b(42))]
    assert back[1].agreement == people[1].devices[0].agreement.public
    lying = replace(here, members={**members, b(52): replace(members[b(52)], identity=b(9))})
    assert b(102) not in [r.writer for r in recipients(lying, b(1), {}, NOW)]
