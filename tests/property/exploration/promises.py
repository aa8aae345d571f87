"""What has to hold in every state of an exploration, told from the entries alone, without the fold's own code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crdt.space.control import (
    Add,
    Admin,
    Admit,
    Close,
    ControlEntry,
    Epoch,
    Op,
    Revoke,
    Rostered,
    SpaceKind,
    Succeed,
)
from crdt.space.epoch import usable
from crdt.space.membership import SpaceState
from identity.device_set import out_devices, standing_devices
from tests.property.exploration.explore import Done, Ids
from tests.property.exploration.past import Past


class Scene:
    """One state with the entries that led to it."""

    def __init__(self, past: Past, history: tuple[Done, ...], state: SpaceState) -> None:
        self.past, self.history, self.state = past, history, state
        self.done = {done.entry.id: done for done in history}
        self.base = [control for id_ in past.base if (control := past.entries[id_].control) is not None]
        self.person = {seat.core: seat.person for seat in past.seats.values()}
        self.name = {seat.core: name for name, seat in past.seats.items()}
        self.feed = {seat.writer: seat.core for seat in past.seats.values()}

    def counted(self) -> Iterator[tuple[ControlEntry, int, Op]]:
        """Operations of the deeds that count."""
        for done in self.history:
            for place, op in enumerate(done.entry.ops):
                if (done.entry.id, place) in self.state.counted:
                    yield done.entry, place, op

    def said(self, ids: Iterable[bytes], upto: tuple[bytes, int] | None = None) -> frozenset[bytes]:
        """Statements of counting operations: of the common past, of these deeds, and of earlier ones in one entry."""
        ids = frozenset(ids)
        found: set[bytes] = set()
        for entry in [*self.base, *(done.entry for done in self.history)]:
            for place, op in enumerate(entry.ops):
                here = (
                    entry.id in ids
                    or entry.id not in self.done
                    or (upto is not None and entry.id == upto[0] and place < upto[1])
                )
                if here and (entry.id, place) in self.state.counted:
                    found.update(getattr(op, "statements", ()))
        return frozenset(found)

    def heard(self, entry: ControlEntry, place: int) -> frozenset[bytes]:
        """Statements that the author of an operation knew from the space, whether or not what told them counts now."""
        found = {token for op in entry.ops[:place] for token in getattr(op, "statements", ())}
        for other in [*self.base, *(self.done[id_].entry for id_ in self.done[entry.id].before)]:
            found |= {token for op in other.ops for token in getattr(op, "statements", ())}
        return frozenset(found)

    def known_length(self, entry: ControlEntry, core: bytes) -> int:
        """How far the author of an entry knew a feed."""
        past = [*self.base, *(self.done[id_].entry for id_ in self.done[entry.id].before)]
        return max((other.seq + 1 for other in past if other.core == core), default=0)

    def out(self, device: bytes, person: str, said: Iterable[bytes]) -> bool:
        return device in out_devices((self.past.statements[token] for token in said), self.identity(person))

    def stands(self, device: bytes, person: str, said: Iterable[bytes]) -> bool:
        given = (self.past.statements[token] for token in said)
        return device in (standing_devices(given, self.identity(person)) or ())

    def identity(self, person: str) -> bytes:
        return self.past.root(person)


def check(past: Past, history: tuple[Done, ...], state: SpaceState) -> list[str]:
    """Each sentence that does not hold."""
    scene = Scene(past, history, state)
    return [what for promise in PROMISES for what in promise(scene)]


# -- rights ---------------------------------------------------------------------------------------------------------


def only_the_creator_appoints_and_only_it_and_admins_add(scene: Scene) -> Iterator[str]:
    for entry, _, op in scene.counted():
        by = scene.person[entry.core]
        if isinstance(op, Admin) and by != "c":
            yield f"an appointment by {by} counts"
        if isinstance(op, Add) and scene.state.kind is SpaceKind.GROUP and rank(scene, entry) == 2:
            yield f"an add by the member {by} counts"


def nobody_is_ended_by_an_equal_or_a_lower_rank(scene: Scene) -> Iterator[str]:
    state = scene.state
    for entry, _, op in scene.counted():
        if isinstance(op, Close) and op.member is not None and op.member in state.members:
            writer = state.writers.get(entry.core)
            if writer is not None and writer.member == op.member:
                continue
            target = (
                next(p for p, m in scene.past.first.items() if m == op.member)
                if (op.member in scene.past.first.values())
                else "?"
            )
            by = scene.person[entry.core]
            if state.kind is not SpaceKind.GROUP:
                yield f"{by} removed {target} where nobody moderates"
            elif target == "c" or (by not in "c" and op.member in state.admins) or rank(scene, entry) == 2:
                yield f"{by} removed {target}"


def rank(scene: Scene, entry: ControlEntry) -> int:
    """Of the author in its own past: by the appointments that it knew."""
    if scene.person[entry.core] == "c":
        return 0
    if scene.person[entry.core] in scene.past.admins:
        return 1
    before = scene.done[entry.id].before
    writer = scene.state.writers.get(entry.core)
    for other, _, op in scene.counted():
        if isinstance(op, Admin) and other.id in before and writer is not None and op.member == writer.member:
            return 1
    return 2


def what_ends_a_feed_is_a_close_that_counts_and_names_it_or_its_member(scene: Scene) -> Iterator[str]:
    state = scene.state
    for core in state.ends:
        closes = [op for _, _, op in scene.counted() if isinstance(op, Close)]
        named = any(scene.feed[feed.writer] == core for op in closes for feed in op.feeds)
        if not named and not any(op.member == state.writers[core].member for op in closes):
            yield f"{scene.name[core]} ended though no close speaks of it"


def whoever_was_in_stays_admitted(scene: Scene) -> Iterator[str]:
    for entry in scene.base:
        if entry.core not in scene.state.writers:
            yield f"{scene.name[entry.core]} is no writer any more"


# -- ends -----------------------------------------------------------------------------------------------------------


def a_removed_member_has_no_open_writer(scene: Scene) -> Iterator[str]:
    state = scene.state
    for entry, _, op in scene.counted():
        if not isinstance(op, Close):
            continue
        author = state.writers.get(entry.core)
        if op.member is not None and (author is None or author.member != op.member):
            for writer in state.writers.values():
                if writer.member == op.member and writer.open:
                    yield f"{scene.name[writer.core]} of a removed member is open"
        elif author is not None:
            for feed in op.feeds:
                core = scene.feed[feed.writer]
                void = feed.length < scene.known_length(entry, core)  # it cuts off what its author knew
                if (
                    core in state.writers
                    and state.writers[core].member == author.member
                    and state.open(core)
                    and not void
                ):
                    yield f"{scene.name[core]} is open though its owner closed it"


def nothing_beyond_an_end_counts(scene: Scene) -> Iterator[str]:
    for entry, _, op in scene.counted():
        if isinstance(op, Close | Succeed):
            continue  # a succession may be ended at once, at its beginning: then it stands for the one who is out
        if entry.core not in scene.state.writers:
            yield f"{type(op).__name__} of {scene.name[entry.core]} counts, who was never let in"
        elif not scene.state.within(entry.core, entry.seq, entry.root):
            yield f"{type(op).__name__} of {scene.name[entry.core]} counts beyond its end"


def whoever_knew_that_it_was_closed_does_nothing(scene: Scene) -> Iterator[str]:
    for entry, _, op in scene.counted():
        for other, _, close in scene.counted():
            if not isinstance(close, Close) or other.id not in scene.done[entry.id].before:
                continue
            known = scene.known_length(other, entry.core)  # a shorter end is void
            if any(scene.feed[f.writer] == entry.core and known <= f.length <= entry.seq for f in close.feeds):
                did = f"{type(op).__name__} of {scene.name[entry.core]}"
                yield f"{did} counts, which knew of that: {scene.done[other.id]}"


# -- devices --------------------------------------------------------------------------------------------------------


def who_is_out_is_who_a_revoke_names_and_all_statements_show(scene: Scene) -> Iterator[str]:
    """So nobody is out without a statement, two who revoke each other are both out, and R's newest word decides."""
    state, said = scene.state, scene.said(scene.done)
    named = {op.device for _, _, op in scene.counted() if isinstance(op, Revoke)}
    for core, writer in state.writers.items():
        person = scene.person[core]
        want = writer.device in named and scene.out(writer.device, person, said)
        if want != writer.out or want != (writer.device in state.out):
            yield f"{scene.name[core]} is {'in' if want else 'out'}, against the statements"


