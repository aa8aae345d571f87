"""Faults: production's decision functions with one rule left out of each, to see that the exploration notices.

Each fault is a function that patches production, and the bounds in which it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple, cast

from pytest import MonkeyPatch

from crdt.space import fold, growth, membership, rules
from crdt.space.control import Close, Revoke
from crdt.space.ends import CloseVerdict, FeedEnds
from crdt.space.fold import Folder
from crdt.space.growth import Growing
from crdt.space.history import Placed
from crdt.space.lineage import End
from crdt.space.rules import RuleContext
from crdt.space.view import View

Seed = Callable[[MonkeyPatch], None]


class Fault(NamedTuple):
    """rule: what production lacks with it; found: the history that shows it; bounds: where to look."""

    rule: str
    seed: Seed
    bounds: str
    found: str = ""


def anybody_removes(patch: MonkeyPatch) -> None:
    patch.setitem(cast(dict[type, Any], rules.RIGHTS), Close, lambda *given: True)


def no_shield(patch: MonkeyPatch) -> None:
    patch.setattr(fold, "REMOVAL_BY_ADMIN", -1)
    patch.setattr(growth, "REMOVAL_BY_ADMIN", -1)


def late_closes(patch: MonkeyPatch) -> None:
    """As it was before this exploration."""
    patch.setattr(Folder, "_never", property(lambda folder: folder.void))


def closes_of_all_ranks_at_once(patch: MonkeyPatch) -> None:
    patch.setattr(CloseVerdict, "step", property(lambda verdict: 0))


def unnamed_feeds_stay(patch: MonkeyPatch) -> None:
    claims = FeedEnds._claims

    def named_only(ends: FeedEnds, closes: Iterable[Placed], core: bytes) -> Any:
        return claims(ends, [close for close in closes if core in ends.verdicts[close.index].items], core)

    def end_of(ends: FeedEnds, closes: tuple[Placed, ...], core: bytes) -> End | None:
        found = named_only(ends, closes, core)
        return ends._pick(core, found) if found else None

    patch.setattr(FeedEnds, "end_of", end_of)


def a_name_is_enough(patch: MonkeyPatch) -> None:
    def out(context: RuleContext, view: View, core: bytes) -> bool:
        return view.admitted[core].device in {cast(Revoke, placed.op).device for placed in view.revokes}

    patch.setattr(RuleContext, "out", out)


def any_statement_revokes(patch: MonkeyPatch) -> None:
    patch.setitem(cast(dict[type, Any], rules.RIGHTS), Revoke, lambda *given: True)
    a_name_is_enough(patch)


def admissions_show_nothing(patch: MonkeyPatch) -> None:
    patch.setattr(RuleContext, "shows", lambda context, view, op, identity: identity is not None)


def every_succession_is_spared(patch: MonkeyPatch) -> None:
    patch.setattr(RuleContext, "spares", lambda *given: True)


def no_close_voids_a_succession(patch: MonkeyPatch) -> None:
    patch.setattr(Folder, "_voided", lambda *given: False)


def roster_of_all(patch: MonkeyPatch) -> None:
    roster_of = membership.roster_of
    patch.setattr(membership, "roster_of", lambda view, outside, limits: roster_of(view, (), limits))


def every_epoch_covers(patch: MonkeyPatch) -> None:
    info = membership.epoch_info

    def covering(*given: Any) -> Any:
        return replace(info(*given), covers=True)

    patch.setattr(membership, "epoch_info", covering)
    patch.setattr("crdt.space.renewal.epoch_info", covering)


def growth_trusts_every_entry(patch: MonkeyPatch) -> None:
    """What is worked out anew from the last state skips the question whether anything written apart hangs on it."""
    patch.setattr(Growing, "_last", lambda growing, placed: True)
    patch.setattr(Growing, "_admins_remove", lambda growing: False)


def cuts_are_not_void(patch: MonkeyPatch) -> None:
    patch.setattr(FeedEnds, "_cuts", lambda *given: False)


def what_lies_beyond_counts(patch: MonkeyPatch) -> None:
    patch.setattr(FeedEnds, "within", lambda ends, row, end: True)


FAULTS = {
    "anybody removes anybody": Fault(
        "a removal counts if the author's rank is above the member's",
        anybody_removes,
        "people",
        "1 m1 removes b: m removed b",
    ),
    "no appointment shields": Fault(
        "an admin's removal of a member whose appointment counts is dropped",
        no_shield,
        "people",
        "1 c1 promotes m; 2 a1 removes m: a removed m",
    ),
    "closes of all ranks at once": Fault(
        "closes are taken in steps, by rank",
        closes_of_all_ranks_at_once,
        "people",
        "1 c1 promotes m; 2 a1 removes m: a removed m",
    ),
    "a closed device closes others": Fault(
        "a close counts if its own past shows its author as an open writer",
        late_closes,
        "devices",
        "1 c1 tells that c1 put c2 out; "
        "2 c2 cuts c1 off at its beginning, knowing 1: "
        "Close of c2 counts, which knew of that: c1 tells that c1 put c2 out",
    ),
    "what a removal does not name stays": Fault(
        "a removal that names no valid end for a feed claims length 0",
        unnamed_feeds_stay,
        "devices",
        "1 c2 removes a and names a1 alone: a2 of a removed member is open",
    ),
    "a close cuts off what its author saw": Fault(
        "an item that cuts off an entry in the close's past is void",
        cuts_are_not_void,
        "devices",
        "1 c2 cuts c1 off at its beginning: a1 is no writer any more",
    ),
    "an operation counts beyond the end": Fault(
        "an operation counts if its entry lies within its feed's end",
        what_lies_beyond_counts,
        "people",
        "1 c1 removes a; 2 a1 adds x1: Add of a1 counts beyond its end",
    ),
    "a name puts a device out": Fault(
        "a device is out if a revoke names it and all statements show it",
        a_name_is_enough,
        "devices",
        "1 a1 tells that a1 put a2 out; 2 c1 tells that R put a1 out: a2 is out, against the statements",
    ),
    "any statement revokes": Fault(
        "a revoke counts if its statements show that device as out",
        any_statement_revokes,
        "devices",
        "1 a2 accuses c2: c2 is out, against the statements",
    ),
    "an admission shows nothing": Fault(
        "an admission counts if its statements show the device as standing",
        admissions_show_nothing,
        "devices",
        "1 c1 tells that R put a1 out; "
        "2 a1 admits a5 on its own word, knowing 1: "
        "a1 admits a5 on its own word counts, of a device that did not stand",
    ),
    "every close spares a succession": Fault(
        "a close spares a succession if its past says that the old device is out",
        every_succession_is_spared,
        "devices",
        "1 c2 tells that c2 put c1 out; 2 c8 succeeds c1: c8 succeeds c1 counts beside c2 tells that c2 put c1 out",
    ),
    "no close voids a succession": Fault(
        "a close of the old feed voids each succession outside its past",
        no_close_voids_a_succession,
        "people",
        "1 c1 removes a; 2 a8 succeeds a1: a8 succeeds a1 counts beside c1 removes a",
    ),
    "a roster of all open writers": Fault(
        "the roster leaves out devices that are out",
        roster_of_all,
        "people",
        "1 c1 tells that R put a1 out: the roster is not who is open and not out",
    ),
    "an epoch need not hold every close": Fault(
        "an epoch is used if its past holds every close and revocation that counts",
        every_epoch_covers,
        "people",
        "1 c1 removes a: an epoch of the common past covers what came later",
    ),
    "the next state follows from the last": Fault(
        "the same entries give the same state in any order",
        growth_trusts_every_entry,
        "people",
        "1 a1 removes m; 2 c1 promotes m: the state depends on the order of delivery",
    ),
}
