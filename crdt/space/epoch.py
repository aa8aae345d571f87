"""Epochs: under which key to write, when to open a new one, when to drop one (`docs/protocol.md`).

Epochs do not compete: everybody uses any that fits what it knows, and opens one when none does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from crdt.log.stamp import stamp_ms
from crdt.space.consent import agreement_of
from crdt.space.control import MAX_SUPERSEDED, Epoch, Rostered, SpaceKind
from crdt.space.membership import EpochInfo, SpaceState
from identity.digest import derive
from identity.keys import Random
from identity.labels import Label

DAY_MS = 86_400_000
MAX_ACTIVE_DAYS = 7
MAX_ENTRIES = 1000
NEWCOMER_MS = 600_000  # an epoch that only lacks newcomers may be used this long
KEPT_MS = 60 * DAY_MS  # a superseded epoch's key
DORMANT_MS = 60 * DAY_MS


@dataclass(frozen=True, slots=True)
class EpochKey:
    """id: block hash of the entry that opened it; secret: E; z: the rendezvous secret Z (32 bytes each)."""

    id: bytes
    secret: bytes = field(repr=False)
    z: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A rostered feed that gets a slot.  writer: W; device: id; agreement, prekey: D and P (or P and K), for
    `make_grant`."""

    writer: bytes
    device: bytes
    agreement: bytes
    prekey: bytes


def usable(
    state: SpaceState, core: bytes, *, known: Collection[bytes] | None = None, grace: Collection[bytes] = ()
) -> bytes | None:
    """The id of the epoch that the writer of `core` seals under now, or None: then it opens one.

    Not superseded, holding every close and revocation that counts, its roster that of the fold; several: the lowest id.
    known: ids of epochs whose E is here (None: all); grace: core keys of feeds admitted less than 10 minutes ago,
    which the roster may lack.
    """
    fitting = [epoch.id for epoch in fitting_epochs(state, core, grace) if known is None or epoch.id in known]
    return min(fitting, default=None)


def fitting_epochs(state: SpaceState, core: bytes, grace: Collection[bytes] = ()) -> list[EpochInfo]:
    """As `usable`, all of them."""
    writer = state.writers.get(core)
    if writer is None or not writer.open:
        return []
    me, want = Rostered(writer.writer, writer.device), state.roster
    late = {state.writers[new].writer for new in grace if new in state.writers and new != core}
    return [
        epoch
        for epoch in state.epochs.values()
        if not epoch.superseded and epoch.covers and me in want and _fits(epoch.roster, want, late)
    ]


def _fits(roster: tuple[Rostered, ...], want: tuple[Rostered, ...], late: Collection[bytes]) -> bool:
    """Whether a roster is the wanted one, or lacks nothing but latecomers."""
    if roster == want or not late:
        return roster == want
    return set(roster) <= set(want) and all(place.writer in late for place in set(want) - set(roster))


def newcomers(state: SpaceState, arrived: Mapping[bytes, int], now_ms: int) -> frozenset[bytes]:
    """Core keys of feeds whose admission arrived here in the last 10 minutes: what `grace` takes.

    arrived: core key -> Unix ms of this device's own clock, so that nobody else's stamp stretches the time.
    """
    return frozenset(core for core, at in arrived.items() if core in state.writers and 0 <= now_ms - at < NEWCOMER_MS)


def worn(active_days: int, entries: int) -> bool:
    """Whether an epoch is old: UTC days with an entry under it, and entries under it, in the author's past."""
    return active_days >= MAX_ACTIVE_DAYS or entries >= MAX_ENTRIES


def supersedes(state: SpaceState) -> tuple[bytes, ...]:
    """What a new epoch names: all that count and that none before it named, ascending.

    Should the one between fall, an older one is used only if its roster is today's and it holds every close.
    """
    return tuple(sorted(epoch.id for epoch in state.epochs.values() if not epoch.superseded))[:MAX_SUPERSEDED]