def a_revoke_that_counts_is_shown_by_its_past(scene: Scene) -> Iterator[str]:
    for entry, place, op in scene.counted():
        if isinstance(op, Revoke):
            said = scene.said(scene.done[entry.id].before, (entry.id, place)) | set(op.statements)
            named = [name for name, seat in scene.past.seats.items() if seat.device == op.device]
            if not any(scene.out(op.device, name[0], said) for name in named):
                yield f"a revoke of {named} counts that nothing shows"


def whoever_comes_in_was_shown_to_stand(scene: Scene) -> Iterator[str]:
    """What an admission carries shows the device as standing, alone and beside what its past says."""
    for entry, place, op in scene.counted():
        if isinstance(op, Add | Admit | Succeed):
            person = scene.person[entry.core] if not isinstance(op, Add) else scene.person[scene.feed[op.writer]]
            own = frozenset(op.statements)
            before = scene.said(scene.done[entry.id].before, (entry.id, place))
            for said in (own, own | before):
                if not scene.stands(op.device, person, said):
                    yield f"{scene.done[entry.id]} counts, of a device that did not stand"


def a_succession_counts_beside_no_close_that_does_not_spare_it(scene: Scene) -> Iterator[str]:
    """A close of the old feed by another device is one that knew the old device as out, and all that is said keeps the
    new one; or it was written in the knowledge of the succession."""
    state, said = scene.state, scene.said(scene.done)
    for entry, _, op in scene.counted():
        if not isinstance(op, Succeed):
            continue
        old = op.core
        for close, place, other in scene.counted():
            if not isinstance(other, Close) or state.successors.get(close.core) == old:
                continue
            target = other.member or (state.writers[close.core].member if close.core in state.writers else None)
            names = any(scene.feed[feed.writer] == old for feed in other.feeds)
            if not names or old not in state.writers or target != state.writers[old].member:
                continue
            if entry.id in scene.done[close.id].before:
                continue
            known = scene.heard(close, place)
            person = scene.person[old]
            own = scene.person[close.core] == person
            if not own or not scene.out(state.writers[old].device, person, known) or scene.out(op.device, person, said):
                yield f"{scene.done[entry.id]} counts beside {scene.done[close.id]}"


