"""On how many devices a deleted message is erased, as they say themselves."""

from __future__ import annotations

from crdt.docs.facts import FactKind
from crdt.docs.rows import Row
from crdt.docs.timeline import counts_deletion
from crdt.log.manifest import core_key
from sync.service import models
from sync.space import timeline
from sync.space.space import Space


def erasure_of(space: Space, row: Row) -> models.Erasure | None:
    """Of the chat's devices, how many have carried out a deletion of this message; None where none counts."""
    policy = space.policy()
    asked = [
        (fact.core, fact.seq)
        for fact in timeline.facts_about(space.context.store, space.id, row.id)
        if fact.kind is FactKind.DELETION and counts_deletion(fact, row.member, policy)
    ]
    if not asked:
        return None
    devices = [core_key(place.writer) for place in space.state.roster]
    done = [core for core in devices if any(_has_erased(space, core, *deletion) for deletion in asked)]
    return models.Erasure(devices=len(done), of_devices=len(devices))


def _has_erased(space: Space, device: bytes, core: bytes, seq: int) -> bool:
    """Whether the device that writes feed `device` has carried out the deletion entry at (core, seq)."""
    if space.mine is not None and device == space.mine.core:
        return space.erasing.has_carried_out(core, seq)
    report = space.reports.get(device)
    return report is not None and any(one.core8 == core[:8] and one.holds(seq) for one in report.erasures)