def epoch_op(state_after: SpaceState, z: bytes, classical: Collection[bytes] = ()) -> Epoch:
    """The operation that opens an epoch; state_after: `graph.preview` of the operations before it in its entry.

    classical: the W of those that get its secret under X25519 alone.
    """
    places = tuple(index for index, place in enumerate(state_after.roster) if place.writer in classical)
    return Epoch(state_after.roster, supersedes(state_after), z_check(z), places)


def next_z(rng: Random, state_after: SpaceState, known: Mapping[bytes, EpochKey]) -> bytes:
    """Z of a new epoch: a new one if its past holds a close or revocation that what it supersedes does not all hold.

    Else that of the lowest superseded epoch whose Z is known here and is the one that its entry names.
    """
    before = [state_after.epochs[id_] for id_ in supersedes(state_after)]
    if before and all(epoch.covers for epoch in before):
        for epoch in before:
            key = known.get(epoch.id)
            if key is not None and proves_z(epoch, key.z):
                return key.z
    return rng(32)


def z_check(z: bytes) -> bytes:
    """What an epoch operation says of its Z: whoever sealed different ones to different devices is found out."""
    return derive(z, Label.RENDEZVOUS)


def proves_z(epoch: Epoch | EpochInfo, z: bytes) -> bool:
    """Whether a Z out of a slot is the one that the epoch's entry names; else the grant is as good as none."""
    return z_check(z) == epoch.rendezvous


def kept_z(state: SpaceState, epoch: EpochInfo) -> bool | None:
    """Whether an epoch kept a Z of those it superseded; None: none of them is known.  Shown, never folded."""
    before = [state.epochs[id_] for id_ in epoch.supersedes if id_ in state.epochs]
    return any(other.rendezvous == epoch.rendezvous for other in before) if before else None


def droppable(
    superseded_ms: int | None, now_ms: int, *, unopened: Collection[bytes], erased: bool = False, pending: bool = False
) -> bool:
    """Whether the key of an epoch goes.

    superseded_ms: when this device learned that it is superseded (None: it is not); unopened: rostered devices, not
    dormant, that have not reported to have opened it; erased: an entry under it was deleted; pending: entries under it
    are still unopened here.  60 days after it was superseded, sooner once all have it; with an erased entry as soon as
    all is opened here.
    """
    if superseded_ms is None:
        return False
    if erased and not pending:
        return True
    return now_ms - superseded_ms >= KEPT_MS or not (unopened or pending)


def recipients(
    state_after: SpaceState, core: bytes, latest: Mapping[bytes, tuple[int, bytes]], now_ms: int
) -> list[Recipient]:
    """Who gets a slot in a grant that the writer of `core` makes: everybody in the roster but dormant devices, and
    those that no certificate of their member's identity stands for.

    latest: core key -> (Unix ms when this device first saw the feed's newest device record, prekey in it).  Without
    a record the admission speaks, for as long as a record would.  The writer itself gets a slot too: what it sealed it
    must be able to open again.
    """
    found = []
    by_writer = {writer.writer: writer for writer in state_after.writers.values()}
    for place in state_after.roster:
        writer = by_writer[place.writer]
        at, prekey = latest.get(writer.core, (stamp_ms(writer.stamp), writer.prekey))
        identity = state_after.members[writer.member].identity
        agreement = agreement_of(writer.statements, identity, writer.device)
        if agreement is not None and (writer.core == core or not dormant(at, now_ms)):
            found.append(Recipient(writer.writer, writer.device, agreement, prekey))
    return found


def dormant(at_ms: int, now_ms: int) -> bool:
    """Whether a device whose newest record is this old is listed, but gets no slots."""
    return now_ms - at_ms >= DORMANT_MS


def recovers(kind: SpaceKind) -> bool:
    """Whether grants of this space have one more slot for the recovery phrase."""
    return kind == SpaceKind.PERSONAL