# -- epochs ---------------------------------------------------------------------------------------------------------


def the_roster_is_who_is_open_and_not_out(scene: Scene) -> Iterator[str]:
    state = scene.state
    want = sorted(
        Rostered(w.writer, w.device) for w in state.writers.values() if w.core not in state.ends and not w.out
    )
    if list(state.roster) != want:
        yield "the roster is not who is open and not out"


def an_epoch_covers_what_its_past_holds(scene: Scene) -> Iterator[str]:
    """Of closes and revocations that count: who seals under it seals to nobody that one of them put out."""
    state = scene.state
    deeds: Ids = frozenset(e.id for e, _, op in scene.counted() if isinstance(op, Close | Revoke))
    for entry, _, op in scene.counted():
        if isinstance(op, Epoch):
            here = scene.done[entry.id].before | {entry.id}
            if state.epochs[entry.id].covers != (deeds <= here):
                yield f"the epoch of {scene.done[entry.id]} {'lacks' if deeds <= here else 'claims'} what it covers"
    for id_, epoch in state.epochs.items():
        if id_ not in scene.done and epoch.covers == bool(deeds):
            yield "an epoch of the common past covers what came later"


def nobody_seals_to_a_device_that_is_out(scene: Scene) -> Iterator[str]:
    """Every open writer that knows all this uses an epoch whose slots are those of standing devices, or opens one."""
    state = scene.state
    bad = {(w.writer, w.device) for w in state.writers.values() if w.core in state.ends or w.out}
    bad |= {(w.writer, w.device) for w in scene.past.seats.values() if w.core not in state.writers}
    for core in state.writers:
        epoch = usable(state, core)
        if epoch is not None and bad & {tuple(place) for place in state.epochs[epoch].roster}:
            yield f"{scene.name[core]} seals to a device that is out"


def whoever_opens_an_epoch_can_use_one(scene: Scene) -> Iterator[str]:
    """Of the last deed, whose author knew all before it."""
    if not scene.history or len(scene.history[-1].before) < len(scene.history) - 1:
        return
    done, state = scene.history[-1], scene.state
    writer = state.writers.get(done.entry.core)
    if writer is None or not writer.open or writer.out or not any(isinstance(op, Epoch) for op in done.entry.ops):
        return
    if usable(state, done.entry.core) is None:
        yield f"{done.deed.author} opened an epoch and may use none"


PROMISES = (
    only_the_creator_appoints_and_only_it_and_admins_add,
    nobody_is_ended_by_an_equal_or_a_lower_rank,
    what_ends_a_feed_is_a_close_that_counts_and_names_it_or_its_member,
    whoever_was_in_stays_admitted,
    a_removed_member_has_no_open_writer,
    nothing_beyond_an_end_counts,
    whoever_knew_that_it_was_closed_does_nothing,
    who_is_out_is_who_a_revoke_names_and_all_statements_show,
    a_revoke_that_counts_is_shown_by_its_past,
    whoever_comes_in_was_shown_to_stand,
    a_succession_counts_beside_no_close_that_does_not_spare_it,
    the_roster_is_who_is_open_and_not_out,
    an_epoch_covers_what_its_past_holds,
    nobody_seals_to_a_device_that_is_out,
    whoever_opens_an_epoch_can_use_one,
)
